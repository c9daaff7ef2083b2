//! The signing authority itself: of the embedded control process, and of tests.
//!
//! A certificate is composed from facts that the caller has validated (a
//! [`SpiffeId`]); from the request comes the public key and nothing else. The root's key is
//! forgotten once it has signed the issuer, so what is kept can only issue leaves.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_identity::{SpiffeId, TrustDomain};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::ca::Issued;
use crate::csr::{Key, KeyAlgorithm, KeyError};
use crate::roots::{Roots, RootsError};
use crate::svid::{Svid, SvidError};

mod authority;
mod files;

use authority::Authority;

/// App ID under which an authority serves.
pub const SENTRY_APP_ID: &str = "dapr-sentry";

/// App IDs of control-plane services: in the control plane's trust domain no
/// workload gets one.
const RESERVED: [&str; 5] = [SENTRY_APP_ID, "dapr-operator", "dapr-placement", "dapr-injector", "dapr-scheduler"];

/// An authority with less time left than this has a [`Signer::successor`].
const AUTHORITY_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// One with less than this is replaced when it is opened.
const AUTHORITY_LAST: Duration = Duration::from_secs(2 * 24 * 3600);

/// Most bytes of a certificate request.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// How an authority signs.
#[derive(Debug, Clone)]
pub struct SignerConfig {
    /// Trust domain of the control plane; default `localhost`.
    pub trust_domain: TrustDomain,
    /// Namespace of the control plane; default `default`.
    pub namespace: String,
    /// Lifetime of a leaf; default 24 h, at most 7 days and never past the issuer's.
    pub lifetime: Duration,
    /// How far back a leaf's validity begins, for clocks that differ; default 15 min,
    /// at most 1 h and half the lifetime.
    pub skew: Duration,
}

impl SignerConfig {
    /// Longest lifetime of a leaf.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Longest allowance for clocks.
    pub const MAX_SKEW: Duration = Duration::from_secs(3600);

    /// The defaults, for a control plane of this trust domain and namespace.
    pub fn new(trust_domain: TrustDomain, namespace: &str) -> Self {
        Self {
            trust_domain,
            namespace: namespace.to_owned(),
            lifetime: Duration::from_secs(24 * 3600),
            skew: Duration::from_secs(15 * 60),
        }
    }
}

/// A certificate authority with its issuer's key. `Debug` shows no key.
pub struct Signer {
    config: SignerConfig,
    // The authority's own SPIFFE ID.
    id: SpiffeId,
    issuer: Issuer<'static, KeyPair>,
    issuer_pem: String,
    issuer_der: CertificateDer<'static>,
    not_before: UnixTime,
    not_after: UnixTime,
    roots_pem: String,
    roots: Arc<Roots>,
}

impl Signer {
    /// Makes a root and an issuer, ECDSA on P-256, and keeps them in memory only.
    ///
    /// # Errors
    /// A namespace that no SPIFFE ID can have, or no randomness.
    pub fn create(config: SignerConfig, now: UnixTime) -> Result<Self, SignerError> {
        let authority = Authority::generate(&config, now)?;
        Self::from_parts(config, authority)
    }

    /// Opens the authority kept in `folder` (`ca.crt`, `issuer.crt`, `issuer.key`), and
    /// makes it first when there is none.
    ///
    /// One with less than 2 days left is replaced at once, without the overlap that
    /// [`Signer::successor`] allows. The folder is made 0700 and the files 0600.
    ///
    /// # Errors
    /// Files that others may read, that do not belong together or cannot be written.
    pub fn open(folder: &Path, config: SignerConfig, now: UnixTime) -> Result<Self, SignerError> {
        let Some(kept) = files::load(folder)? else {
            let made = Self::create(config, now)?;
            made.save(folder)?;
            return Ok(made);
        };
        let signer = Self::from_parts(config, kept)?;
        if signer.left(now) > AUTHORITY_LAST {
            return Ok(signer);
        }
        let next = signer.next(now)?;
        next.save(folder)?;
        Ok(next)
    }

