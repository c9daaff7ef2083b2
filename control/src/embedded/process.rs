//! The process itself.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_certs::ca::signer::SignerConfig;
use outrigger_certs::{Clock, system_clock};
use outrigger_identity::TrustDomain;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::authority::{Authority, AuthorityError};
use super::election::try_lock;
use super::home::{Home, HomeError};
use super::status::Status;
use super::{ca_listen, file, idle, log};
use crate::dispatch::Services;
use crate::door::{self, DoorLimits, Entrance};
use crate::join_token::{JoinToken, JoinTokenError};
use crate::registry::{Registry, RegistryLimits, RegistryService};
use crate::sentry::{Domains, Proof, SentryService};
use crate::server_certificate::{ServerCertificate, ServerCertificateError};

/// What the embedded control process is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its folder: see [`Home`].
    pub home: PathBuf,
    /// How long it stays when no sidecar is announced. Default 10 s, counted at the earliest
    /// from 10 s after the start. With `ca_listen` it stays until it is ended: a stock
    /// sidecar announces nothing, so nobody could tell that it is needed.
    pub idle: Duration,
    /// Trust domain of the apps. Default `public`.
    pub trust_domain: TrustDomain,
    /// Trust domain of the authority itself. Default `localhost`.
    pub control_plane_trust_domain: TrustDomain,
    /// Namespace of the authority itself. Default `default`.
    pub control_plane_namespace: String,
    /// A loopback address on which the authority is also reached over TLS, with the join token.
    /// Port 0 takes a free one, written in `control.json`. Default: the one of a process that
    /// ran before and died, or that sidecars still need (`ca-listen`), else none.
    pub ca_listen: Option<SocketAddr>,
    /// Leave the session and terminal of whoever started us. [`ensure`](super::ensure)
    /// asks for it with `--detached`. Default `false`.
    pub detached: bool,
}

impl Config {
    /// The defaults, for this folder.
    pub fn new(home: PathBuf) -> Self {
        let domain = |name| TrustDomain::parse(name).expect("the default is a trust domain");
        Self {
            home,
            idle: Duration::from_secs(10),
            trust_domain: domain("public"),
            control_plane_trust_domain: domain("localhost"),
            control_plane_namespace: "default".to_owned(),
            ca_listen: None,
            detached: false,
        }
    }
}

/// Why the process did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one is elected. No fault: exit with [`RunError::exit_code`].
    #[error("an embedded control process already runs in {} ({pid})", home.display())]
    AlreadyRunning {
        /// The folder.
        home: PathBuf,
        /// `pid <n>`, where it is known.
        pid: String,
    },
    /// Another one is elected, and its TCP door is not the one asked for. Unlike
    /// [`RunError::AlreadyRunning`] this is a fault, for nobody gets what was asked.
    #[error(
        "an embedded control process already runs in {} ({pid}), and its authority {}; to have it on {asked}, run \
         `OUTRIGGER_HOME={} outrigger stop --all`, then this command again, then your apps",
        home.display(), reached(*open), home.display()
    )]
    OtherDoor {
        /// The folder.
        home: PathBuf,
        /// `pid <n>`, where it is known.
        pid: String,
        /// The address asked for.
        asked: SocketAddr,
        /// The address it has.
        open: Option<SocketAddr>,
    },
    /// The folder is not safe.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No join token.
    #[error(transparent)]
    JoinToken(#[from] JoinTokenError),
    /// No certificate for the TCP door.
    #[error(transparent)]
    Certificate(#[from] ServerCertificateError),
    /// Other machines could reach it.
    #[error("--ca-listen {address} is not on loopback; give 127.0.0.1:<port> or [::1]:<port>")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The TCP door.
    #[error("cannot listen on {address} for certificate requests")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the folder.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

fn reached(open: Option<SocketAddr>) -> String {
    match open {
        Some(open) => format!("is reached on {open}, which you may use"),
        None => "is reached by its Unix socket only".to_owned(),
    }
}

impl RunError {
    /// Exit code of a process that found another one elected (`EX_TEMPFAIL`).
    pub const ALREADY_RUNNING: i32 = 75;

    /// With what code the program should exit. [`ensure`](super::ensure) relies on it.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::AlreadyRunning { .. } => Self::ALREADY_RUNNING,
            _ => 1,
        }
    }
}

/// Runs the embedded control process until it is idle, or SIGTERM or SIGINT comes; then
/// drains and returns.
///
/// # Errors
/// When it could not start; [`RunError::AlreadyRunning`] when another one is elected.
pub async fn run(config: Config) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    run_until(config, signalled).await
}

/// As [`run`], ended by `stop` in place of a signal.
///
/// # Errors
/// As [`run`].
pub async fn run_until(config: Config, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    if config.detached {
        // That it leads a session already is as good.
        let _ = rustix::process::setsid();
    }
    let home = Home::open(&config.home)?;
    let lock = home.lock();
    let elected = try_lock(&lock).map_err(|source| RunError::File { path: lock, source })?;
    let Some(elected) = elected else {
        return Err(not_elected(&config, &home));
    };
    let open = Open::new(&config, home.clone()).await?;
    tracing::info!(
        home = %home.path().display(), ca = open.status.ca_address.map(tracing::field::display),
        "the embedded control process is ready"
    );
    let needed = open.serve(&config, stop).await;
    if !needed && let Err(error) = ca_listen::forget(&home) {
        tracing::warn!(%error, "the TCP door will be opened again at the next start");
    }
    // The status and the socket go while we are still the one elected: what is
    // there afterwards is our successor's.
    for path in [home.status(), home.socket()] {
        if let Err(error) = file::remove(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot remove a file");
        }
    }
    drop(elected);
    tracing::info!("the embedded control process has ended");
    Ok(())
}

