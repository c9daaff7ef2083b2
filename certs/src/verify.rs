//! Does this chain prove that SPIFFE ID?
//!
//! [`chain`] is the one decision; the two rustls verifiers ask it and then compare
//! the identity with what they expect.

use std::sync::Arc;

use outrigger_identity::{SpiffeId, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::leaf::{self, Leaf, LeafError};
use crate::roots::Roots;

/// Most certificates a peer may send: its own and those that lead to a root.
pub const MAX_CHAIN: usize = 6;

/// Most bytes of all certificates a peer may send.
pub const MAX_CHAIN_BYTES: usize = 32 * 1024;

/// What the certificate is used for; checked against its extended key usage, if it
/// has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The peer was dialled by us.
    Server,
    /// The peer dialled us.
    Client,
}

/// Which trust domains a client of ours may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustDomains {
    /// Every one that our roots vouch for. Stock sidecars accept this, and leave the
    /// choice to the access policy.
    Any,
    /// These only, compared whole.
    Only(Vec<TrustDomain>),
}

impl TrustDomains {
    /// Whether `id` belongs to one of them.
    pub fn allow(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(domains) => domains.iter().any(|domain| id.is_in(domain)),
        }
    }
}

impl From<TrustDomain> for TrustDomains {
    fn from(domain: TrustDomain) -> Self {
        Self::Only(vec![domain])
    }
}

/// Why a chain does not prove the identity asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More than [`MAX_CHAIN`] certificates.
    #[error("the peer sent {found} certificates; at most {MAX_CHAIN} are allowed")]
    ChainTooLong {
        /// How many.
        found: usize,
    },
    /// More than [`MAX_CHAIN_BYTES`].
    #[error("the peer's certificates have {bytes} bytes; at most {MAX_CHAIN_BYTES} are allowed")]
    ChainTooLarge {
        /// How many.
        bytes: usize,
    },
    /// The first certificate is no workload's.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// No path leads to a root of ours.
    #[error("the certificate of {id} leads to none of our trust anchors")]
    UnknownIssuer {
        /// Whom the certificate names.
        id: SpiffeId,
    },
    /// A certificate of the path is past its time.
    #[error(
        "a certificate of {id} expired at {} and it is {} now (Unix seconds)",
        not_after.as_secs(), now.as_secs()
    )]
    Expired {
        /// Whom the certificate names.
        id: SpiffeId,
        /// End of validity.
        not_after: UnixTime,
        /// When we looked.
        now: UnixTime,
    },
    /// A certificate of the path is not valid yet.
    #[error(
        "a certificate of {id} is valid from {} and it is {} now (Unix seconds); \
         do the clocks differ?",
        not_before.as_secs(), now.as_secs()
    )]
    NotYetValid {
        /// Whom the certificate names.
        id: SpiffeId,
        /// Start of validity.
        not_before: UnixTime,
        /// When we looked.
        now: UnixTime,
    },
    /// Any other rule of path validation (RFC 5280, section 6).
    #[error("the certificate of {id} is not acceptable: {reason}")]
    Path {
        /// Whom the certificate names.
        id: SpiffeId,
        /// The rule, in the verifier's words.
        reason: webpki::Error,
    },
    /// A good certificate of somebody else.
    #[error("the peer proved to be {found}, but {expected} was asked for")]
    WrongIdentity {
        /// Whom we asked for.
        expected: SpiffeId,
        /// Who answered.
        found: SpiffeId,
    },
    /// A good certificate of a trust domain that may not call here.
    #[error("the peer proved to be {found}, whose trust domain is not allowed here")]
    TrustDomain {
        /// Who called.
        found: SpiffeId,
    },
}

