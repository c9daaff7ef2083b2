//! Who a sidecar turns to: the authority that signs its identity, and the
//! registry that knows the other sidecars.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use async_trait::async_trait;
use outrigger_certs::ca::sentry::{SentryAddress, SentryClient, SentryConfig, Token};
use outrigger_certs::rotate::RotationCounters;
use outrigger_certs::{RootsSource, Rotation, RotationConfig, system_clock};
use outrigger_control::embedded::{self, Home};
use outrigger_identity::{AppId, SpiffeId, TrustDomain};
use outrigger_mesh::Resolver;
use outrigger_mesh::discovery::registry::{self, Announcement, Description, Ensure, RegistryResolver};
use outrigger_telemetry::metrics::Registry;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::sync::watch;

use crate::config::sidecar::{Authority, Sidecar};
use crate::config::table::Persona;

/// The embedded control process that a sidecar uses.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    home: Home,
    socket: PathBuf,
    exe: PathBuf,
}

impl Embedded {
    /// The one that the configuration names or, as `outrigger`, the user's own,
    /// started where it does not run. `None` for a `daprd` that names none.
    ///
    /// # Errors
    ///
    /// Its folder is not safe to use, or the process does not start.
    pub(crate) async fn of(config: &Sidecar) -> anyhow::Result<Option<Embedded>> {
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        if let Some(socket) = &config.control_socket {
            // Who named it has started it.
            let socket = std::path::absolute(socket).context("--control-socket")?;
            let folder = socket.parent().context("--control-socket is no path of a socket")?;
            let home = Home::open(folder)?;
            return Ok(Some(Embedded { home, socket, exe }));
        }
        if config.persona == Persona::Daprd {
            return Ok(None);
        }
        let path = Home::default_path(|name| std::env::var_os(name))?;
        let path = std::path::absolute(&path).with_context(|| format!("cannot find the folder {}", path.display()))?;
        let connected = embedded::ensure(&path, &exe).await?;
        let socket = connected.home.socket();
        Ok(Some(Embedded { home: connected.home, socket, exe }))
    }

    /// What brings the process back when it has ended.
    fn ensure(&self) -> Ensure {
        let this = self.clone();
        Arc::new(move || {
            let this = this.clone();
            Box::pin(async move {
                embedded::ensure(this.home.path(), &this.exe).await?;
                Ok(())
            })
        })
    }

    /// Starts the client of its registry, in the current runtime.
    pub(crate) fn registry(&self) -> RegistryResolver {
        let mut config = registry::Config::new(self.socket.clone());
        config.ensure = Some(self.ensure());
        RegistryResolver::start(config)
    }
}

/// Starts to keep the identity fresh, in the current runtime.
///
/// # Errors
///
/// The embedded authority is asked for and no control process is named.
pub(crate) fn rotation(
    app: &AppId,
    trust_domain: &TrustDomain,
    authority: &Authority,
    embedded: Option<&Embedded>,
    metrics: &Registry,
) -> anyhow::Result<Rotation> {
    let sentry = match authority {
        Authority::Sentry { address, identity, roots, token_file } => SentryConfig {
            address: address.clone(),
            identity: identity.clone(),
            roots: roots.clone(),
            token: token_file.clone().map_or(Token::None, Token::Jwks),
            timeout: SentryConfig::DEFAULT_TIMEOUT,
            clock: system_clock(),
        },
        Authority::Embedded => {
            let embedded = embedded.context("there is no control process to sign certificates")?;
            SentryConfig {
                address: SentryAddress::Unix(embedded.socket.clone()),
                // Not asked for on a Unix socket, whose owner is checked instead.
                identity: SpiffeId::dapr(trust_domain, "default", "dapr-sentry")?,
                roots: RootsSource::File(embedded.home.trust_anchors()),
                token: Token::None,
                timeout: SentryConfig::DEFAULT_TIMEOUT,
                clock: system_clock(),
            }
        }
    };
    let mut config = RotationConfig::new(app.clone(), sentry.roots.clone());
    config.trust_domain = Some(trust_domain.clone());
    let counters = RotationCounters::new(metrics, app.app_id());
    let authority = Arc::new(SentryClient::new(sentry));
    Ok(Rotation::start(config, authority, move |event| counters.count(event)))
}

/// What the sidecar says of itself in the registry.
pub(crate) fn announcement(config: &Sidecar, peer: std::net::SocketAddr, ports: [u16; 3]) -> Announcement {
    let [http_port, grpc_port, metrics_port] = ports;
    let mut peer_address = peer;
    if peer_address.ip().is_unspecified() {
        // The registry is for this machine only.
        peer_address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    Announcement {
        instance: format!("{:032x}", fastrand::u128(..)).into(),
        app: config.app.clone(),
        peer_address,
        draining: false,
        description: Description {
            pid: std::process::id(),
            parent_pid: config.started_by.run_pid,
            http_port,
            grpc_port,
            metrics_port,
            app_port: config.channel.as_ref().map_or(0, |channel| channel.port),
            app_pid: 0,
            command: config.started_by.command.clone(),
            started: SystemTime::now(),
        },
    }
}

/// The resolver of a sidecar to which no name resolution was named.
pub(crate) struct NoRegistry;

#[async_trait]
impl Resolver for NoRegistry {
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        Err(Failure::new(Cause::Unresolved {
            target: format!(
                "{app}: this sidecar has no name resolution; name one in spec.nameResolution of its Configuration, \
                 or start it with OUTRIGGER_CONTROL_SOCKET in its environment (docs/discovery.md)"
            ),
        }))
    }
}
