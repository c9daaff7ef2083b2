//! Configuration files to settings.

use std::path::Path;
use std::sync::Arc;

use crate::configuration::access_control::{self, AccessControlPart};
use crate::configuration::name_resolution;
use crate::configuration::settings::Configuration;
use crate::configuration::{runtime, telemetry};
use crate::env;
use crate::fields;
use crate::kind::{self, DAPR_V1ALPHA1};
use crate::mistake::{MistakeKind, Mistakes, Warning};
use crate::reader::{At, Fields, Reader};
use crate::source::Source;
use crate::yaml;

/// A value, and what is worth telling about how it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// What is taken as it is written, and probably not meant so. To be logged.
    pub warnings: Vec<Warning>,
}

/// Reads Configurations, one a file, the later over the earlier.
///
/// `$NAME` and `${NAME}` are replaced by what `lookup` gives (the environment) before anything is parsed.
///
/// # Errors
/// Every mistake of every file.
pub fn load(sources: &[Source], lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Configuration>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    let mut configuration = Configuration::default();
    let mut access = AccessControlPart::default();
    for source in sources {
        let mut reader = Reader::new(Arc::clone(&source.name));
        file(&mut reader, source, lookup, &mut configuration, &mut access);
        mistakes.append(reader.mistakes);
        warnings.append(&mut reader.warnings);
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    configuration.trust_domain = access.trust_domain.clone();
    configuration.access_control = access.into_spec(&configuration.name);
    Ok(Loaded { value: configuration, warnings })
}

fn file(
    reader: &mut Reader,
    source: &Source,
    lookup: &dyn Fn(&str) -> Option<String>,
    configuration: &mut Configuration,
    access: &mut AccessControlPart,
) {
    let Some(text) = text(reader, source) else { return };
    let (text, unset) = env::expand(text, lookup);
    for name in unset {
        let text = format!(
            "refers to the environment variable `{}`, which is not set; it stands for nothing",
            name.escape_debug()
        );
        reader.warn(0, "", text);
    }
    let (documents, error) = yaml::documents(&text);
    if let Some(error) = error {
        reader.mistake(error.line, "", MistakeKind::Syntax { reason: error.reason });
    }
    let mut first: Option<usize> = None;
    for document in &documents {
        let at = At { node: document, path: String::new() };
        let Some(identity) = kind::identify(reader, &at) else { continue };
        if identity.kind != "Configuration" || identity.api_version != DAPR_V1ALPHA1 {
            let kind = identity.to_string();
            reader.mistake(document.line, "", MistakeKind::KindNotSupported { kind });
            continue;
        }
        if let Some(first) = first {
            reader.mistake(document.line, "kind: Configuration", MistakeKind::Duplicate { first });
            continue;
        }
        first = Some(document.line);
        resource(reader, &at, &source.name, configuration, access);
    }
    if documents.is_empty() && reader.mistakes.is_empty() {
        reader.warn(0, "", "holds no Configuration");
    }
}

/// The text of a source within its bounds.
pub(crate) fn text<'a>(reader: &mut Reader, source: &'a Source) -> Option<&'a str> {
    if source.bytes.len() > crate::source::MAX_FILE_BYTES {
        reader.mistake(0, "", MistakeKind::TooLarge { limit: crate::source::MAX_FILE_BYTES });
        return None;
    }
    match std::str::from_utf8(&source.bytes) {
        // A byte order mark is no part of the text.
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let reason = format!("it is not UTF-8 from byte {} on", error.valid_up_to());
            reader.mistake(0, "", MistakeKind::Syntax { reason });
            None
        }
    }
}

fn resource(
    reader: &mut Reader,
    at: &At<'_>,
    file: &str,
    configuration: &mut Configuration,
    access: &mut AccessControlPart,
) {
    let Some(resource) = reader.fields(at, fields::RESOURCE) else { return };
    configuration.name = resource
        .get("metadata")
        .and_then(|metadata| reader.fields(&metadata, fields::METADATA))
        .and_then(|metadata| metadata.get("name"))
        .and_then(|name| reader.text(&name))
        .map_or_else(|| stem(file), str::to_owned);
    let Some(spec) = resource.get("spec").and_then(|spec| reader.fields(&spec, fields::SPEC)) else { return };
    each(reader, &spec, "tracing", |reader, at| telemetry::tracing(reader, at, &mut configuration.tracing));
    // `metrics` is the newer name of `metric`, and wins.
    each(reader, &spec, "metric", |reader, at| telemetry::metrics(reader, at, &mut configuration.metrics));
    each(reader, &spec, "metrics", |reader, at| telemetry::metrics(reader, at, &mut configuration.metrics));
    each(reader, &spec, "mtls", |reader, at| telemetry::mtls(reader, at, &mut configuration.mtls));
    runtime::read(reader, &spec, configuration);
    each(reader, &spec, "nameResolution", |reader, at| {
        name_resolution::read(reader, at, &mut configuration.name_resolution);
    });
    each(reader, &spec, "accessControl", |reader, at| access_control::read(reader, at, access));
}

/// The name of a file without its folder and ending: decisions tell it to callers.
fn stem(file: &str) -> String {
    Path::new(file).file_stem().map_or_else(|| "configuration".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Does something with a field when it is there.
pub(super) fn each<'a>(
    reader: &mut Reader,
    fields: &Fields<'a>,
    name: &str,
    mut read: impl FnMut(&mut Reader, &At<'a>),
) {
    if let Some(at) = fields.get(name) {
        read(reader, &at);
    }
}
