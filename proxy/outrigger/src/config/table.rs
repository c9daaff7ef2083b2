//! Every flag of the sidecar: name, kind, default, what we make of it.
//!
//! The names, kinds and defaults of the first part are the stock sidecar's.
//! A flag whose feature this build lacks stays in the table, so that it is
//! refused by its own name (or accepted where the value asks for nothing).

/// How a flag's value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--flag`, `--flag=true`; never takes the next argument.
    Bool,
    /// Any text.
    Text,
    /// A whole number, Go's base prefixes allowed.
    Int,
    /// A whole number from zero.
    Uint,
    /// A Go duration: `1m30s`.
    Duration,
    /// May be repeated; each value is one comma-separated record.
    List,
}

/// Which names of the program take a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persona {
    /// Run as `daprd`: stock flags and defaults.
    Daprd,
    /// Run as `outrigger sidecar`: stock flags, our defaults, our own flags.
    Outrigger,
}

/// What this build does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// All of it.
    Full,
    /// Only values that ask for nothing: the default, and those listed.
    Only(&'static [&'static str]),
    /// As [`Only`](Self::Only) for `outrigger sidecar`. As `daprd` any value is accepted with a warning,
    /// because platforms pass the flag to every sidecar; the text says what is not there.
    Tolerated(&'static [&'static str], &'static str),
    /// Accepted and without effect, as in stock or because the feature that it
    /// tunes is off; the text says why.
    NoEffect(&'static str),
    /// Works, but stock wants another flag in its place.
    Deprecated(&'static str),
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Name without dashes.
    pub(crate) name: &'static str,
    /// How its value is read.
    pub(crate) kind: Kind,
    /// Default of `daprd`.
    pub(crate) default: &'static str,
    /// Default of `outrigger sidecar`.
    pub(crate) our_default: &'static str,
    /// What this build does with it.
    pub(crate) support: Support,
    /// Unknown to `daprd`.
    pub(crate) ours: bool,
    /// One line for `--help`; empty hides the flag there.
    pub(crate) help: &'static str,
}

impl Flag {
    /// The default under the name that the program was started with.
    pub(crate) fn default_for(&self, persona: Persona) -> &'static str {
        match persona {
            Persona::Daprd => self.default,
            Persona::Outrigger => self.our_default,
        }
    }

    /// The name as it is written on the command line.
    pub(crate) fn dashed(&self) -> String {
        format!("--{}", self.name)
    }

    /// Whether the flag exists under that name.
    pub(crate) fn known_to(&self, persona: Persona) -> bool {
        persona == Persona::Outrigger || !self.ours
    }
}

const UNTUNED: &str = "the feature that it tunes is not part of this build";

macro_rules! table {
    ($( $ident:ident = $name:literal $kind:ident $default:literal $(ours $our:literal)? => $support:expr, $own:literal, $help:literal; )*) => {
        $(
            #[doc = concat!("`--", $name, "`: ", $help)]
            pub(crate) static $ident: Flag = Flag {
                name: $name,
                kind: Kind::$kind,
                default: $default,
                our_default: table!(@default $default $($our)?),
                support: $support,
                ours: $own,
                help: $help,
            };
        )*
        /// Every flag, in the order of `--help`.
        pub(crate) static ALL: &[&Flag] = &[$(&$ident),*];
    };
    (@default $default:literal) => { $default };
    (@default $default:literal $our:literal) => { $our };
}

use Support::{Deprecated, Full, NoEffect, Only, Tolerated};