fn not_elected(config: &Config, home: &Home) -> RunError {
    let status = Status::read(&home.status()).ok();
    let pid = status.as_ref().map_or("pid unknown".to_owned(), |status| format!("pid {}", status.pid));
    let open = status.and_then(|status| status.ca_address);
    let home = config.home.clone();
    match config.ca_listen {
        Some(asked) if !ca_listen::suits(open, asked) => RunError::OtherDoor { home, pid, asked, open },
        _ => RunError::AlreadyRunning { home, pid },
    }
}

/// All that is open before the first caller is let in.
struct Open {
    home: Home,
    status: Status,
    unix: UnixListener,
    tcp: Option<(TcpListener, Arc<ServerCertificate>, JoinToken)>,
    authority: Authority,
    clock: Clock,
}

impl Open {
    async fn new(config: &Config, home: Home) -> Result<Self, RunError> {
        let clock = system_clock();
        let signing = SignerConfig::new(config.control_plane_trust_domain.clone(), &config.control_plane_namespace);
        let authority = Authority::open(&home, signing, &clock)?;
        let tcp = match tcp_door(config, &home).await? {
            Some(listener) => {
                let certificate = ServerCertificate::new(authority.signer(), Arc::clone(&clock));
                certificate.current()?;
                Some((listener, Arc::new(certificate), JoinToken::load_or_create(&home.join_token())?))
            }
            None => None,
        };
        let unix = bind(&home).map_err(|source| RunError::File { path: home.socket(), source })?;
        let status = Status {
            pid: std::process::id(),
            socket: home.socket(),
            ca_address: tcp.as_ref().and_then(|(listener, ..)| listener.local_addr().ok()),
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        status.write(&home.status()).map_err(|source| RunError::File { path: home.status(), source })?;
        Ok(Self { home, status, unix, tcp, authority, clock })
    }

    /// Lets callers in until there is no need or a wish to stop, and drains. Whether sidecars
    /// were here at that moment: they start it again.
    async fn serve(self, config: &Config, stop: impl Future<Output = ()>) -> bool {
        let (drain, draining) = watch::channel(false);
        let registry = Registry::new(RegistryLimits::default());
        let presence = registry.presence();
        let domains = Domains { apps: config.trust_domain.clone() };
        let sentry =
            |proof| SentryService::new(self.authority.signer(), domains.clone(), proof, Arc::clone(&self.clock));
        let mut doors = JoinSet::new();
        let services = Services::new(sentry(Proof::SameUser), Some(RegistryService::new(registry, draining.clone())));
        doors.spawn(door::serve(Entrance::Unix(self.unix), services, DoorLimits::UNIX, draining.clone()));
        let here = presence.clone();
        let stays = self.tcp.is_some();
        if let Some((listener, certificate, token)) = self.tcp {
            let services = Services::new(sentry(Proof::Token(token)), None);
            doors.spawn(door::serve(Entrance::Tls(listener, certificate), services, DoorLimits::TLS, draining));
        }
        let idle = async {
            match stays {
                true => std::future::pending().await,
                false => idle::idle(presence, config.idle, idle::FIRST).await,
            }
        };
        let log = self.home.log();
        tokio::select! {
            () = stop => tracing::info!("told to stop"),
            () = idle => tracing::info!("no sidecar is here any more"),
            () = log::keep_small(&log) => {}
            () = self.authority.keep_fresh() => {}
        }
        let needed = *here.borrow() > 0;
        drain.send_replace(true);
        while doors.join_next().await.is_some() {}
        needed
    }
}

/// The TCP door that is asked for, or else the one that our predecessor had.
async fn tcp_door(config: &Config, home: &Home) -> Result<Option<TcpListener>, RunError> {
    let listener = match (config.ca_listen, ca_listen::kept(home)) {
        (Some(asked), _) => listen(asked).await?,
        (None, Some(kept)) => match listen(kept).await {
            Ok(listener) => listener,
            // Our own sidecars do not need the door and must not wait for it.
            Err(error) => {
                tracing::error!(%error, "the TCP door of before stays closed; `outrigger stop --all` forgets it");
                return Ok(None);
            }
        },
        (None, None) => return Ok(None),
    };
    let file = |source| RunError::File { path: home.ca_listen(), source };
    ca_listen::keep(home, listener.local_addr().map_err(file)?).map_err(file)?;
    Ok(Some(listener))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    if !address.ip().is_loopback() {
        return Err(RunError::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

/// Binds the socket anew. Who holds the election's lock knows that a socket found there is
/// a dead one's. The folder is closed to others before the mode is set.
fn bind(home: &Home) -> io::Result<UnixListener> {
    let path = home.socket();
    file::remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
