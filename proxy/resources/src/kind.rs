//! What a document of YAML is: its `apiVersion`, `kind` and name.

use std::fmt;
use std::sync::Arc;

use crate::configuration::{Loaded, load_text};
use crate::mistake::{MistakeKind, Mistakes, shown};
use crate::reader::{At, Reader};
use crate::source::Source;
use crate::yaml::{self, Node, Value};

/// The version of Dapr's resources.
pub(crate) const DAPR_V1ALPHA1: &str = "dapr.io/v1alpha1";

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version, kind, name } = self;
        write!(f, "`{}` ({}) named `{}`", shown(kind), shown(api_version), shown(name))
    }
}

/// Reads what a document is, or notes what is missing for it.
pub(crate) fn identify(reader: &mut Reader, at: &At<'_>) -> Option<Identity> {
    let Value::Map(_) = &at.node.value else {
        reader.wrong(at, "write a resource: apiVersion, kind, metadata and spec");
        return None;
    };
    let mut required = |name: &str, fix: &str| {
        let text = at.node.text_of(name);
        if text.is_none() {
            reader.mistake(at.node.line, name, MistakeKind::Missing { fix: fix.to_owned() });
        }
        text
    };
    let api_version = required("apiVersion", "apiVersion: dapr.io/v1alpha1");
    let kind = required("kind", "the kind of the resource, for example kind: Configuration");
    let name = at.node.get("metadata").and_then(|metadata| metadata.text_of("name"));
    Some(Identity { api_version: api_version?, kind: kind?, name: name.unwrap_or_default() })
}

/// The app and namespace for which resources are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// ID of the app. A resource that lists `scopes` without it is not for us.
    pub app_id: &'a str,
    /// Namespace of the app, when one was set. A resource of another namespace is not for us.
    pub namespace: Option<&'a str>,
}

/// Looks through the files of `--resources-path`.
///
/// No kind of resource is supported there yet: each one that is for this app is refused by name. A
/// Configuration is not read from there (it is given by `--config`), as in a stock sidecar.
///
/// # Errors
/// Each resource that is not supported, and every mistake in a file.
pub fn check_resources(sources: &[Source], scope: Scope<'_>) -> Result<Loaded<()>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    for source in sources {
        let mut reader = Reader::new(Arc::clone(&source.name));
        check_file(&mut reader, source, scope);
        mistakes.append(reader.mistakes);
        warnings.append(&mut reader.warnings);
    }
    if mistakes.is_empty() { Ok(Loaded { value: (), warnings }) } else { Err(mistakes) }
}

fn check_file(reader: &mut Reader, source: &Source, scope: Scope<'_>) {
    let Some(text) = load_text(reader, source) else { return };
    let (documents, error) = yaml::documents(text);
    if let Some(error) = error {
        reader.mistake(error.line, "", MistakeKind::Syntax { reason: error.reason });
    }
    for document in &documents {
        let at = At { node: document, path: String::new() };
        let Some(identity) = identify(reader, &at) else { continue };
        let is_daprs = identity.api_version.starts_with("dapr.io/");
        if !is_daprs {
            let text = format!("{identity} is no resource of ours and is left alone");
            reader.warn(document.line, "", text);
        } else if identity.kind == "Configuration" {
            let text = format!("{identity} is not read from here; give its file to --config");
            reader.warn(document.line, "", text);
        } else if document.is_for(scope) {
            let kind = identity.to_string();
            reader.mistake(document.line, "", MistakeKind::KindNotSupported { kind });
        }
    }
}

impl Node {
    fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node),
            _ => None,
        }
    }

    fn text_of(&self, name: &str) -> Option<String> {
        match &self.get(name)?.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn is_for(&self, scope: Scope<'_>) -> bool {
        let its_namespace = self.get("metadata").and_then(|metadata| metadata.text_of("namespace"));
        if let (Some(ours), Some(its)) = (scope.namespace, its_namespace)
            && ours != its
        {
            return false;
        }
        match self.get("scopes").map(|scopes| &scopes.value) {
            Some(Value::List(apps)) if !apps.is_empty() => {
                apps.iter().any(|app| matches!(&app.value, Value::Scalar { text, .. } if text == scope.app_id))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Scope<'_> = Scope { app_id: "orders", namespace: Some("shop") };

    fn check(text: &str) -> Result<Vec<String>, Vec<String>> {
        match check_resources(&[Source::new("r.yaml", text)], OURS) {
            Ok(loaded) => Ok(loaded.warnings.iter().map(ToString::to_string).collect()),
            Err(mistakes) => Err(mistakes.kept().iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn every_resource_for_this_app_is_refused_each_by_name_and_line() {
        let told = check(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: statestore\n---\n# nothing\n---\n\
             apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: sub}\nscopes: [cart, orders]\n",
        );

        assert_eq!(
            told.unwrap_err(),
            [
                "r.yaml:1: resources of kind `Component` (dapr.io/v1alpha1) named `statestore` are not supported yet, see docs/not-supported.md; remove this one",
                "r.yaml:8: resources of kind `Subscription` (dapr.io/v2alpha1) named `sub` are not supported yet, see docs/not-supported.md; remove this one",
            ]
        );
    }

    #[test]
    fn what_is_for_other_apps_is_left_alone() {
        for rest in ["scopes: [cart]\n", "", "metadata: {namespace: other}\n"] {
            let text = format!("apiVersion: dapr.io/v1alpha1\nkind: Component\n{rest}");
            assert_eq!(check(&text).is_ok(), !rest.is_empty(), "{rest}");
        }
        assert!(check("apiVersion: dapr.io/v1alpha1\nkind: Component\nscopes: []\n").is_err());
        assert!(check("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {namespace: shop}\n").is_err());
    }

    #[test]
    fn configurations_and_resources_of_others_are_warned_of() {
        let warned = check(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n---\napiVersion: apps/v1\nkind: Deployment\n",
        );

        assert_eq!(
            warned.unwrap(),
            [
                "r.yaml:1: `Configuration` (dapr.io/v1alpha1) named `c` is not read from here; give its file to --config",
                "r.yaml:5: `Deployment` (apps/v1) named `` is no resource of ours and is left alone",
            ]
        );
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        assert_eq!(
            check("- a\n---\nmetadata: {name: x}\n---\na: [").unwrap_err().len(),
            4,
            "a list; no apiVersion; no kind; no end"
        );
        assert_eq!(check("").unwrap(), Vec::<String>::new());
    }
}
