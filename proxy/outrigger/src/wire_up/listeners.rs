//! Every listener of a sidecar, bound before anything is announced.

use std::net::SocketAddr;

use outrigger_mesh::listener::Listener;

use crate::admin::Admin;
use crate::config::sidecar::Sidecar;

/// The bound listeners; none takes connections yet.
pub(super) struct Listeners {
    /// The HTTP API, one an address.
    pub(super) http: Vec<Listener>,
    /// The gRPC API, one an address.
    pub(super) grpc: Vec<Listener>,
    /// Health and metadata for whoever reaches it; `None` when it is not asked for.
    pub(super) public: Option<Listener>,
    /// Other sidecars; `None` without an identity.
    pub(super) peer: Option<Listener>,
    /// Metrics, on the admin runtime; `None` when they are off.
    pub(super) metrics: Option<Listener>,
}

impl Listeners {
    /// Binds all of them, and says of every one that cannot be bound.
    pub(super) fn bind(config: &Sidecar, admin: &Admin) -> anyhow::Result<Listeners> {
        let mut refused = Vec::new();
        let mut bind = |name, address| match Listener::bind(name, address) {
            Ok(listener) => Some(listener),
            Err(error) => {
                refused.push(error.to_string());
                None
            }
        };
        let mut all = |name, addresses: &[SocketAddr]| -> Vec<Listener> {
            addresses.iter().filter_map(|address| bind(name, *address)).collect()
        };
        let http = all("http", &config.listen.http);
        let grpc = all("grpc", &config.listen.grpc);
        let public = config.listen.public.and_then(|address| bind("public", address));
        let peer = bind("peer", config.listen.peer);
        let metrics = config.listen.metrics.filter(|_| config.configuration.metrics.enabled).and_then(|address| {
            // A socket belongs to the runtime in which it was made.
            let _there = admin.handle().enter();
            bind("metrics", address)
        });
        anyhow::ensure!(refused.is_empty(), "{}", refused.join("\n"));
        Ok(Listeners { http, grpc, public, peer, metrics })
    }

    /// Ports of HTTP API, gRPC API and metrics; 0 for one that is not there.
    pub(super) fn ports(&self) -> [u16; 3] {
        let port = |listener: Option<&Listener>| listener.map_or(0, |listener| listener.local_addr().port());
        [port(self.http.first()), port(self.grpc.first()), port(self.metrics.as_ref())]
    }
}
