//! The sidecar's configuration, typed: what `wire_up` builds from.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_api::{Cors, Labels};
use outrigger_blocks::app::AppProtocol;
use outrigger_certs::RootsSource;
use outrigger_certs::ca::sentry::SentryAddress;
use outrigger_identity::{AppId, SpiffeId};
use outrigger_resources::configuration::Configuration;
use outrigger_resources::mistake::Warning;
use outrigger_resources::resources::Resources;
use outrigger_telemetry::log::Level;
use outrigger_telemetry::trace;
use outrigger_wire::Limits;

use super::env::Token;
use super::table::Persona;

/// Everything that flags and environment say about one sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    /// What in the files is probably not meant as it is written.
    pub(crate) warnings: Vec<Warning>,
    /// The name that the program was started under.
    pub(crate) persona: Persona,
    /// The app that the sidecar stands beside.
    pub(crate) app: AppId,
    /// Where the app listens; `None` for an app that only calls.
    pub(crate) channel: Option<AppChannel>,
    /// What the Configuration files say.
    pub(crate) configuration: Configuration,
    /// What the resource folders have for this app, and this build can use.
    pub(crate) resources: Resources,
    /// How metrics tell HTTP requests apart.
    pub(crate) metric_labels: Labels,
    /// Where spans go; `None` when they are made for nobody.
    pub(crate) spans: Option<trace::Config>,
    /// Where the sidecar listens.
    pub(crate) listen: Listen,
    /// Who signs our identity; `None` without mutual TLS.
    pub(crate) authority: Option<Authority>,
    /// Socket of the control process when it was named; its registry finds peers.
    pub(crate) control_socket: Option<PathBuf>,
    /// What callers of the API must send.
    pub(crate) api_token: Option<Token>,
    /// What the app must be sent.
    pub(crate) app_token: Option<Token>,
    /// The pages that may read what the HTTP API answers; `None` lets none.
    pub(crate) cors: Option<Cors>,
    /// Our address as other machines know it (`DAPR_HOST_IP`); `None` looks for it.
    pub(crate) host_ip: Option<IpAddr>,
    /// Every bound of the data path.
    pub(crate) limits: Limits,
    /// Largest request body of the HTTP API in bytes; 0 sets no bound. Default 4 MiB.
    pub(crate) max_body_bytes: u64,
    /// Longest wait for calls in flight at shutdown. Default 5 s.
    pub(crate) graceful: Duration,
    /// How long a signal leaves everything served as before; `None` for not at all.
    pub(crate) block_shutdown: Option<Duration>,
    /// How to log.
    pub(crate) log: Log,
    /// What `outrigger list` and `stop` are told.
    pub(crate) started_by: StartedBy,
}

/// Where and how the app is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppChannel {
    /// Host name or address.
    pub(crate) host: String,
    /// Port, not 0.
    pub(crate) port: u16,
    /// What it speaks.
    pub(crate) protocol: AppProtocol,
    /// Calls that may be in it at once; `None` sets no bound.
    pub(crate) max_concurrency: Option<NonZeroUsize>,
}

/// The sidecar's listeners. Port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// HTTP API; never empty.
    pub(crate) http: Vec<SocketAddr>,
    /// gRPC API; never empty.
    pub(crate) grpc: Vec<SocketAddr>,
    /// Health and metadata for whoever reaches it; `None` without a port for them.
    pub(crate) public: Option<SocketAddr>,
    /// Other sidecars.
    pub(crate) peer: SocketAddr,
    /// Prometheus metrics; `None` when they are off.
    pub(crate) metrics: Option<SocketAddr>,
}

/// Who signs our identity.
#[derive(Clone, Debug)]
pub(crate) enum Authority {
    /// The user's own control process.
    Embedded,
    /// A CA that speaks sentry's protocol.
    Sentry {
        /// Where it listens.
        address: SentryAddress,
        /// Whom it must prove to be.
        identity: SpiffeId,
        /// The roots that it and our peers are checked against.
        roots: RootsSource,
        /// File with a token to show it.
        token_file: Option<PathBuf>,
    },
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Least level that is written. Default info.
    pub(crate) level: Level,
    /// JSON lines in place of text. Default false.
    pub(crate) json: bool,
    /// Whether each call leaves an access record. Default true, as `daprd` false.
    pub(crate) access: bool,
}

/// Who started the sidecar; for people, never used to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartedBy {
    /// Process of `outrigger run`; 0 for none.
    pub(crate) run_pid: u32,
    /// The app's command line.
    pub(crate) command: String,
}
