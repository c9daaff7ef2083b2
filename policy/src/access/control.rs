//! The compiled access policy.

use std::sync::Arc;

use outrigger_identity::SpiffeId;

use crate::access::decision::{Cause, Decision, Denied};
use crate::access::operation::{self, Case, Tree};
use crate::access::spec::{AccessControlSpec, Action, AppPolicySpec, CallProtocol};
use crate::access::verb::{Verb, Verbs};

/// Who may call which operation, compiled for deciding. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct AccessControl {
    rules: Option<Rules>,
    off: Arc<str>,
    // How every call is decided, whatever it says of itself.
    decided_as: Option<CallProtocol>,
}

/// One call, as far as the decision needs it.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// The caller's proven identity; `None` when it proved none.
    pub caller: Option<&'a SpiffeId>,
    /// The protocol the call arrived in; see [`AccessControl::decided_as`].
    pub protocol: CallProtocol,
    /// HTTP method of the request; not looked at for gRPC.
    pub verb: &'a str,
    /// The canonical path, without query.
    pub operation: &'a str,
}

#[derive(Debug)]
struct Rules {
    spec: Arc<AccessControlSpec>,
    default: Action,
    default_name: Arc<str>,
    foreign_name: Arc<str>,
    // Sorted by (namespace, app id).
    apps: Vec<App>,
}

#[derive(Debug)]
struct App {
    namespace: String,
    app_id: String,
    trust_domain: String,
    policy: usize,
    default: Option<Action>,
    default_name: Arc<str>,
    http: Tree,
    grpc: Tree,
    operations: Vec<Operation>,
}

#[derive(Debug)]
struct Operation {
    verbs: Verbs,
    action: Action,
    name: Arc<str>,
}

/// A decision that borrows the names it may come to carry.
#[derive(Clone, Copy)]
struct Verdict<'a> {
    action: Action,
    name: &'a Arc<str>,
    cause: Cause,
}

impl AccessControl {
    /// No access control at all: every call is allowed, by the policy named `none`.
    #[must_use]
    pub fn allow_all() -> Self {
        Self { rules: None, off: Arc::from("none"), decided_as: None }
    }

    /// Compiles a specification.
    #[must_use]
    pub fn new(spec: AccessControlSpec) -> Self {
        Self { rules: Some(Rules::new(Arc::new(spec))), off: Arc::from("none"), decided_as: None }
    }

    /// Decides every call by the rules of this protocol: the one that the called app speaks, as Dapr does.
    ///
    /// Whether a call is gRPC is what its caller says (`content-type`). To an app that takes both (h2c) a
    /// caller could so choose the rules: as gRPC no verb would count, and letter case would.
    #[must_use]
    pub fn decided_as(self, protocol: CallProtocol) -> Self {
        Self { decided_as: Some(protocol), ..self }
    }

    /// Decides one call.
    ///
    /// Allocates nothing for a call that is allowed, unless its path has an escape, a `;` or a `\`:
    /// servers read such a path in different ways, and each reading must be allowed.
    #[must_use]
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let Some(rules) = &self.rules else {
            return Decision::allow(&self.off);
        };
        let request = &AccessRequest { protocol: self.decided_as.unwrap_or(request.protocol), ..*request };
        let readings = operation::readings(request.operation);
        let Some((first, others)) = readings.split_first() else {
            return rules.decision(request, &operation::clean(request.operation), false);
        };
        let decision = rules.decision(request, first, false);
        if decision.is_allowed() {
            let mut refused = others.iter().map(|path| rules.decision(request, path, true));
            if let Some(refusal) = refused.find(|decision| !decision.is_allowed()) {
                return refusal;
            }
        }
        decision
    }
}

impl Rules {
    fn new(spec: Arc<AccessControlSpec>) -> Self {
        let name = printable(&spec.name);
        let mut apps: Vec<App> = Vec::with_capacity(spec.policies.len());
        for (index, policy) in spec.policies.iter().enumerate() {
            apps.retain(|app| (&app.namespace, &app.app_id) != (&policy.namespace, &policy.app_id));
            apps.push(App::new(&name, index, policy));
        }
        apps.sort_by(|a, b| a.key().cmp(&b.key()));
        Self {
            default: spec.default_action(),
            default_name: format!("{name} (default)").into(),
            foreign_name: format!("{name} (caller is no app)").into(),
            apps,
            spec,
        }
    }

