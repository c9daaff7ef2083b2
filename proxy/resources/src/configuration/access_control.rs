//! `spec.accessControl`.

use outrigger_identity::{AppId, TrustDomain};
use outrigger_policy::access::{AccessControlSpec, Action, AppPolicySpec, OperationSpec, Verbs};

use crate::configuration::load::each;
use crate::fields;
use crate::mistake::MistakeKind;
use crate::reader::{At, Reader};

/// What the files said so far.
#[derive(Debug, Default)]
pub(super) struct AccessControlPart {
    default_action: Option<Action>,
    pub(super) trust_domain: Option<TrustDomain>,
    policies: Option<Vec<AppPolicySpec>>,
}

impl AccessControlPart {
    /// `None` when nothing was said about who may call.
    pub(super) fn into_spec(self, name: &str) -> Option<AccessControlSpec> {
        let policies = self.policies.unwrap_or_default();
        if self.default_action.is_none() && policies.is_empty() {
            return None;
        }
        Some(AccessControlSpec { name: name.to_owned(), default_action: self.default_action, policies })
    }
}

pub(super) fn read(reader: &mut Reader, at: &At<'_>, part: &mut AccessControlPart) {
    let Some(fields) = reader.fields(at, fields::ACCESS_CONTROL) else { return };
    each(reader, &fields, "defaultAction", |reader, at| {
        part.default_action = reader.parsed(at, optional_action).flatten().or(part.default_action);
    });
    each(reader, &fields, "trustDomain", |reader, at| {
        part.trust_domain = reader.parsed(at, TrustDomain::parse).or(part.trust_domain.take());
    });
    each(reader, &fields, "policies", |reader, at| {
        let mut seen: Vec<(AppPolicySpec, usize)> = Vec::new();
        for item in reader.list(at) {
            let Some(policy) = policy(reader, &item) else { continue };
            let same = |other: &AppPolicySpec| (&other.app_id, &other.namespace) == (&policy.app_id, &policy.namespace);
            match seen.iter().find(|(other, _)| same(other)) {
                Some((_, first)) => {
                    let kind = MistakeKind::Duplicate { first: *first };
                    reader.mistake(item.node.line, format!("{}.appId with this namespace", item.path), kind);
                }
                None => seen.push((policy, item.node.line)),
            }
        }
        part.policies = Some(seen.into_iter().map(|(policy, _)| policy).collect());
    });
    if part.default_action.is_none() && part.policies.as_ref().is_some_and(|policies| !policies.is_empty()) {
        let text = "has policies and no defaultAction: callers without a policy are denied; write defaultAction: deny \
                    to say so, or defaultAction: allow";
        reader.warn(at.node.line, at.path.clone(), text);
    }
}

fn policy(reader: &mut Reader, at: &At<'_>) -> Option<AppPolicySpec> {
    let fields = reader.fields(at, fields::APP_POLICY)?;
    let app_id = fields.required(reader, "appId", "the ID of the calling app");
    let namespace = fields.required(reader, "namespace", "the namespace of the calling app, for example default");
    let trust_domain =
        fields.required(reader, "trustDomain", "the trust domain of the calling app, for example public");
    let app_id = app_id.and_then(|at| reader.parsed(&at, |text| AppId::new("default", text)));
    let namespace = namespace.and_then(|at| reader.parsed(&at, |text| AppId::new(text, "app")));
    let trust_domain = trust_domain.and_then(|at| reader.parsed(&at, TrustDomain::parse));
    let default_action = fields.get("defaultAction").and_then(|at| reader.parsed(&at, optional_action)).flatten();
    let mut operations: Vec<(OperationSpec, usize)> = Vec::new();
    for item in fields.get("operations").map(|at| reader.list(&at)).unwrap_or_default() {
        let Some(operation) = operation(reader, &item) else { continue };
        let name = slashed(&operation.name).to_lowercase();
        if let Some((_, first)) = operations.iter().find(|(other, _)| slashed(&other.name).to_lowercase() == name) {
            let kind = MistakeKind::Duplicate { first: *first };
            reader.mistake(item.node.line, format!("{}.name", item.path), kind);
            continue;
        }
        operations.push((operation, item.node.line));
    }
    Some(AppPolicySpec {
        app_id: app_id?.app_id().to_owned(),
        namespace: namespace?.namespace().to_owned(),
        trust_domain: trust_domain?.as_str().to_owned(),
        default_action,
        operations: operations.into_iter().map(|(operation, _)| operation).collect(),
    })
}

fn operation(reader: &mut Reader, at: &At<'_>) -> Option<OperationSpec> {
    let fields = reader.fields(at, fields::OPERATION)?;
    let name = fields.required(reader, "name", "the path of the operation, for example /orders/*");
    let name = name.and_then(|name| {
        let text = reader.text(&name)?;
        if let Some(why) = never_matches(text) {
            reader.warn(name.node.line, name.path.clone(), why);
        }
        Some(text.to_owned())
    });
    let action = fields.required(reader, "action", "allow or deny").and_then(|at| reader.parsed(&at, action));
    let verbs: Option<Verbs> = match fields.get("httpVerb") {
        None => Some(Verbs::NONE),
        Some(list) => verbs(reader, &list),
    };
    if verbs.is_some_and(Verbs::is_empty) {
        let text = "has no httpVerb: it decides gRPC calls only; for HTTP calls too write httpVerb: [\"*\"]";
        reader.warn(at.node.line, at.path.clone(), text);
    }
    Some(OperationSpec { name: name?, verbs: verbs?, action: action? })
}

fn verbs(reader: &mut Reader, list: &At<'_>) -> Option<Verbs> {
    let mut all: Vec<&str> = Vec::new();
    for item in reader.list(list) {
        let text = reader.text(&item)?;
        reader.parsed(&item, |text| Verbs::parse(&[text]))?;
        all.push(text);
    }
    Verbs::parse(&all).ok()
}

/// Why a rule of this name, as Dapr reads it, decides no call ever.
fn never_matches(name: &str) -> Option<&'static str> {
    let mut segments = name.strip_prefix('/').unwrap_or(name).split('/').peekable();
    let is_root = name == "/";
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "*" if !last => {
                return Some(
                    "matches no call: `*` as a whole segment counts at the end only; `/**/` takes one segment",
                );
            }
            "" | "." | ".." if !is_root => {
                return Some(
                    "matches no call: paths are compared without empty and dot segments and without a `/` at the end",
                );
            }
            _ => {}
        }
    }
    if name.contains(['?', '#']) {
        return Some("matches no call: paths are compared without query and fragment");
    }
    name.contains('%').then_some("matches hardly any call: paths are compared with percent escapes decoded")
}

fn slashed(name: &str) -> String {
    format!("/{}", name.strip_prefix('/').unwrap_or(name))
}

fn action(text: &str) -> Result<Action, &'static str> {
    if text.eq_ignore_ascii_case("allow") {
        Ok(Action::Allow)
    } else if text.eq_ignore_ascii_case("deny") {
        Ok(Action::Deny)
    } else {
        Err("write allow or deny")
    }
}

/// An action, or nothing at all.
fn optional_action(text: &str) -> Result<Option<Action>, &'static str> {
    if text.is_empty() { Ok(None) } else { action(text).map(Some) }
}
