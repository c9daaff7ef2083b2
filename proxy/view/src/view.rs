//! The snapshot that the data path reads.

use std::sync::Arc;

use crate::policies::Policies;

/// One immutable snapshot of what the proxy knows.
///
/// A clone shares everything. Views of one proxy are ordered by [`generation`](Self::generation): what
/// was decided under an older one may be decided anew.
#[derive(Debug, Clone)]
pub struct View {
    generation: u64,
    policies: Arc<Policies>,
}

impl View {
    /// The first view, of generation 1.
    #[must_use]
    pub fn new(policies: Policies) -> Self {
        Self { generation: 1, policies: Arc::new(policies) }
    }

    /// Number of this view; each later one has a higher number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The policies that calls are held to.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// The next view, with other policies.
    #[must_use]
    pub fn with_policies(&self, policies: Policies) -> Self {
        Self { generation: self.generation + 1, policies: Arc::new(policies) }
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new(Policies::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_policy::access::AccessControl;

    #[test]
    fn the_next_view_is_newer_and_shares_the_parts_that_did_not_change() {
        let first = View::default();

        let next = first.with_policies(Policies {
            access: Arc::new(AccessControl::allow_all()),
            ..Policies::clone(first.policies())
        });

        assert_eq!((first.generation(), next.generation()), (1, 2));
        assert!(Arc::ptr_eq(&first.policies().call, &next.policies().call));
        assert!(!Arc::ptr_eq(&first.policies().access, &next.policies().access));
    }
}