    fn decide(&self, request: &AccessRequest<'_>, path: &str) -> Verdict<'_> {
        let default = |cause| Verdict { action: self.default, name: &self.default_name, cause };
        let Some(caller) = request.caller else {
            return default(Cause::NoIdentity);
        };
        // A proven identity that is no app's has no place in this policy, whatever its default.
        let Some(id) = caller.as_dapr() else {
            return Verdict { action: Action::Deny, name: &self.foreign_name, cause: Cause::NotAnApp };
        };
        let key = (id.namespace, id.app_id);
        let Ok(at) = self.apps.binary_search_by(|app| app.key().cmp(&key)) else {
            return default(Cause::NoPolicy);
        };
        let Some(app) = self.apps.get(at) else {
            return default(Cause::NoPolicy);
        };
        if app.trust_domain != caller.trust_domain() {
            return default(Cause::OtherTrustDomain { policy: app.policy });
        }
        let undecided = |rule| match app.default {
            Some(action) => {
                Verdict { action, name: &app.default_name, cause: Cause::AppDefault { policy: app.policy, rule } }
            }
            None => default(Cause::AppDefault { policy: app.policy, rule }),
        };
        let Some((rule, operation)) = app.find(request.protocol, path) else {
            return undecided(None);
        };
        let decided = Verdict {
            action: operation.action,
            name: &operation.name,
            cause: Cause::Rule { policy: app.policy, rule },
        };
        match (request.protocol, Verb::of_request(request.verb)) {
            (CallProtocol::Grpc, _) => decided,
            (CallProtocol::Http, Some(verb)) if operation.verbs.contains(verb) => decided,
            (CallProtocol::Http, Some(_)) => undecided(Some(rule)),
            // A verb that no rule can name gains nothing from `*`, but is not let past it either. Without
            // a default of the app's own it is denied.
            (CallProtocol::Http, None) if operation.verbs.is_any() && operation.action == Action::Deny => decided,
            (CallProtocol::Http, None) => Verdict {
                action: app.default.unwrap_or(Action::Deny),
                name: &app.default_name,
                cause: Cause::UnknownVerb { policy: app.policy },
            },
        }
    }

    fn decision(&self, request: &AccessRequest<'_>, path: &str, other_reading: bool) -> Decision {
        let verdict = self.decide(request, path);
        match verdict.action {
            Action::Allow => Decision::allow(verdict.name),
            Action::Deny => Decision::deny(
                verdict.name,
                Denied {
                    spec: Arc::clone(&self.spec),
                    cause: verdict.cause,
                    caller: request.caller.cloned(),
                    protocol: request.protocol,
                    verb: request.verb.to_owned(),
                    sent: request.operation.to_owned(),
                    operation: path.to_owned(),
                    other_reading,
                },
            ),
        }
    }
}

impl App {
    fn new(configuration: &str, index: usize, policy: &AppPolicySpec) -> Self {
        let app = printable(&format!("{}.{}", policy.app_id, policy.namespace));
        let names = || policy.operations.iter().map(|operation| operation.name.as_str());
        Self {
            namespace: policy.namespace.clone(),
            app_id: policy.app_id.clone(),
            trust_domain: policy.trust_domain.clone(),
            policy: index,
            default: policy.default_action,
            default_name: format!("{configuration}: {app} (default)").into(),
            http: Tree::new(Case::Ignored, names()),
            grpc: Tree::new(Case::Kept, names()),
            operations: policy
                .operations
                .iter()
                .map(|operation| Operation {
                    verbs: operation.verbs,
                    action: operation.action,
                    name: format!("{configuration}: {app} {}", printable(&operation.name)).into(),
                })
                .collect(),
        }
    }

    fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.app_id)
    }

    fn find(&self, protocol: CallProtocol, path: &str) -> Option<(usize, &Operation)> {
        let tree = match protocol {
            CallProtocol::Http => &self.http,
            CallProtocol::Grpc => &self.grpc,
        };
        let rule = tree.find(path)?;
        Some((rule, self.operations.get(rule)?))
    }
}

/// Names go into headers and logs, so they are kept to visible ASCII.
fn printable(name: &str) -> String {
    name.escape_default().to_string()
}
