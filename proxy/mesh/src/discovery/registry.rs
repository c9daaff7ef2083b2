//! The registry of the embedded control process: announces this sidecar, finds the others.
//!
//! - `link`: the one connection, kept up; it has the process started anew when it is away.
//! - `announce`: our own entry, announced again after each break.
//! - `demand`: the apps asked for, each watched for as long as somebody wants it.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::sync::watch;

use super::Resolver;

mod announce;
mod convert;
mod demand;
mod link;

pub use announce::Announced;
use demand::Demand;
use link::Link;

/// Starts the embedded control process where it does not run; returns when its socket
/// answers. Called again and again while the registry is away, so it must be cheap to fail.
pub type Ensure = Arc<dyn Fn() -> BoxFuture<'static, Result<(), Box<dyn Error + Send + Sync>>> + Send + Sync>;

/// What the client of the registry is told.
#[derive(Clone)]
pub struct Config {
    /// The Unix socket of the embedded control process.
    pub socket: PathBuf,
    /// What brings the process back when its socket does not answer; `None` only waits,
    /// and so does a client whose sidecar drains ([`Announced::drain`]).
    pub ensure: Option<Ensure>,
    /// How long an app stays watched that nobody asks for. Default 5 min.
    pub watch_idle: Duration,
    /// Apps watched at once; past it the one not asked for longest goes. Default 1,024.
    pub watches: usize,
    /// Longest wait of a call for the first answer about an app. Default 3 s.
    pub first_answer: Duration,
    /// How long endpoints known before a break are kept after it, for their sidecars to
    /// announce themselves anew. Default 5 s.
    pub grace: Duration,
}

impl Config {
    /// The defaults, for this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            ensure: None,
            watch_idle: Duration::from_secs(300),
            watches: 1024,
            first_answer: Duration::from_secs(3),
            grace: Duration::from_secs(5),
        }
    }
}

/// One sidecar, as it is announced and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Random, made at start: tells replicas apart. At most 64 letters, digits, `.`, `_`, `-`.
    pub instance: Arc<str>,
    /// Which app it stands for.
    pub app: AppId,
    /// Its peer port: native wire, mutual TLS.
    pub peer_address: SocketAddr,
    /// It finishes what it has and wants nothing new.
    pub draining: bool,
    /// What a person wants to see.
    pub description: Description,
}

/// What a person wants to see of a sidecar in a list; decides nothing. Zero means "none".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Process of the sidecar.
    pub pid: u32,
    /// Process that started it.
    pub parent_pid: u32,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    /// Port of the metrics.
    pub metrics_port: u16,
    /// Port of the app.
    pub app_port: u16,
    /// Process of the app.
    pub app_pid: u32,
    /// Command line of the app.
    pub command: String,
    /// When it started; kept to the second.
    pub started: SystemTime,
}

/// The client of the registry. A clone is another handle; the last one dropped ends its tasks.
#[derive(Clone)]
pub struct RegistryResolver {
    link: Arc<Link>,
    demand: Arc<Demand>,
    first_answer: Duration,
    grace: Duration,
}

impl RegistryResolver {
    /// Starts to connect, within a tokio runtime; waits for nothing.
    pub fn start(config: Config) -> Self {
        let (first_answer, grace) = (config.first_answer, config.grace);
        let link = Arc::new(Link::start(config.socket, config.ensure));
        let demand = Arc::new(Demand::new(link.handle(), config.watches, config.watch_idle, grace));
        Self { link, demand, first_answer, grace }
    }

    /// Announces this sidecar for as long as the returned value lives, and again after each break.
    pub fn announce(&self, announcement: Announcement) -> Announced {
        announce::start(self.link.handle(), announcement)
    }

    /// Whether the registry is away, so that endpoints are the last ones known.
    pub fn stale(&self) -> watch::Receiver<bool> {
        self.link.stale()
    }

    /// Every sidecar announced now.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn list(&self) -> Result<Vec<Announcement>, Failure> {
        self.link.handle().list().await
    }

    /// Waits for the first endpoint while a registry that has just come back is still being
    /// told who is here; whether one came.
    async fn settled(&self, found: &watch::Receiver<Arc<Vec<Endpoint>>>) -> bool {
        let left = self.link.handle().settling(self.grace).min(self.first_answer);
        let mut found = found.clone();
        let came = found.wait_for(|endpoints| !endpoints.is_empty());
        !left.is_zero() && matches!(tokio::time::timeout(left, came).await, Ok(Ok(_)))
    }

    async fn unresolved(&self, app: &AppId) -> Failure {
        let known = match self.list().await {
            Ok(sidecars) => said(&sidecars.iter().map(|sidecar| sidecar.app.as_str()).collect()),
            Err(failure) => format!("the registry does not answer ({failure})"),
        };
        Failure::new(Cause::Unresolved {
            target: format!(
                "{app}: no sidecar of it is announced on this machine; {known}; start it with \
                 `outrigger run --app-id {} --app-port <port> -- <command>`, with NAMESPACE={} in its environment",
                app.app_id(),
                app.namespace()
            ),
        })
    }
}

#[async_trait]
impl Resolver for RegistryResolver {
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        let found = match tokio::time::timeout(self.first_answer, self.demand.endpoints(app)).await {
            Ok(found) => found?,
            Err(_) => return Err(self.unresolved(app).await),
        };
        if found.borrow().is_empty() && !self.settled(&found).await {
            return Err(self.unresolved(app).await);
        }
        Ok(found)
    }
}

/// Every sidecar announced at `socket`, asked once: starts nothing.
///
/// # Errors
/// When nothing answers there.
pub async fn list(socket: &Path) -> Result<Vec<Announcement>, Failure> {
    link::list_once(socket).await
}

/// The apps known, at most ten of them by name.
fn said(apps: &BTreeSet<&str>) -> String {
    const SHOWN: usize = 10;
    if apps.is_empty() {
        return "nothing is announced".to_owned();
    }
    let names = apps.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match apps.len().saturating_sub(SHOWN) {
        0 => format!("announced are: {names}"),
        more => format!("announced are: {names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_named_and_bounded() {
        let numbers: Vec<String> = (10..35).map(|number| format!("app{number}.default")).collect();
        let said_of = |count| said(&numbers.iter().take(count).map(String::as_str).collect());
        assert_eq!(said_of(0), "nothing is announced");
        assert_eq!(said_of(2), "announced are: app10.default, app11.default");
        assert!(said_of(25).ends_with("app19.default and 15 more"));
    }
}
