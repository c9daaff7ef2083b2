//! Bytes: listeners, the wire between sidecars, discovery, balancing, calls.
//!
//! `mesh` knows no building block. It offers one handle upwards, [`Outbound::send`],
//! and calls upwards through one trait, [`Local`]. All traffic, however it came in,
//! ends in the same resolve, authorise, route, balance, send.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod balance;
mod call;
mod connection;
pub mod discovery;
pub mod drain;
pub mod http;
mod inbound;
pub mod listener;
mod measures;
mod net;
mod outbound;
mod peer;

use std::sync::Arc;

use ::http::{Request, Response};
use async_trait::async_trait;
use outrigger_certs::IdentityWatch;
use outrigger_identity::{AppId, SpiffeId, TrustDomain};
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{TraceContext, Tracer};
use outrigger_view::View;
use outrigger_wire::{Body, Failure, Limits};
use tokio::sync::watch;
use tokio::time::Instant;

pub use discovery::Resolver;
pub use inbound::serve;
pub use outbound::Outbound;

/// What a sidecar's data path is made of.
#[derive(Clone)]
pub struct Parts {
    /// The app beside us.
    pub this: AppId,
    /// Trust domain of every identity that we hold and expect.
    pub trust_domain: TrustDomain,
    /// What stands between us and peers.
    pub peers: Peers,
    /// Our current SVID and roots.
    pub identity: IdentityWatch,
    /// What the proxy knows of the world.
    pub view: watch::Receiver<Arc<View>>,
    /// Where apps are.
    pub resolver: Arc<dyn Resolver>,
    /// Takes calls to our own app.
    pub local: Arc<dyn Local>,
    /// Every bound.
    pub limits: Arc<Limits>,
    /// Where counts go.
    pub metrics: Registry,
    /// Where spans go.
    pub tracer: Tracer,
}

/// What protects calls between sidecars. It follows from our configuration alone, never from
/// what a peer offers or from a handshake that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Both ends prove who they are; the wire is chosen within that handshake.
    MutualTls,
    /// Nobody proves anything, and the Dapr wire is spoken, as stock does without mutual TLS.
    Clear,
}

/// Who takes calls that are meant for the app beside us.
#[async_trait]
pub trait Local: Send + Sync {
    /// Delivers an authorised call to the app and gives its response.
    ///
    /// The request's headers are still the caller's, without hop-by-hop and control
    /// fields; its URI has the path to forward. Dropped when the caller goes away.
    async fn deliver(&self, call: Inbound, request: Request<Body>) -> Result<Response<Body>, Failure>;
}

/// The wire that a call came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/2 over mutual TLS between two of our sidecars.
    Native,
    /// What stock sidecars speak, over mutual TLS or, where we are configured so, in clear.
    Dapr,
    /// Our own app calls itself through its own sidecar.
    Local,
}

impl Wire {
    /// Its name in headers, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Dapr => "dapr",
            Self::Local => "local",
        }
    }
}

/// A call to the app beside us, authorised.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Who calls, as its certificate says; `None` without mutual TLS.
    pub caller: Option<SpiffeId>,
    /// The same as an app; `None` when the identity is no app's. Without mutual TLS who the
    /// caller says it is, which nothing proves.
    pub caller_app: Option<AppId>,
    /// How the caller's app asked.
    pub protocol: CallProtocol,
    /// The wire it came by.
    pub wire: Wire,
    /// TLS version and key exchange; `None` without TLS.
    pub tls: Option<Arc<str>>,
    /// The policy that allowed it.
    pub policy: Arc<str>,
    /// Where the call stands in its trace.
    pub trace: TraceContext,
}

/// A call to send.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom to call.
    pub target: Target,
    /// How our app asked.
    pub protocol: CallProtocol,
    /// Where the call stands in its trace.
    pub trace: TraceContext,
    /// When the caller stops waiting; `None` waits as policy says.
    pub deadline: Option<Instant>,
}

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An app by its ID: any replica, at whatever address, that proves this identity.
    App(AppId),
}
