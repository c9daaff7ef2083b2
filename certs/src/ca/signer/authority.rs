use std::time::Duration;

use outrigger_identity::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::UnixTime;

use super::{SENTRY_APP_ID, SignerConfig, SignerError, base, date};

/// Lifetime of roots and issuers.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// What an authority is made of, before it is parsed.
pub(super) struct Authority {
    pub(super) roots_pem: String,
    pub(super) issuer_pem: String,
    pub(super) key: KeyPair,
}

impl Authority {
    /// A new root, and an issuer below it; the root's key is forgotten.
    pub(super) fn generate(config: &SignerConfig, now: UnixTime) -> Result<Self, SignerError> {
        let make = |e: rcgen::Error| SignerError::Make(e.to_string());
        let id = SpiffeId::dapr(&config.trust_domain, &config.namespace, SENTRY_APP_ID)
            .map_err(|e| SignerError::Config(e.to_string()))?;
        let skew = config.skew.min(SignerConfig::MAX_SKEW);
        let from = now.as_secs().saturating_sub(skew.as_secs());
        let until = now.as_secs().saturating_add(AUTHORITY_LIFETIME.as_secs());
        let ca = |name: &str, below: u8| -> Result<CertificateParams, SignerError> {
            let mut subject = DistinguishedName::new();
            subject.push(DnType::OrganizationName, name);
            let mut params = base(subject)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.not_before = date(from);
            params.not_after = date(until);
            Ok(params)
        };
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
        let root_params = ca(config.trust_domain.as_str(), 1)?;
        let root = root_params.self_signed(&root_key).map_err(make)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
        let mut issuer_params = ca(id.as_str(), 0)?;
        issuer_params.use_authority_key_identifier_extension = true;
        let root_issuer = Issuer::new(root_params, root_key);
        let issuer = issuer_params.signed_by(&key, &root_issuer).map_err(make)?;
        Ok(Self { roots_pem: root.pem(), issuer_pem: issuer.pem(), key })
    }
}