    /// The authority that should take over from this one, which has less than 30 days
    /// left; `None` while it has more.
    ///
    /// It has a root and an issuer of its own, and trusts this one's roots too as long as they
    /// are valid. Nobody trusts it yet: hand out its [`Signer::roots_pem`] first, then
    /// [`Signer::save`] it and sign with it.
    ///
    /// # Errors
    /// No randomness.
    pub fn successor(&self, now: UnixTime) -> Result<Option<Self>, SignerError> {
        if self.left(now) > AUTHORITY_RENEWAL {
            return Ok(None);
        }
        self.next(now).map(Some)
    }

    /// Keeps the authority in `folder`, in the place of the one there. The process may be
    /// killed at any moment: what [`Signer::open`] finds is the one or the other.
    ///
    /// # Errors
    /// A folder that others may use, or that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), SignerError> {
        files::save(folder, &self.roots_pem, &self.issuer_pem, &self.issuer.key().serialize_pem())
    }

    fn next(&self, now: UnixTime) -> Result<Self, SignerError> {
        let mut next = Authority::generate(&self.config, now)?;
        next.roots_pem.push_str(&files::still_valid(&self.roots_pem, now));
        Self::from_parts(self.config.clone(), next)
    }

    fn left(&self, now: UnixTime) -> Duration {
        Duration::from_secs(self.not_after.as_secs().saturating_sub(now.as_secs()))
    }

    fn from_parts(config: SignerConfig, authority: Authority) -> Result<Self, SignerError> {
        let id = SpiffeId::dapr(&config.trust_domain, &config.namespace, SENTRY_APP_ID)
            .map_err(|e| SignerError::Config(e.to_string()))?;
        let Authority { roots_pem, issuer_pem, key } = authority;
        let issuer_der = CertificateDer::from_pem_slice(issuer_pem.as_bytes())
            .map_err(|e| SignerError::Authority(format!("the issuer is no PEM: {e:?}")))?;
        let (not_before, not_after) = files::validity(&issuer_der, &key)?;
        let roots = Arc::new(Roots::from_pem(roots_pem.as_bytes())?);
        let issuer = Issuer::from_ca_cert_der(&issuer_der, key).map_err(|e| SignerError::Authority(e.to_string()))?;
        Ok(Self { config, id, issuer, issuer_pem, issuer_der, not_before, not_after, roots_pem, roots })
    }

    /// The trust anchors, as a PEM bundle to hand out.
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// The trust anchors, parsed.
    pub fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// The authority's own SPIFFE ID, `/ns/<namespace>/dapr-sentry`.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// End of the issuer's validity.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Signs a workload's certificate for the public key of a PEM (or DER) request.
    ///
    /// `id` must have been validated against whoever asks: this is where a certificate
    /// comes from, not where it is decided who may have it.
    ///
    /// # Errors
    /// A request that cannot be parsed or whose signature is wrong, a key of an
    /// unsupported kind, or an ID that is the control plane's.
    pub fn sign(&self, id: &SpiffeId, request: &[u8], now: UnixTime) -> Result<Issued, SignerError> {
        let Some(dapr) = id.as_dapr() else {
            return Err(SignerError::NoApp { id: id.clone() });
        };
        if id.is_in(&self.config.trust_domain) && RESERVED.contains(&dapr.app_id) {
            return Err(SignerError::Reserved { id: id.clone() });
        }
        self.issue(id, &public_key(request)?, now)
    }

    /// The authority's own SVID, with a fresh key, to serve TLS with.
    ///
    /// # Errors
    /// No randomness, or an issuer past its time.
    pub fn own_svid(&self, now: UnixTime) -> Result<Svid, SignerError> {
        let key = Key::generate(KeyAlgorithm::EcdsaP256)?;
        let issued = self.issue(&self.id, &key.pair, now)?;
        Ok(Svid::new(issued.chain, key.to_private_key())?)
    }

    fn issue(&self, id: &SpiffeId, public_key: &impl PublicKeyData, now: UnixTime) -> Result<Issued, SignerError> {
        if now > self.not_after {
            return Err(SignerError::Expired { not_after: self.not_after });
        }
        let uri = Ia5String::try_from(id.as_str()).map_err(|e| SignerError::Make(e.to_string()))?;
        let mut params = base(DistinguishedName::new())?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let (from, until) = self.leaf_validity(now);
        params.not_before = date(from);
        params.not_after = date(until);
        let leaf = params.signed_by(public_key, &self.issuer).map_err(|e| SignerError::Make(e.to_string()))?;
        Ok(Issued { chain: vec![leaf.into(), self.issuer_der.clone()] })
    }

    fn leaf_validity(&self, now: UnixTime) -> (u64, u64) {
        let lifetime = self.config.lifetime.min(SignerConfig::MAX_LIFETIME);
        // Stock sidecars renew half-way through the whole validity: with a skew longer than the lifetime that moment
        // is past at birth, and they ask again without end.
        let skew = self.config.skew.min(SignerConfig::MAX_SKEW).min(lifetime / 2);
        let from = now.as_secs().saturating_sub(skew.as_secs());
        let until = now.as_secs().saturating_add(lifetime.as_secs());
        (from.max(self.not_before.as_secs()), until.min(self.not_after.as_secs()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id)
            .field("not_after", &self.not_after.as_secs())
            .finish_non_exhaustive()
    }
}

