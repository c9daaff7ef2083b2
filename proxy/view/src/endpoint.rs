//! One replica of a service.

use std::net::SocketAddr;
use std::sync::Arc;

/// One replica of a service, as discovery knows it.
///
/// It says where to connect, never whom to expect there: that follows from the app asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Name of the replica, unique within its service and not used again by a later one.
    pub instance: Arc<str>,
    /// Where its sidecar listens for peers.
    pub address: SocketAddr,
    /// It finishes what it has and wants no new calls; it is chosen only when there is no other.
    pub draining: bool,
}
