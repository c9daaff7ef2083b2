//! The control plane's services.
//!
//! - [`embedded`]: the per-user process that holds them on one machine: how it is started, found
//!   and ended.
//! - `sentry`: the certificate authority, `dapr.proto.sentry.v1.CA`.
//! - [`registry`]: who is here, `outrigger.registry.v1.Registry`.
//! - `door`: who may come in, how many, for how long; `dispatch`: who answers.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod dispatch;
mod door;
pub mod embedded;
mod join_token;
mod rate;
pub mod registry;
mod sentry;
mod server_certificate;

pub use join_token::JoinTokenError;
pub use server_certificate::ServerCertificateError;
