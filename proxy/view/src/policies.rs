//! The policies that calls are held to.

use std::sync::Arc;

use outrigger_policy::access::AccessControl;
use outrigger_policy::call_policy::CallPolicy;

/// The policies that calls are held to. A clone shares every part.
#[derive(Debug, Clone)]
pub struct Policies {
    /// Who may call our app. Default: everyone.
    pub access: Arc<AccessControl>,
    /// How our app's calls are treated. Default: [`CallPolicy::default`].
    pub call: Arc<CallPolicy>,
}

impl Default for Policies {
    fn default() -> Self {
        Self { access: Arc::new(AccessControl::allow_all()), call: Arc::new(CallPolicy::default()) }
    }
}
