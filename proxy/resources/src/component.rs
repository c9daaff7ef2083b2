//! `kind: Component`: a block's implementation, as a resource declares it.

use std::time::Duration;

use crate::duration::parse_non_negative;
use crate::fields;
use crate::mistake::Place;
use crate::property::{Property, Surroundings, properties};
use crate::reader::{At, Fields, Reader};

/// Time that a component has to start when `spec.initTimeout` says nothing, as in a stock sidecar.
pub const DEFAULT_INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// One component. Which types exist, the binary knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Where it is declared.
    pub place: Place,
    /// Its name, by which calls of the block name it.
    pub name: String,
    /// `spec.type`: category and implementation, such as `state.sqlite`.
    pub component_type: String,
    /// `spec.version`; `v1` when it is not said, as in a stock sidecar.
    pub version: String,
    /// `spec.metadata`, with `{uuid}` and its like filled in.
    pub metadata: Vec<Property>,
    /// `spec.ignoreErrors`: the sidecar starts even if the component does not. Default false.
    pub ignore_errors: bool,
    /// `spec.initTimeout`: longest time of its start. Default [`DEFAULT_INIT_TIMEOUT`].
    pub init_timeout: Duration,
    /// `auth.secretStore`: who has the secrets that its metadata refer to.
    pub secret_store: Option<String>,
    /// `scopes`: the apps that it is for; all when empty.
    pub scopes: Vec<String>,
}

pub(crate) fn read(reader: &mut Reader, at: &At<'_>, name: String, from: &Surroundings<'_>) -> Option<Component> {
    let resource = reader.fields(at, fields::COMPONENT)?;
    let scopes = scopes(reader, &resource);
    let secret_store = secret_store(reader, &resource);
    let spec = resource.required(reader, "spec", "spec: with type, version and metadata below it")?;
    let spec = reader.fields(&spec, fields::COMPONENT_SPEC)?;
    let component_type = spec.required(reader, "type", "the type of the component, for example state.sqlite");
    let component_type = component_type.and_then(|at| reader.parsed(&at, type_of));
    let version = spec.get("version").and_then(|at| reader.text(&at)).unwrap_or_default();
    let ignore_errors = spec.get("ignoreErrors").and_then(|at| reader.boolean(&at)).unwrap_or(false);
    let init_timeout = match spec.get("initTimeout").filter(|at| !at.is_blank()) {
        Some(at) => reader.parsed(&at, parse_non_negative)?,
        None => DEFAULT_INIT_TIMEOUT,
    };
    let mut metadata = spec.get("metadata").map(|at| properties(reader, &at, from)).unwrap_or_default();
    metadata.iter_mut().for_each(|property| from.fill(reader, property));
    Some(Component {
        place: reader.place(at.node.line, &at.path),
        name,
        component_type: component_type?,
        version: if version.is_empty() { "v1".to_owned() } else { version.to_owned() },
        metadata,
        ignore_errors,
        init_timeout,
        secret_store,
        scopes,
    })
}

/// `<category>.<implementation>`: both there, without white space.
fn type_of(text: &str) -> Result<String, &'static str> {
    let whole = text.split_once('.').is_some_and(|(category, name)| !category.is_empty() && !name.is_empty());
    if whole && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err("write a category and an implementation, for example state.sqlite")
    }
}

/// `scopes` of a resource.
pub(crate) fn scopes(reader: &mut Reader, resource: &Fields<'_>) -> Vec<String> {
    let mut scopes = Vec::new();
    for item in resource.get("scopes").map(|at| reader.list(&at)).unwrap_or_default() {
        scopes.extend(reader.text(&item).map(str::to_owned));
    }
    scopes
}

/// `auth.secretStore` of a resource.
pub(crate) fn secret_store(reader: &mut Reader, resource: &Fields<'_>) -> Option<String> {
    let auth = resource.get("auth")?;
    let store = reader.fields(&auth, fields::AUTH)?.get("secretStore")?;
    reader.text(&store).filter(|name| !name.is_empty()).map(str::to_owned)
}
