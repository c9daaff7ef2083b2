//! Dapr's API to the app, and the way to call the app.
//!
//! Floor 5. Adapters only: they decode, call a block, and encode; what a call means is
//! in `blocks`, how its bytes travel in `mesh`. [`http`] and [`grpc`] are the two front
//! ends, each a [`Service`](outrigger_mesh::http::server::Service); [`app`] is the
//! channel to the app beside us.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod app;
mod browser;
mod call_log;
mod cors;
pub mod grpc;
pub mod http;
mod metadata;
mod metrics;
mod named;
mod readiness;
mod rules;
mod shutdown;
mod token;

pub use browser::Browser;
pub use call_log::CallLog;
pub use cors::Cors;
pub use metadata::{AppConnection, AppHealthProbe, Metadata, RegisteredComponent};
pub use metrics::{Labels, Metrics, Otherwise, Paths, PatternError};
pub use readiness::Readiness;
pub use rules::{ApiRules, Groups};
pub use shutdown::{Asked, Shutdown};
pub use token::ApiToken;
