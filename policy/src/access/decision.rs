//! What was decided about a call, and by which policy.

use std::sync::Arc;

use outrigger_identity::SpiffeId;

use crate::access::remedy;
use crate::access::spec::{AccessControlSpec, Action, CallProtocol};

/// What was decided about one call.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Whether the call may be made.
    pub action: Action,
    /// The policy that decided, in visible ASCII: `<configuration>: <app>.<namespace> <operation>` for a
    /// rule, `<configuration>: <app>.<namespace> (default)` for an app's default,
    /// `<configuration> (default)` for the default of the whole, and `none` without access control.
    pub policy: Arc<str>,
    denied: Option<Box<Denied>>,
}

/// All that a remedy is made of; kept for a denied call only.
#[derive(Debug, Clone)]
pub(super) struct Denied {
    pub(super) spec: Arc<AccessControlSpec>,
    pub(super) cause: Cause,
    pub(super) caller: Option<SpiffeId>,
    pub(super) protocol: CallProtocol,
    pub(super) verb: String,
    /// The operation as the request had it.
    pub(super) sent: String,
    /// The reading of it that was denied: what a rule would have to match.
    pub(super) operation: String,
    /// Whether that is not the first reading, so that Dapr itself would have allowed it.
    pub(super) other_reading: bool,
}

/// Why it was decided so. Policies and rules are indices into the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    NoIdentity,
    NotAnApp,
    NoPolicy,
    OtherTrustDomain {
        policy: usize,
    },
    Rule {
        policy: usize,
        rule: usize,
    },
    /// No rule decided; `rule` fits the operation but does not list the verb.
    AppDefault {
        policy: usize,
        rule: Option<usize>,
    },
    UnknownVerb {
        policy: usize,
    },
}

impl Decision {
    pub(super) fn allow(policy: &Arc<str>) -> Self {
        Self { action: Action::Allow, policy: Arc::clone(policy), denied: None }
    }

    pub(super) fn deny(policy: &Arc<str>, denied: Denied) -> Self {
        Self { action: Action::Deny, policy: Arc::clone(policy), denied: Some(Box::new(denied)) }
    }

    /// Whether the call may be made.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.action == Action::Allow
    }

    /// What would allow the call: a sentence, and the YAML to paste where YAML does it. Empty for a call
    /// that is allowed. Built when asked; safe to show to the caller, for it repeats only what the caller
    /// sent and the names of the policy.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.denied.as_deref().map(remedy::remedy).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn repaired(&self) -> Option<AccessControlSpec> {
        self.denied.as_deref().and_then(remedy::repaired)
    }
}
