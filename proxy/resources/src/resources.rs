//! The folders of `--resources-path`: documents in, typed resources out.

use std::sync::Arc;

use crate::component::{self, Component};
use crate::configuration::{Loaded, load_text};
use crate::http_endpoint::{self, HttpEndpoint};
use crate::kind::{DAPR_V1ALPHA1, Identity, Scope, identify, is_for};
use crate::mistake::{MistakeKind, Mistakes, Place};
use crate::property::Surroundings;
use crate::reader::{At, Reader};
use crate::source::Source;
use crate::yaml;

/// Every resource that is for this app, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// `kind: Component`, of whatever type.
    pub components: Vec<Component>,
    /// `kind: HTTPEndpoint`.
    pub http_endpoints: Vec<HttpEndpoint>,
}

/// Reads the resources of all files.
///
/// What is for another app (its `scopes` do not name ours) or another namespace is left out. A Configuration is not
/// read from there (it is given by `--config`), as in a stock sidecar; kinds that this build does nothing with are
/// refused by name. `lookup` is the environment, for `envRef` and `{podName}`.
///
/// # Errors
/// Each resource that is not supported or is there twice, and every mistake in a file.
pub fn load(
    sources: &[Source],
    scope: Scope<'_>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded<Resources>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    let mut loading =
        Loading { from: Surroundings { scope, lookup }, resources: Resources::default(), seen: Vec::new() };
    for source in sources {
        let mut reader = Reader::new(Arc::clone(&source.name));
        loading.file(&mut reader, source);
        mistakes.append(reader.mistakes);
        warnings.append(&mut reader.warnings);
    }
    if mistakes.is_empty() { Ok(Loaded { value: loading.resources, warnings }) } else { Err(mistakes) }
}

struct Loading<'a> {
    from: Surroundings<'a>,
    resources: Resources,
    /// Kind, name and place of each one so far.
    seen: Vec<(String, String, Place)>,
}

impl Loading<'_> {
    fn file(&mut self, reader: &mut Reader, source: &Source) {
        let Some(text) = load_text(reader, source) else { return };
        let (documents, error) = yaml::documents(text);
        if let Some(error) = error {
            reader.mistake(error.line, "", MistakeKind::Syntax { reason: error.reason });
        }
        for document in &documents {
            let at = At { node: document, path: String::new() };
            let Some(identity) = identify(reader, &at) else { continue };
            if !identity.api_version.starts_with("dapr.io/") {
                reader.warn(document.line, "", format!("{identity} is no resource of ours and is left alone"));
            } else if identity.kind == "Configuration" {
                let text = format!("{identity} is not read from here; give its file to --config");
                reader.warn(document.line, "", text);
            } else if is_for(document, self.from.scope) {
                self.document(reader, &at, identity);
            }
        }
    }

    fn document(&mut self, reader: &mut Reader, at: &At<'_>, identity: Identity) {
        if !matches!(identity.kind.as_str(), "Component" | "HTTPEndpoint") || identity.api_version != DAPR_V1ALPHA1 {
            let kind = identity.to_string();
            reader.mistake(at.node.line, "", MistakeKind::KindNotSupported { kind });
            return;
        }
        let Identity { kind, name, .. } = identity;
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
            let fix = "a name below metadata, without `/` and `%`".to_owned();
            reader.mistake(at.node.line, "metadata.name", MistakeKind::Missing { fix });
            return;
        }
        if let Some((_, _, first)) = self.seen.iter().find(|(other, its, _)| *other == kind && *its == name) {
            let first = format!("{}:{}", first.file, first.line);
            reader.mistake(at.node.line, "metadata.name", MistakeKind::Redeclared { kind, name, first });
            return;
        }
        self.seen.push((kind.clone(), name.clone(), reader.place(at.node.line, "")));
        match kind.as_str() {
            "Component" => self.resources.components.extend(component::read(reader, at, name, &self.from)),
            _ => self.resources.http_endpoints.extend(http_endpoint::read(reader, at, name, &self.from)),
        }
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
