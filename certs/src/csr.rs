//! A fresh key, and the request for its certificate.

use std::fmt;

use outrigger_identity::{AppId, TrustDomain};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The kind of key a workload proves itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256; every release of the authorities we meet signs it.
    #[default]
    EcdsaP256,
    /// Ed25519; what stock sidecars ask for since 1.18.
    Ed25519,
}

/// A private key, made here and sent nowhere. `Debug` shows its kind only.
pub struct Key {
    pub(crate) pair: KeyPair,
}

impl Key {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let algorithm = match algorithm {
            KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::Ed25519 => &PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(algorithm).map_err(|e| KeyError(e.to_string()))?;
        Ok(Self { pair })
    }

    /// The key in PKCS #8 form, for [`crate::Svid::new`].
    pub fn to_private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.pair.algorithm())
    }
}

/// Why there is no key or request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key for a certificate could not be made: {0}")]
pub struct KeyError(String);

/// What an authority is asked: a certificate for this app and this public key.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// The app to certify.
    pub app: AppId,
    /// Its trust domain; `None` leaves it to the authority, whose default is `public`.
    pub trust_domain: Option<TrustDomain>,
    /// PKCS #10, PEM. It carries the public key and proof of its private half; no
    /// names, since authorities take none from it.
    pub pem: String,
}

impl CertificateRequest {
    /// Writes and signs the request for `key`.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn new(app: AppId, trust_domain: Option<TrustDomain>, key: &Key) -> Result<Self, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let pem = params
            .serialize_request(&key.pair)
            .and_then(|request| request.pem())
            .map_err(|e| KeyError(e.to_string()))?;
        Ok(Self { app, trust_domain, pem })
    }
}
