//! What an access policy says, as typed by the one who wrote it.

use crate::access::verb::Verbs;

/// May the call be made?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// The protocol of the call, which decides how an operation is named and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallProtocol {
    /// The operation is the request's path; letter case is ignored; the verb counts.
    Http,
    /// The operation is `/package.Service/Method`; letter case counts; there is no verb.
    Grpc,
}

/// Dapr's `spec.accessControl`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessControlSpec {
    /// Name of the Configuration it comes from; decisions name it.
    pub name: String,
    /// What happens to a caller without a policy. `None` is [`Action::Allow`] without policies, and
    /// [`Action::Deny`] with any.
    pub default_action: Option<Action>,
    /// One policy a calling app. Of two for the same app and namespace the later one counts alone.
    pub policies: Vec<AppPolicySpec>,
}

/// What one calling app may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPolicySpec {
    /// ID of the calling app.
    pub app_id: String,
    /// Namespace of the calling app.
    pub namespace: String,
    /// Trust domain of the calling app. A caller from another one is treated as if it had no policy.
    pub trust_domain: String,
    /// What happens to an operation that no rule decides. `None` takes the default of the whole.
    pub default_action: Option<Action>,
    /// The rules, in order: the first that matches decides.
    pub operations: Vec<OperationSpec>,
}

/// One rule of an app policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationSpec {
    /// Path pattern; a missing first `/` is added. `*` stands for any text within a segment. `/*` at the
    /// end stands for one more segment or none, `/**` for any number. A name without a wildcard covers
    /// everything under it as well.
    pub name: String,
    /// HTTP verbs it decides. Empty decides no HTTP call at all, and gRPC calls only.
    pub verbs: Verbs,
    /// What happens to a call it decides.
    pub action: Action,
}

impl AccessControlSpec {
    /// What happens to a caller that no policy is for.
    #[must_use]
    pub fn default_action(&self) -> Action {
        match self.default_action {
            Some(action) => action,
            None if self.policies.is_empty() => Action::Allow,
            None => Action::Deny,
        }
    }
}

impl Action {
    /// `allow` or `deny`, as written in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
