//! Certificate authorities: who signs for us, and the one that signs for others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use crate::csr::CertificateRequest;
use crate::roots::RootsError;

pub mod sentry;
pub mod signer;

/// Signs certificate requests.
///
/// One implementor a kind of authority. What it gives is not trusted: the caller
/// verifies it against its own roots.
#[async_trait]
pub trait CertificateAuthority: Send + Sync {
    /// Asks for one certificate. Every wait inside has a bound.
    async fn issue(&self, request: &CertificateRequest) -> Result<Issued, CaError>;
}

/// What an authority gave.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The workload's certificate first, then its issuers; not the root.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why an authority gave no certificate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CaError {
    /// No connection.
    #[error("the certificate authority at {address} cannot be reached: {reason}")]
    Connect {
        /// As configured.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The authority did not prove to be the one expected.
    #[error("the certificate authority at {address} was not accepted: {reason}")]
    Identity {
        /// As configured.
        address: String,
        /// The rule it broke.
        reason: String,
    },
    /// No answer in time.
    #[error("the certificate authority at {address} did not answer within {after:?}")]
    Timeout {
        /// As configured.
        address: String,
        /// The bound.
        after: Duration,
    },
    /// The proof of identity to send cannot be read.
    #[error("the token at {} cannot be used: {reason}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The trust anchors to verify the authority with cannot be read.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The authority answered with an error.
    #[error("the certificate authority at {address} refused to sign: {code}: {message}")]
    Refused {
        /// As configured.
        address: String,
        /// The gRPC status code's name.
        code: String,
        /// The authority's words.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("the certificate authority's answer is not usable: {reason}")]
    Answer {
        /// What is wrong with it.
        reason: Arc<str>,
    },
}

impl CaError {
    /// A short word for the cause, for the `reason` label of counters. It is that of
    /// stock sidecars where they have one.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "sentry_conn",
            Self::Identity { .. } => "sentry_identity",
            Self::Timeout { .. } => "sentry_timeout",
            Self::Token { .. } => "sentry_token",
            Self::Roots(_) => "trust_anchors",
            Self::Refused { .. } => "sign",
            Self::Answer { .. } => "sentry_answer",
        }
    }
}
