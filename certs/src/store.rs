//! The current identity, as a watch that every listener and pool reads.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::roots::Roots;
use crate::svid::Svid;
use crate::tls::Identity;

/// The current identity; `None` until the first SVID is held.
pub type IdentityWatch = watch::Receiver<Option<Arc<Identity>>>;

/// Publishes identities, each with the next generation number.
///
/// There is one writer, so generations only grow.
#[derive(Debug)]
pub struct IdentityStore {
    current: watch::Sender<Option<Arc<Identity>>>,
    generation: u64,
    clock: Clock,
}

impl IdentityStore {
    /// An empty store whose identities read validity from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { current: watch::Sender::new(None), generation: 0, clock }
    }

    /// A watch on the current identity.
    pub fn watch(&self) -> IdentityWatch {
        self.current.subscribe()
    }

    /// The current identity.
    pub fn current(&self) -> Option<Arc<Identity>> {
        self.current.borrow().clone()
    }

    /// Makes the next generation and publishes it, whether or not anyone watches.
    pub fn publish(&mut self, svid: Arc<Svid>, roots: Arc<Roots>) -> Arc<Identity> {
        self.generation += 1;
        let identity = Identity::new(svid, roots, self.generation, Arc::clone(&self.clock));
        let identity = Arc::new(identity);
        self.current.send_replace(Some(Arc::clone(&identity)));
        identity
    }
}
