use outrigger_identity::{SpiffeId, SpiffeIdError};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

// Tag of a URI among general names (RFC 5280, section 4.2.1.6).
const URI_TAG: u32 = 6;

/// What a workload certificate says of itself; nothing of it is proven by parsing.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

/// Why a certificate is no workload's (X509-SVID, sections 2, 4 and 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a DER certificate, or bytes after it.
    #[error("the certificate cannot be parsed")]
    Encoding,
    /// No URI among the subject alternative names.
    #[error("the certificate has no URI name; a workload's has exactly one, its SPIFFE ID")]
    NoUri,
    /// More than one.
    #[error("the certificate has {found} URI names; a workload's has exactly one")]
    ManyUris {
        /// How many.
        found: usize,
    },
    /// The URI breaks the rules of SPIFFE IDs.
    #[error("the certificate's URI name is no SPIFFE ID: {0}")]
    SpiffeId(#[from] SpiffeIdError),
    /// A certificate authority's certificate where a workload's should be.
    #[error("the certificate is a certificate authority's, not a workload's")]
    Authority,
    /// The key usage does not allow signatures.
    #[error("the certificate's key usage does not allow digital signatures")]
    KeyUsage,
}

/// Reads a workload certificate: exactly one URI name, a SPIFFE ID; no authority.
pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Leaf, LeafError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LeafError::Encoding)?;
    if !rest.is_empty() {
        return Err(LeafError::Encoding);
    }
    check_usage(&certificate)?;
    let id = SpiffeId::parse(only_uri(&certificate)?)?;
    let validity = certificate.validity();
    Ok(Leaf { id, not_before: unix(validity.not_before.timestamp()), not_after: unix(validity.not_after.timestamp()) })
}

/// Whether a certificate may sign others, as far as its key usage tells.
pub(crate) fn may_sign_certificates(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    match certificate.key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Err(_) => false,
    }
}

fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    let constraints = certificate.basic_constraints().map_err(|_| LeafError::Encoding)?;
    if constraints.is_some_and(|c| c.value.ca) {
        return Err(LeafError::Authority);
    }
    let usage = certificate.key_usage().map_err(|_| LeafError::Encoding)?;
    let Some(usage) = usage else {
        return Ok(());
    };
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(LeafError::Authority);
    }
    if !usage.value.digital_signature() {
        return Err(LeafError::KeyUsage);
    }
    Ok(())
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, LeafError> {
    let names = certificate.subject_alternative_name().map_err(|_| LeafError::Encoding)?;
    let names = names.map(|n| n.value.general_names.as_slice()).unwrap_or_default();
    let mut first = None;
    let mut found = 0_usize;
    for name in names {
        match name {
            GeneralName::URI(uri) => {
                found += 1;
                first = first.or(Some(*uri));
            }
            // A URI that is no text counts too, or it could hide beside a good one.
            GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => return Err(LeafError::Encoding),
            _ => {}
        }
    }
    match (first, found) {
        (Some(uri), 1) => Ok(uri),
        (None, _) => Err(LeafError::NoUri),
        (_, found) => Err(LeafError::ManyUris { found }),
    }
}

fn unix(seconds: i64) -> UnixTime {
    // Before 1970 is as long ago as matters.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}
