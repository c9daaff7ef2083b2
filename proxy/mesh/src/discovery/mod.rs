//! Where the replicas of an app are.
//!
//! Discovery says where to dial and nothing else. Who must answer there follows from the
//! app that was asked for ([`outrigger_identity::AppId::spiffe_id`]), never from a record found here.
//!
//! - [`registry`]: the per-user registry of the embedded control process.
//! - `names`: host names, looked up again and again: static lists, name formats, Kubernetes.
//! - `sqlite`: a file that sidecars share, as stock's component of that name keeps it.
//! - `mdns`: multicast DNS, as stock's component of that name speaks it.
//! - `ordered`: several of these, asked in order; `polled`: the loop under those that can only be asked.

use std::sync::Arc;

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::Failure;
use tokio::sync::watch;

mod names;
mod ordered;
mod polled;
pub mod registry;
pub mod sqlite;

pub use names::{Names, NamesOf};
pub use ordered::Ordered;
pub use polled::{Lookup, Polled};

/// Knows, or finds out, where an app's replicas are.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The endpoints of `app` now, and each later set of them.
    ///
    /// Returns when the first set is known. A set may be or become empty: the app is known
    /// and no replica of it is there. The receiver keeps its last set when the source goes
    /// away. Dropping it is what ends the demand.
    ///
    /// # Errors
    /// [`Cause::Unresolved`](outrigger_wire::Cause::Unresolved) when nothing is known by that
    /// name, with what is known instead.
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure>;
}
