//! `kind: Configuration` of `dapr.io/v1alpha1`: settings of a sidecar and the access policy of its app.

mod access_control;
mod load;
mod name_resolution;
mod runtime;
mod settings;
mod telemetry;

#[cfg(test)]
mod tests;

pub(crate) use load::text as load_text;
pub use load::{Loaded, load};
pub use name_resolution::{NameResolution, NameTemplate, PEER_PORT, SqliteNames, StaticApp};
pub use settings::{
    Api, ApiLogging, ApiProtocol, ApiRule, Configuration, DEFAULT_SAMPLING_RATE, Header, HttpMetrics, Metrics, Mtls,
    Otlp, OtlpProtocol, SecretAccess, SecretScope, Tracing,
};
