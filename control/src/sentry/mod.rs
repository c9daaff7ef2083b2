//! `dapr.proto.sentry.v1.CA`: the certificate authority as a service.
//!
//! - [`facts`]: who may have which certificate; pure.
//! - [`service`]: asks that, signs, answers.
//!
//! The authority is no oracle: what a certificate says is composed from facts checked here,
//! and of the request only the public key is taken.

mod facts;
mod service;

pub(crate) use facts::{Domains, Proof};
pub(crate) use service::SentryService;
