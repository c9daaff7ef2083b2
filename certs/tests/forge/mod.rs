//! Certificates of every kind, good and forged, and handshakes over memory.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test crate uses a part")]

use std::sync::Arc;
use std::time::Duration;

use outrigger_certs::{Identity, Roots, Svid, crypto_provider, server_name};
use outrigger_identity::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SignatureAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use time::OffsetDateTime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The moment at which the tests live.
pub const NOW: u64 = 1_800_000_000;

#[derive(Debug)]
pub struct FixedClock(pub u64);

impl TimeProvider for FixedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

pub fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap()
}

pub fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

/// A certificate authority of the tests.
pub struct Ca {
    pub der: CertificateDer<'static>,
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
    // From this one up to the root, which is left out.
    above: Vec<CertificateDer<'static>>,
}

/// A chain and its key, as a peer would present them.
pub struct Chain {
    pub certificates: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

pub fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date(NOW - 900);
    params.not_after = date(NOW + 86_400);
    params
}

pub fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date(NOW - 900);
    params.not_after = date(NOW + 3_600);
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    params
}

/// A subject alternative name extension with these URIs, whatever bytes they hold.
pub fn raw_uris(uris: &[&[u8]]) -> CustomExtension {
    let names: Vec<u8> = uris.iter().flat_map(|uri| tlv(0x86, uri)).collect();
    CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &names))
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=127 => out.push(u8::try_from(length).unwrap()),
        _ => {
            let bytes = u32::try_from(length).unwrap().to_be_bytes();
            out.push(0x84);
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

/// A name constraint that permits only URIs of one host.
pub fn uri_constraint(host: &str) -> CustomExtension {
    let subtree = tlv(0x30, &tlv(0x86, host.as_bytes()));
    let permitted = tlv(0xa0, &subtree);
    let mut constraint = CustomExtension::from_oid_content(&[2, 5, 29, 30], tlv(0x30, &permitted));
    constraint.set_criticality(true);
    constraint
}

impl Ca {
    pub fn root(name: &str) -> Self {
        Self::root_with(name, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn root_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = ca_params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.into(), issuer: Issuer::new(params, key), above: Vec::new() }
    }

    pub fn below(&self, params: CertificateParams) -> Self {
        self.below_with(params, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn below_with(&self, params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem();
        let der = CertificateDer::from(certificate);
        let mut above = vec![der.clone()];
        above.extend(self.above.iter().cloned());
        Self { pem, der, issuer: Issuer::new(params, key), above }
    }

    /// An authority `depth` steps under this one.
    pub fn deep(&self, depth: usize) -> Self {
        let mut lowest = self.below(ca_params("depth 1"));
        for step in 2..=depth {
            lowest = lowest.below(ca_params(&format!("depth {step}")));
        }
        lowest
    }

    pub fn sign(&self, params: &CertificateParams) -> Chain {
        self.sign_with(params, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn sign_with(&self, params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> Chain {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut certificates = vec![params.signed_by(&key, &self.issuer).unwrap().into()];
        certificates.extend(self.above.iter().cloned());
        Chain { certificates, key: pkcs8(&key) }
    }

    /// This authority's own certificate, presented as a workload's.
    pub fn as_leaf(&self) -> Chain {
        let mut certificates = self.above.clone();
        if certificates.is_empty() {
            certificates.push(self.der.clone());
        }
        Chain { certificates, key: pkcs8(self.issuer.key()) }
    }

    pub fn roots(&self) -> Arc<Roots> {
        Arc::new(Roots::from_pem(self.pem.as_bytes()).unwrap())
    }

    pub fn identity(&self, id: &str) -> Identity {
        self.sign(&leaf_params(&[id])).identity(self.roots())
    }
}

impl Chain {
    pub fn identity(self, roots: Arc<Roots>) -> Identity {
        let svid = Arc::new(Svid::new(self.certificates, self.key).unwrap());
        Identity::new(svid, roots, 1, Arc::new(FixedClock(NOW)))
    }

    // Without the checks that rustls makes of one's own certificate.
    fn unchecked(self) -> Arc<SingleCertAndKey> {
        let key = crypto_provider().key_provider.load_private_key(self.key).unwrap();
        Arc::new(CertifiedKey::new(self.certificates, key).into())
    }

    /// A TLS client that presents this chain and accepts any server.
    pub fn careless_client(self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny))
            .with_client_cert_resolver(self.unchecked());
        Arc::new(config)
    }

    /// A TLS server that presents this chain and asks for no certificate.
    pub fn careless_server(self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(self.unchecked());
        Arc::new(config)
    }
}

pub fn client_without_certificate() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny))
        .with_no_client_auth();
    Arc::new(config)
}

pub fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

pub type ClientEnd = tokio_rustls::client::TlsStream<tokio::io::DuplexStream>;
pub type ServerEnd = tokio_rustls::server::TlsStream<tokio::io::DuplexStream>;

/// A handshake over memory, as each end saw it.
pub async fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> (std::io::Result<ClientEnd>, std::io::Result<ServerEnd>) {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let dial = TlsConnector::from(client).connect(server_name(), near);
    let accept = TlsAcceptor::from(server).accept(far);
    tokio::join!(dial, accept)
}

/// Verifies no server; for clients that look at ours.
#[derive(Debug)]
pub struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto_provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
