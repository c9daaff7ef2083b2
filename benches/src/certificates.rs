//! The certificates that a peer's pair needs: one CA and a leaf with a SPIFFE ID for each side.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// PEM files of one side.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) id: String,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// PEM files of a mesh of two.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    pub(crate) roots: PathBuf,
    pub(crate) a: Leaf,
    pub(crate) b: Leaf,
}

impl Certificates {
    /// Makes them anew in `folder`, with ECDSA P-256 keys.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let roots = folder.join("ca.crt");
        fs::write(&roots, params.self_signed(&key)?.pem()).with_context(|| format!("write {}", roots.display()))?;
        let issuer = Issuer::new(params, key);
        Ok(Self { roots, a: leaf(folder, "a", &issuer)?, b: leaf(folder, "b", &issuer)? })
    }
}

fn leaf(folder: &Path, name: &str, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<Leaf> {
    let id = format!("spiffe://public/ns/default/{name}");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let files = Leaf { id, chain: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
    fs::write(&files.chain, params.signed_by(&key, issuer)?.pem())?;
    fs::write(&files.key, key.serialize_pem())?;
    Ok(files)
}