/// Why the authority did not sign, or is none.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The settings make no identity.
    #[error("the certificate authority cannot be named: {0}")]
    Config(String),
    /// An ID that names no app.
    #[error("{id} names no app, so no certificate is signed for it")]
    NoApp {
        /// Asked for.
        id: SpiffeId,
    },
    /// An ID of the control plane itself.
    #[error("{id} is reserved for the control plane; choose another app ID or trust domain")]
    Reserved {
        /// Asked for.
        id: SpiffeId,
    },
    /// The request is no PKCS #10 request, or carries more than one thing.
    #[error("the certificate request cannot be parsed: {0}")]
    Request(&'static str),
    /// The requester does not hold the key.
    #[error("the certificate request is not signed by its own key")]
    Signature,
    /// A key that is not ECDSA on P-256 or P-384, nor Ed25519.
    #[error("the key of the request is of an unsupported kind; use ECDSA P-256 or Ed25519")]
    KeyKind,
    /// The issuer is past its time.
    #[error("the issuer expired at {} (Unix seconds)", not_after.as_secs())]
    Expired {
        /// End of validity.
        not_after: UnixTime,
    },
    /// The parts of the authority do not make one.
    #[error("the certificate authority's files are not usable: {0}")]
    Authority(String),
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder that others may read or change.
    #[error("{path} may be used by others (mode {mode:o}); make it private to its owner")]
    Exposed {
        /// The file or folder.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The bundle of roots is not usable.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The certificate just made is not usable.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate could not be composed.
    #[error("the certificate could not be made: {0}")]
    Make(String),
}

fn base(subject: DistinguishedName) -> Result<CertificateParams, SignerError> {
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| SignerError::Make("the system gives no randomness".to_owned()))?;
    // A positive number of 16 bytes at most (RFC 5280, section 4.1.2.2).
    if let Some(first) = serial.first_mut() {
        *first &= 0x7f;
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn date(seconds: u64) -> OffsetDateTime {
    // The latest date that a certificate can state, RFC 5280's "no end".
    const LATEST: i64 = 253_402_300_799;
    let seconds = i64::try_from(seconds).unwrap_or(LATEST).min(LATEST);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn public_key(request: &[u8]) -> Result<SubjectPublicKeyInfo, SignerError> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(SignerError::Request("it is larger than 16 KiB"));
    }
    let der = match request.first() {
        // DER begins with a SEQUENCE; PEM is text.
        Some(0x30) => CertificateSigningRequestDer::from(request),
        _ => CertificateSigningRequestDer::from_pem_slice(request)
            .map_err(|_| SignerError::Request("it is neither PEM nor DER"))?,
    };
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|_| SignerError::Request("it is no PKCS #10 request"))?;
    if !rest.is_empty() {
        return Err(SignerError::Request("there are bytes after it"));
    }
    let key = &request.certification_request_info.subject_pki;
    let key = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| SignerError::KeyKind)?;
    let supported = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519];
    if !supported.contains(&key.algorithm()) {
        return Err(SignerError::KeyKind);
    }
    request.verify_signature().map_err(|_| SignerError::Signature)?;
    Ok(key)
}
