//! Named values of a resource: written down, from the environment, or from a secret store.

use std::fmt;

use crate::fields;
use crate::kind::Scope;
use crate::mistake::{MistakeKind, Place};
use crate::reader::{At, Reader};

/// `- name: <name>` with `value`, `envRef` or `secretKeyRef` below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Where it is.
    pub place: Place,
    /// Its name, not empty.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
}

/// The value of a property. `Debug` does not show it, for it may be a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// The text, with what stood for the environment already replaced. Empty when nothing was said.
    Text(String),
    /// To be asked from the secret store of the resource.
    Secret(SecretKeyRef),
}

/// A value in a secret store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKeyRef {
    /// Name of the secret.
    pub name: String,
    /// Key in the secret; the name of the secret when it was not said.
    pub key: String,
}

impl PropertyValue {
    /// The text; `None` for one that a secret store has.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret(_) => None,
        }
    }
}

impl fmt::Debug for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Secret(secret) => f.debug_tuple("Secret").field(secret).finish(),
        }
    }
}

/// A list of properties; a name that is there twice is a mistake.
pub(crate) fn properties(reader: &mut Reader, at: &At<'_>, from: &Surroundings<'_>) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    for item in reader.list(at) {
        let Some(property) = property(reader, &item, from) else { continue };
        match all.iter().find(|other| other.name == property.name) {
            Some(other) => {
                let kind = MistakeKind::Duplicate { first: other.place.line };
                reader.mistake(item.node.line, format!("{}.name", item.path), kind);
            }
            None => all.push(property),
        }
    }
    all
}

fn property(reader: &mut Reader, at: &At<'_>, from: &Surroundings<'_>) -> Option<Property> {
    let fields = reader.fields(at, fields::PROPERTY)?;
    let name = fields.required(reader, "name", "the name of the property")?;
    let name = reader.text(&name)?.to_owned();
    let value = value(reader, &fields, from)?;
    Some(Property { place: reader.place(at.node.line, &at.path), name, value })
}

/// `value`, else `envRef`, else `secretKeyRef`: in this order, as in a stock sidecar.
pub(crate) fn value(
    reader: &mut Reader,
    fields: &crate::reader::Fields<'_>,
    from: &Surroundings<'_>,
) -> Option<PropertyValue> {
    if let Some(at) = fields.get("value") {
        // A password must not be printed: of what is no text only the shape is told.
        return reader.text(&at).map(|text| PropertyValue::Text(text.to_owned()));
    }
    if let Some(at) = fields.get("envRef") {
        let name = reader.text(&at)?;
        if !may_be_read(name) {
            reader.wrong(&at, "write the name of another variable: those of the sidecar itself are not for resources");
            return None;
        }
        let text = (from.lookup)(name);
        if text.is_none() {
            reader.warn(
                at.node.line,
                at.path.clone(),
                format!("names `{name}`, which is not set; it stands for nothing"),
            );
        }
        return Some(PropertyValue::Text(text.unwrap_or_default()));
    }
    let Some(at) = fields.get("secretKeyRef") else { return Some(PropertyValue::Text(String::new())) };
    let secret = reader.fields(&at, fields::SECRET_KEY_REF)?;
    let name = secret.required(reader, "name", "the name of the secret")?;
    let name = reader.text(&name)?.to_owned();
    let key = match secret.get("key") {
        Some(key) => reader.text(&key)?.to_owned(),
        None => name.clone(),
    };
    Some(PropertyValue::Secret(SecretKeyRef { name, key }))
}

/// What values are filled in from.
pub(crate) struct Surroundings<'a> {
    pub(crate) scope: Scope<'a>,
    /// The environment.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// As in a stock sidecar, a resource cannot read the tokens of the sidecar.
fn may_be_read(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !name.is_empty() && name != "APP_API_TOKEN" && !name.starts_with("DAPR_") && !name.contains(' ')
}

impl Surroundings<'_> {
    /// Replaces `{uuid}`, `{podName}`, `{namespace}` and `{appID}` in the metadata of a component.
    ///
    /// As in a stock sidecar `{namespace}` stands for `<namespace>.<app ID>`, and each `{uuid}` for one of its own.
    pub(crate) fn fill(&self, reader: &mut Reader, property: &mut Property) {
        let PropertyValue::Text(text) = &mut property.value else { return };
        while let Some(at) = text.find("{uuid}") {
            text.replace_range(at..at + "{uuid}".len(), &uuid());
        }
        if text.contains("{podName}") {
            match (self.lookup)("POD_NAME").filter(|name| !name.is_empty()) {
                Some(name) => *text = text.replace("{podName}", &name),
                None => {
                    let value = "{podName}".to_owned();
                    let fix = "set POD_NAME in the environment of the sidecar".to_owned();
                    let field = format!("{}.value", property.place.field);
                    reader.mistake(property.place.line, field, MistakeKind::Value { value, fix });
                }
            }
        }
        let namespace = self.scope.namespace.unwrap_or("default");
        *text = text.replace("{namespace}", &format!("{namespace}.{}", self.scope.app_id));
        *text = text.replace("{appID}", self.scope.app_id);
    }
}

/// A random UUID (version 4).
fn uuid() -> String {
    let random = fastrand::u128(..);
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{bits:032x}");
    let mut out = String::with_capacity(36);
    for (at, c) in text.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(c);
    }
    out
}
