//! What a document of YAML is: its `apiVersion`, `kind` and name.

use std::fmt;

use crate::mistake::{MistakeKind, shown};
use crate::reader::{At, Reader};
use crate::yaml::{Node, Value};

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
}

/// Whether the scopes and the namespace of a resource let this app have it.
pub(crate) fn is_for(resource: &Node, scope: Scope<'_>) -> bool {
    let its_namespace = resource.get("metadata").and_then(|metadata| metadata.text_of("namespace"));
    if let (Some(ours), Some(its)) = (scope.namespace, its_namespace)
        && ours != its
    {
        return false;
    }
    match resource.get("scopes").map(|scopes| &scopes.value) {
        Some(Value::List(apps)) if !apps.is_empty() => {
            apps.iter().any(|app| matches!(&app.value, Value::Scalar { text, .. } if text == scope.app_id))
        }
        _ => true,
    }
}
