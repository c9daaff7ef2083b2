//! What a Configuration says, typed.

use std::time::Duration;

use outrigger_identity::TrustDomain;
use outrigger_policy::access::{AccessControl, AccessControlSpec};

use crate::configuration::name_resolution::NameResolution;

/// Share of new traces that is sampled when nothing is said: one in ten thousand, as in a stock sidecar.
pub const DEFAULT_SAMPLING_RATE: f64 = 1e-4;

/// The settings of one sidecar, merged from all Configurations given to it; the later one wins field by
/// field, and a list is replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// Name of the Configuration that was given last, or of its file if it has none. Empty without one.
    pub name: String,
    /// `spec.accessControl`; `None` when it is not there or says nothing.
    pub access_control: Option<AccessControlSpec>,
    /// `spec.accessControl.trustDomain`: the trust domain of *this* app. `None` is for `public`.
    pub trust_domain: Option<TrustDomain>,
    /// `spec.tracing`
    pub tracing: Tracing,
    /// `spec.metric` with `spec.metrics` over it.
    pub metrics: Metrics,
    /// `spec.mtls`
    pub mtls: Mtls,
    /// `spec.nameResolution`; `None` leaves it to how the sidecar is run.
    pub name_resolution: Option<NameResolution>,
    /// `spec.api`
    pub api: Api,
    /// `spec.logging.apiLogging`
    pub logging: ApiLogging,
    /// `spec.components.deny`: types of components, or `<type>/<version>`, in small letters.
    pub denied_components: Vec<String>,
    /// `spec.secrets.scopes`
    pub secret_scopes: Vec<SecretScope>,
}

/// `spec.api`: which groups of the API are served. What is denied is not, and with anything allowed nothing else is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Api {
    /// `spec.api.allowed`; empty allows all.
    pub allowed: Vec<ApiRule>,
    /// `spec.api.denied`; it goes before `allowed`.
    pub denied: Vec<ApiRule>,
}

/// A group of the API over one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRule {
    /// Name of the group, such as `invoke`.
    pub name: String,
    /// Its version, such as `v1` or `v1alpha1`.
    pub version: String,
    /// The protocol for which it counts.
    pub protocol: ApiProtocol,
}

/// The two protocols of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiProtocol {
    /// `http`
    Http,
    /// `grpc`
    Grpc,
}

/// `spec.logging.apiLogging`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiLogging {
    /// Whether calls of the API are logged; the flag `--enable-api-logging` goes over it.
    pub enabled: Option<bool>,
    /// The log names the route and not the path of a call. Default false.
    pub obfuscate_urls: bool,
    /// Health checks are not logged. Default false.
    pub omit_health_checks: bool,
}

/// `spec.secrets.scopes[]`: which secrets of one store the app may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretScope {
    /// Name of the secret store.
    pub store_name: String,
    /// What counts for a secret that neither list names. Default allow.
    pub default_access: SecretAccess,
    /// The only secrets that may be read, when there are any.
    pub allowed_secrets: Vec<String>,
    /// Secrets that may not be read.
    pub denied_secrets: Vec<String>,
}

/// Whether a secret may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretAccess {
    /// It may.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// `spec.tracing`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracing {
    /// Share of new traces that is sampled, from 0 to 1; 0 makes no spans. `None` is for
    /// [`DEFAULT_SAMPLING_RATE`].
    pub sampling_rate: Option<f64>,
    /// Whether spans go to the log too. Default false.
    pub stdout: bool,
    /// The OpenTelemetry collector; `None` without one.
    pub otlp: Option<Otlp>,
    /// The Zipkin server, `http://host:port/path`; `None` without one.
    pub zipkin: Option<String>,
}

/// `spec.tracing.otel`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `host:port` of the collector.
    pub endpoint: String,
    /// How it is spoken to. Default gRPC.
    pub protocol: OtlpProtocol,
    /// Whether over TLS. Default true.
    pub secure: bool,
    /// Sent with every batch. Values may be secrets.
    pub headers: Vec<Header>,
    /// Longest wait for one batch. `None` is for OpenTelemetry's default, 10 s.
    pub timeout: Option<Duration>,
}

/// A header for the collector. Its value is not shown by `Debug`, for it may be a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// Name, an HTTP token.
    pub name: String,
    /// Value, visible ASCII and spaces.
    pub value: String,
}

/// The encodings of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// `grpc`
    #[default]
    Grpc,
    /// `http`
    Http,
}

/// `spec.metrics`
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Whether metrics are kept and served. Default true.
    pub enabled: bool,
    /// `http`
    pub http: HttpMetrics,
    /// Ascending upper bounds of latencies in milliseconds. Empty is for stock's own.
    pub latency_buckets: Vec<f64>,
}

/// `spec.metrics.http`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMetrics {
    /// Whether a path that no pattern matches is a label of its own. `None` was not said.
    pub increased_cardinality: Option<bool>,
    /// Patterns of paths as Go's `ServeMux` reads them, not checked yet.
    pub path_matching: Vec<String>,
    /// Whether the label of the method stays empty. Default false.
    pub exclude_verbs: bool,
}

/// `spec.mtls`. What is `None` was not said; flags and the environment say it then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mtls {
    /// Whether peers use mutual TLS.
    pub enabled: Option<bool>,
    /// Lifetime that certificates are asked for with. Stock control planes default to 24 h.
    pub workload_cert_ttl: Option<Duration>,
    /// How far the clocks of peers may be apart. Stock control planes default to 15 min.
    pub allowed_clock_skew: Option<Duration>,
    /// `host:port` of the certificate authority.
    pub sentry_address: Option<String>,
    /// Trust domain of the control plane.
    pub control_plane_trust_domain: Option<TrustDomain>,
}

impl Configuration {
    /// The compiled access policy; it allows everyone when the Configuration has none.
    ///
    /// The owner binds it to what the called app speaks, see [`AccessControl::decided_as`].
    #[must_use]
    pub fn access(&self) -> AccessControl {
        match &self.access_control {
            Some(spec) => AccessControl::new(spec.clone()),
            None => AccessControl::allow_all(),
        }
    }
}

impl Tracing {
    /// Share of new traces that is sampled, with the default filled in.
    #[must_use]
    pub fn effective_sampling_rate(&self) -> f64 {
        self.sampling_rate.unwrap_or(DEFAULT_SAMPLING_RATE)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true, http: HttpMetrics::default(), latency_buckets: Vec::new() }
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}
