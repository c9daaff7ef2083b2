//! A workload's own certificate chain and key.

use std::fmt;
use std::sync::Arc;

use outrigger_identity::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::leaf::{self, LeafError};
use crate::provider::crypto_provider;
use crate::roots::Roots;
use crate::verify::{self, MAX_CHAIN, Usage, VerifyError};

/// An X.509 SVID: a chain that names one SPIFFE ID, and the key that belongs to it.
///
/// The chain is the workload's own certificate and those of its issuers, without the
/// root. `Debug` shows no key.
pub struct Svid {
    id: SpiffeId,
    not_before: UnixTime,
    not_after: UnixTime,
    certified: Arc<CertifiedKey>,
}

impl Svid {
    /// Puts a chain and its key together.
    ///
    /// # Errors
    /// An empty or too long chain, a first certificate that is no workload's, a key of an
    /// unsupported kind, or one that does not belong to the certificate. Validity and
    /// trust are not judged here: see [`Svid::verify`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, SvidError> {
        let Some(first) = chain.first() else {
            return Err(SvidError::Empty);
        };
        if chain.len() > MAX_CHAIN {
            return Err(SvidError::TooLong { found: chain.len() });
        }
        let leaf = leaf::read(first)?;
        let certified = CertifiedKey::from_der(chain, key, &crypto_provider())
            .map_err(|error| SvidError::Key { id: leaf.id.clone(), reason: error.to_string() })?;
        Ok(Self { id: leaf.id, not_before: leaf.not_before, not_after: leaf.not_after, certified: Arc::new(certified) })
    }

    /// Reads the chain and the key from PEM.
    ///
    /// # Errors
    /// As [`Svid::new`], and for text that is no PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SvidError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| SvidError::Pem { what: "private key", reason: format!("{error:?}") })?;
        Self::new(chain_from_pem(chain)?, key)
    }

    /// Whom the certificate names.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Start of validity.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// End of validity.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The chain, the workload's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Chain and key in the form that rustls signs with.
    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Verifies the chain against `roots` at `now`, for both ends of a connection.
    ///
    /// # Errors
    /// What a peer with these roots would object to.
    pub fn verify(&self, roots: &Roots, now: UnixTime) -> Result<(), VerifyError> {
        let algorithms = verify::algorithms(&crypto_provider());
        let Some((first, issuers)) = self.certified.cert.split_first() else {
            return Err(LeafError::Encoding.into());
        };
        for usage in [Usage::Server, Usage::Client] {
            verify::chain(first, issuers, roots, usage, &algorithms, now)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("not_before", &self.not_before.as_secs())
            .field("not_after", &self.not_after.as_secs())
            .finish_non_exhaustive()
    }
}

/// Reads the certificates of a PEM chain, at most [`MAX_CHAIN`].
///
/// # Errors
/// No certificate, too many, or text that is no PEM.
pub fn chain_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SvidError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        chain.push(
            certificate.map_err(|error| SvidError::Pem { what: "certificate chain", reason: format!("{error:?}") })?,
        );
        if chain.len() > MAX_CHAIN {
            return Err(SvidError::TooLong { found: chain.len() });
        }
    }
    if chain.is_empty() {
        return Err(SvidError::Empty);
    }
    Ok(chain)
}

/// Why a chain and a key are no SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// No certificate.
    #[error("the SVID holds no certificate")]
    Empty,
    /// More than [`MAX_CHAIN`] certificates.
    #[error("the SVID holds {found} certificates or more; at most {MAX_CHAIN} are allowed")]
    TooLong {
        /// How many were read.
        found: usize,
    },
    /// Text that is no PEM.
    #[error("the {what} of the SVID is no PEM: {reason}")]
    Pem {
        /// The part.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// The first certificate is no workload's.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The key is of an unsupported kind or belongs to another certificate.
    #[error("the private key does not go with the certificate of {id}: {reason}")]
    Key {
        /// Whom the certificate names.
        id: SpiffeId,
        /// What was wrong, without the key.
        reason: String,
    },
}
