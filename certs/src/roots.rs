//! Trust anchors: which roots a peer's certificate may lead to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// Most roots in one bundle.
pub const MAX_ROOTS: usize = 64;

/// Most bytes of one bundle, as PEM.
pub const MAX_BUNDLE_BYTES: usize = 1 << 20;

/// The trust anchors of a bundle, parsed once. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
}

impl Roots {
    /// Reads every certificate of a PEM bundle; text between them is allowed.
    ///
    /// # Errors
    /// No certificate, one that cannot be parsed, or more than the bounds.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        if pem.len() > MAX_BUNDLE_BYTES {
            return Err(RootsError::TooLarge { bytes: pem.len() });
        }
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate
                .map_err(|error| RootsError::Pem { number: anchors.len() + 1, reason: format!("{error:?}") })?;
            anchors.push(anchor(&certificate, anchors.len() + 1)?);
            if anchors.len() > MAX_ROOTS {
                return Err(RootsError::TooMany);
            }
        }
        if anchors.is_empty() {
            return Err(RootsError::Empty);
        }
        Ok(Self { anchors })
    }

    /// The anchors, for path building.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

fn anchor(certificate: &CertificateDer<'_>, number: usize) -> Result<TrustAnchor<'static>, RootsError> {
    webpki::anchor_from_trusted_cert(certificate)
        .map(|anchor| anchor.to_owned())
        .map_err(|error| RootsError::Certificate { number, reason: error.to_string() })
}

/// Where the trust anchors come from.
#[derive(Debug, Clone)]
pub enum RootsSource {
    /// Given once, such as by an environment variable.
    Fixed(Arc<Roots>),
    /// A PEM file that may change while we run.
    File(PathBuf),
}

impl RootsSource {
    /// The roots as they are now; a file is read anew.
    ///
    /// # Errors
    /// The file cannot be read or is no bundle of roots.
    pub async fn load(&self) -> Result<Arc<Roots>, RootsError> {
        match self {
            Self::Fixed(roots) => Ok(Arc::clone(roots)),
            Self::File(path) => {
                let pem = read_bounded(path).await?;
                Roots::from_pem(&pem).map(Arc::new)
            }
        }
    }
}

/// Reads the bundle at `path` whole, within [`MAX_BUNDLE_BYTES`].
pub(crate) async fn read_bounded(path: &Path) -> Result<Vec<u8>, RootsError> {
    use tokio::io::AsyncReadExt as _;
    let failed = |source| RootsError::Read { path: path.to_owned(), source: Arc::new(source) };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut pem = Vec::new();
    // One byte over the bound shows that there is more.
    let bound = MAX_BUNDLE_BYTES as u64 + 1;
    file.take(bound).read_to_end(&mut pem).await.map_err(failed)?;
    if pem.len() > MAX_BUNDLE_BYTES {
        return Err(RootsError::TooLarge { bytes: pem.len() });
    }
    Ok(pem)
}

/// Why there are no trust anchors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error("the trust anchors at {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// No certificate in the bundle.
    #[error("the trust anchors hold no certificate; give PEM blocks \"BEGIN CERTIFICATE\"")]
    Empty,
    /// A PEM block that is cut short or is no base64.
    #[error("certificate {number} of the trust anchors is no PEM block: {reason}")]
    Pem {
        /// Which, counted from 1.
        number: usize,
        /// What the parser said.
        reason: String,
    },
    /// A block that is no certificate.
    #[error("certificate {number} of the trust anchors cannot be parsed: {reason}")]
    Certificate {
        /// Which, counted from 1.
        number: usize,
        /// What the parser said.
        reason: String,
    },
    /// More than [`MAX_ROOTS`].
    #[error("the trust anchors hold more than {MAX_ROOTS} certificates")]
    TooMany,
    /// More than [`MAX_BUNDLE_BYTES`].
    #[error("the trust anchors have {bytes} bytes; at most {MAX_BUNDLE_BYTES} are allowed")]
    TooLarge {
        /// Bytes found, or one over the bound.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn root_pem() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn a_bundle_may_hold_several_roots_and_text_between_them() {
        let bundle = format!("# old\n{}\n# new\n{}\n", root_pem(), root_pem());
        assert_eq!(Roots::from_pem(bundle.as_bytes()).unwrap().anchors().len(), 2);
    }

    #[test]
    fn a_bundle_that_is_none_is_refused() {
        assert!(matches!(Roots::from_pem(b""), Err(RootsError::Empty)));
        assert!(matches!(Roots::from_pem(b"hello"), Err(RootsError::Empty)));
        let cut = root_pem().replace("-----END CERTIFICATE-----", "");
        assert!(matches!(Roots::from_pem(cut.as_bytes()), Err(RootsError::Pem { number: 1, .. })));
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let second = format!("{}{other}", root_pem());
        assert!(matches!(Roots::from_pem(second.as_bytes()), Err(RootsError::Certificate { number: 2, .. })));
        let key = KeyPair::generate().unwrap().serialize_pem();
        assert!(matches!(Roots::from_pem(key.as_bytes()), Err(RootsError::Empty)));
    }

    #[test]
    fn a_bundle_has_bounds() {
        let many = root_pem().repeat(MAX_ROOTS + 1);
        assert!(matches!(Roots::from_pem(many.as_bytes()), Err(RootsError::TooMany)));
        let large = vec![b' '; MAX_BUNDLE_BYTES + 1];
        assert!(matches!(Roots::from_pem(&large), Err(RootsError::TooLarge { .. })));
    }
}