/// Verifies that `end_entity` leads to one of `roots` at `now` for `usage`, and gives
/// the SPIFFE ID that it proves.
///
/// Of a workload's certificate: exactly one URI name, no authority. Of the path: at most
/// [`MAX_CHAIN`] certificates within [`MAX_CHAIN_BYTES`], each within its validity,
/// issuers allowed to sign, name constraints respected (one on URIs refuses).
///
/// # Errors
/// The first rule broken.
pub fn chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Roots,
    usage: Usage,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<SpiffeId, VerifyError> {
    check_size(end_entity, intermediates)?;
    let leaf = leaf::read(end_entity)?;
    let certificate = EndEntityCert::try_from(end_entity).map_err(|_| LeafError::Encoding)?;
    let key_usage = match usage {
        Usage::Server => KeyUsage::server_auth(),
        Usage::Client => KeyUsage::client_auth(),
    };
    certificate
        .verify_for_usage(algorithms.all, roots.anchors(), intermediates, now, key_usage, None, Some(&issuers_may_sign))
        .map_err(|error| path_error(error, &leaf))?;
    Ok(leaf.id)
}

fn check_size(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), VerifyError> {
    let found = intermediates.len() + 1;
    if found > MAX_CHAIN {
        return Err(VerifyError::ChainTooLong { found });
    }
    let bytes = end_entity.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
    if bytes > MAX_CHAIN_BYTES {
        return Err(VerifyError::ChainTooLarge { bytes });
    }
    Ok(())
}

// The path builder looks at basic constraints only; RFC 5280, section 6.1.4 (n), asks
// for the key usage too.
fn issuers_may_sign(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let mut issuers = path.intermediate_certificates();
    if issuers.all(|issuer| leaf::may_sign_certificates(&issuer.der())) {
        Ok(())
    } else {
        Err(webpki::Error::EndEntityUsedAsCa)
    }
}

fn path_error(error: webpki::Error, leaf: &Leaf) -> VerifyError {
    let id = leaf.id.clone();
    match error {
        webpki::Error::UnknownIssuer => VerifyError::UnknownIssuer { id },
        webpki::Error::CertExpired { time, not_after } => VerifyError::Expired { id, not_after, now: time },
        webpki::Error::CertNotValidYet { time, not_before } => VerifyError::NotYetValid { id, not_before, now: time },
        reason => VerifyError::Path { id, reason },
    }
}

impl From<VerifyError> for rustls::Error {
    // The variants that rustls knows become the alert that tells the peer why.
    fn from(error: VerifyError) -> Self {
        let certificate = match error {
            VerifyError::Expired { not_after, now, .. } => CertificateError::ExpiredContext { time: now, not_after },
            VerifyError::NotYetValid { not_before, now, .. } => {
                CertificateError::NotValidYetContext { time: now, not_before }
            }
            VerifyError::Leaf(LeafError::Encoding) => CertificateError::BadEncoding,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        };
        Self::InvalidCertificate(certificate)
    }
}

/// A client's verifier: the server must prove to be exactly `expected`.
///
/// The name that was dialled plays no part.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) roots: Arc<Roots>,
    pub(crate) expected: SpiffeId,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (roots, algorithms) = (&self.roots, &self.algorithms);
        let found = chain(end_entity, intermediates, roots, Usage::Server, algorithms, now)?;
        if found != self.expected {
            let expected = self.expected.clone();
            return Err(VerifyError::WrongIdentity { expected, found }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A server's verifier: the client must prove a SPIFFE ID of an allowed trust domain.
///
/// What that client may do is the access policy's to say.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    pub(crate) roots: Arc<Roots>,
    pub(crate) trust_domains: TrustDomains,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Every client has one certificate; hints would only tell strangers our roots.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let (roots, algorithms) = (&self.roots, &self.algorithms);
        let found = chain(end_entity, intermediates, roots, Usage::Client, algorithms, now)?;
        if !self.trust_domains.allow(&found) {
            return Err(VerifyError::TrustDomain { found }.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The signature algorithms that `provider` can verify, in chains and in handshakes.
pub fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}