table! {
    APP_ID = "app-id" Text "" => Full, false, "ID of the app: its name for callers (required; no dots)";
    APP_PORT = "app-port" Text "" => Full, false, "port on which the app listens";
    APP_PROTOCOL = "app-protocol" Text "http" => Full, false, "what the app speaks: http, h2c or grpc";
    APP_CHANNEL_ADDRESS = "app-channel-address" Text "127.0.0.1" => Full, false, "address on which the app listens";
    APP_MAX_CONCURRENCY = "app-max-concurrency" Int "-1" => Full, false, "calls that may be in the app at once; -1 sets no limit";
    APP_SSL = "app-ssl" Bool "false" => Only(&["false"]), false, "";
    HTTP_PORT = "dapr-http-port" Text "3500" => Full, false, "port of the HTTP API; 0 takes a free one";
    GRPC_PORT = "dapr-grpc-port" Text "50001" => Full, false, "port of the gRPC API; 0 takes a free one";
    LISTEN_ADDRESSES = "dapr-listen-addresses" Text "" ours "127.0.0.1" => Full, false, "addresses of both APIs, separated by commas; empty is all";
    PEER_PORT = "dapr-internal-grpc-port" Text "" => Full, false, "port for other sidecars; empty or 0 takes a free one";
    PEER_ADDRESS = "dapr-internal-grpc-listen-address" Text "" ours "127.0.0.1" => Full, false, "address for other sidecars; empty is all";
    PUBLIC_PORT = "dapr-public-port" Text "" => Full, false, "port of health and metadata for whoever reaches it; empty has none, 0 takes a free one";
    PUBLIC_ADDRESS = "dapr-public-listen-address" Text "" ours "127.0.0.1" => Full, false, "address of the public listener; empty is all";
    UNIX_SOCKET = "unix-domain-socket" Text "" => Only(&[""]), false, "folder for Unix sockets in place of the API ports";
    CONFIG = "config" List "" => Full, false, "file with a Configuration; may be repeated";
    RESOURCES_PATH = "resources-path" List "" => Full, false, "folder of resource files; may be repeated";
    COMPONENTS_PATH = "components-path" Text "" => Deprecated("use --resources-path"), false, "";
    ENABLE_MTLS = "enable-mtls" Bool "false" ours "true" => Full, false, "mutual TLS between sidecars";
    SENTRY_ADDRESS = "sentry-address" Text "" => Full, false, "host:port of a certificate authority that speaks sentry's protocol";
    CONTROL_PLANE_TRUST_DOMAIN = "control-plane-trust-domain" Text "localhost" => Full, false, "trust domain of the control plane";
    CONTROL_PLANE_NAMESPACE = "control-plane-namespace" Text "default" => Full, false, "namespace of the control plane";
    CONTROL_PLANE_ADDRESS = "control-plane-address" Text "" => Only(&[""]), false, "address of the operator";
    SENTRY_AUDIENCES = "sentry-request-jwt-audiences" List "" => Only(&[""]), false, "audiences of the JWT asked from sentry";
    MODE = "mode" Text "standalone" => Only(&["standalone"]), false, "how it is run; kubernetes is not in this build";
    MAX_BODY_SIZE = "max-body-size" Text "4Mi" => Full, false, "largest request body of the HTTP API; 0 sets no bound; as a quantity (4Mi, 512Ki)";
    READ_BUFFER_SIZE = "read-buffer-size" Text "4Ki" ours "64Ki" => Full, false, "largest request head, as a quantity; at least 8Ki is taken";
    MAX_REQUEST_MB = "dapr-http-max-request-size" Int "-1" => Deprecated("use --max-body-size"), false, "";
    READ_BUFFER_KB = "dapr-http-read-buffer-size" Int "-1" => Deprecated("use --read-buffer-size"), false, "";
    GRACEFUL_SECONDS = "dapr-graceful-shutdown-seconds" Int "5" => Full, false, "longest wait for calls in flight at shutdown";
    BLOCK_SHUTDOWN = "dapr-block-shutdown-duration" Duration "0" => Full, false, "keeps serving after SIGTERM or SIGINT for this long, or until the app is unhealthy";
    ENABLE_APP_HEALTH = "enable-app-health-check" Bool "false" => Only(&["false"]), false, "probe the app's health";
    APP_HEALTH_PATH = "app-health-check-path" Text "/healthz" => NoEffect(UNTUNED), false, "path of the app's health probe";
    APP_HEALTH_INTERVAL = "app-health-probe-interval" Int "5" => NoEffect(UNTUNED), false, "seconds between probes";
    APP_HEALTH_TIMEOUT = "app-health-probe-timeout" Int "500" => NoEffect(UNTUNED), false, "milliseconds that a probe may take";
    APP_HEALTH_THRESHOLD = "app-health-threshold" Int "3" => NoEffect(UNTUNED), false, "failed probes until the app counts as unhealthy";
    BINDING_OPTIONS_TIMEOUT = "app-binding-options-timeout" Duration "3s" => NoEffect(UNTUNED), false, "longest wait for the app's answer about an input binding";
    DISABLE_INIT_ENDPOINTS = "disable-init-endpoints" List "" => Full, false, "which of config and subscribe the app is not asked at start";
    ALLOWED_ORIGINS = "allowed-origins" Text "" => Full, false, "origins of web pages that may use the HTTP API, separated by commas; * is all";
    ENABLE_API_LOGGING = "enable-api-logging" Bool "false" ours "true" => Full, false, "write one access record a call";
    LOG_LEVEL = "log-level" Text "info" => Full, false, "debug, info, warn, error or fatal";
    LOG_AS_JSON = "log-as-json" Bool "false" => Full, false, "log lines as JSON";
    LOG_FILE = "log-file" Text "" => Only(&[""]), false, "file for the log in place of the standard output";
    ENABLE_METRICS = "enable-metrics" Bool "true" => Full, false, "serve Prometheus metrics";
    METRICS_PORT = "metrics-port" Text "9090" => Full, false, "port of the metrics; 0 takes a free one";
    METRICS_ADDRESS = "metrics-listen-address" Text "0.0.0.0" ours "127.0.0.1" => Full, false, "address of the metrics";
    ENABLE_PROFILING = "enable-profiling" Bool "false" => Tolerated(&["false"], "no profiles are served"), false, "serve profiles";
    PROFILE_PORT = "profile-port" Text "7777" => NoEffect(UNTUNED), false, "port of the profiles";
    PLACEMENT = "placement-host-address" Text "" => Tolerated(&[""], "there are no actors in this build, so nothing connects"), false, "addresses of the placement service";
    SCHEDULER = "scheduler-host-address" List "" => Tolerated(&[""], "there are no jobs in this build, so nothing connects"), false, "addresses of the scheduler service";
    SCHEDULER_STREAMS = "scheduler-job-streams" Uint "3" => NoEffect(UNTUNED), false, "job streams to the scheduler";
    DISSEMINATE_TIMEOUT = "actors-disseminate-timeout" Duration "30s" => NoEffect(UNTUNED), false, "longest placement round";
    HOT_RELOAD_INTERVAL = "hot-reload-reconcile-interval" Duration "0" => NoEffect(UNTUNED), false, "how often resources are listed again";
    K8S_SECRETS_OFF = "disable-builtin-k8s-secret-store" Bool "false" => NoEffect("there is no Kubernetes secret store in this build"), false, "switch the Kubernetes secret store off";
    REMINDERS_SERVICE = "reminders-service" Text "" => NoEffect("stock gives it no effect either"), false, "";
    ACTORS_SERVICE = "actors-service" Text "" => NoEffect("stock gives it no effect either"), false, "";
    VERSION = "version" Bool "false" => Full, false, "print the runtime version and exit";
    BUILD_INFO = "build-info" Bool "false" => Full, false, "print version and commit and exit";
    WAIT = "wait" Bool "false" => Full, false, "wait until a sidecar on --dapr-http-port is ready for outbound calls, then exit";
    CONTROL_SOCKET = "control-socket" Text "" => Full, true, "socket of the embedded control process; empty starts or finds the user's own";
    TRUST_ANCHORS_FILE = "trust-anchors-file" Text "" => Full, true, "PEM file of the roots that --sentry-address and peers are checked against";
    RUN_PID = "run-pid" Uint "0" => Full, true, "";
    APP_COMMAND = "app-command" Text "" => Full, true, "";
}
