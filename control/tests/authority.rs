//! The certificate authority behind its two doors, asked by the client that sidecars use.

#![allow(clippy::unwrap_used, missing_docs)]

mod parts;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_certs::ca::sentry::{SentryAddress, SentryClient, SentryConfig, Token};
use outrigger_certs::{
    CaError, CertificateAuthority, CertificateRequest, Issued, Key, KeyAlgorithm, Roots, RootsSource, Svid,
    system_clock, unix_now,
};
use outrigger_control::embedded::{RunError, run_until};
use outrigger_identity::{AppId, SpiffeId, TrustDomain};
use parts::{Place, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SENTRY: &str = "spiffe://localhost/ns/default/dapr-sentry";

fn client(address: SentryAddress, place: &Place, token: Token) -> SentryClient {
    let roots = Roots::from_pem(&std::fs::read(place.file("trust-anchors.pem")).unwrap()).unwrap();
    SentryClient::new(SentryConfig {
        address,
        identity: SpiffeId::parse(SENTRY).unwrap(),
        roots: RootsSource::Fixed(Arc::new(roots)),
        token,
        timeout: Duration::from_secs(5),
        clock: system_clock(),
    })
}

fn unix(place: &Place) -> SentryClient {
    client(SentryAddress::Unix(place.file("control.sock")), place, Token::None)
}

fn tcp(place: &Place, token: Option<PathBuf>) -> SentryClient {
    let address = place.status().unwrap().ca_address.unwrap();
    client(SentryAddress::Tcp(address.to_string()), place, token.map_or(Token::None, Token::Jwks))
}

struct Asked {
    key: Key,
    request: CertificateRequest,
}

fn ask(app: &str, algorithm: KeyAlgorithm) -> Asked {
    let key = Key::generate(algorithm).unwrap();
    let app = AppId::parse(app, "default").unwrap();
    let request = CertificateRequest::new(app, None, &key).unwrap();
    Asked { key, request }
}

/// Puts what was issued together, and verifies it against the anchors in the folder.
fn verified(place: &Place, asked: &Asked, issued: Issued) -> Svid {
    let svid = Svid::new(issued.chain, asked.key.to_private_key()).unwrap();
    let roots = Roots::from_pem(&std::fs::read(place.file("trust-anchors.pem")).unwrap()).unwrap();
    svid.verify(&roots, unix_now(&system_clock())).unwrap();
    svid
}

fn refused(answer: Result<Issued, CaError>) -> String {
    match answer.unwrap_err() {
        CaError::Refused { code, message, .. } => format!("{code}: {message}"),
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test]
async fn our_own_user_gets_a_certificate_through_the_unix_socket() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let asked = ask("orders.shop", algorithm);
        let issued = unix(&place).issue(&asked.request).await.unwrap();
        assert_eq!(verified(&place, &asked, issued).id().as_str(), "spiffe://public/ns/shop/orders");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_folder_keeps_its_secrets_to_its_owner() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let mode = |name: &str| std::fs::metadata(place.file(name)).unwrap().permissions().mode() & 0o777;
    for name in ["control.sock", "control.lock", "control.json", "join-token", "ca/issuer.key", "trust-anchors.pem"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!((mode(""), mode("ca")), (0o700, 0o700));
    running.stop().await;
    assert!(!place.file("control.sock").exists());
    assert!(!place.file("control.json").exists());
}

#[tokio::test]
async fn the_tls_door_opens_to_the_join_token_only() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let asked = ask("orders", KeyAlgorithm::Ed25519);

    let issued = tcp(&place, Some(place.file("join-token"))).issue(&asked.request).await.unwrap();
    assert_eq!(verified(&place, &asked, issued).id().as_str(), "spiffe://public/ns/default/orders");

    let none = refused(tcp(&place, None).issue(&asked.request).await);
    assert!(none.contains("DAPR_SENTRY_TOKEN_FILE"), "{none}");
    let wrong = place.file("wrong");
    std::fs::write(&wrong, "0".repeat(64)).unwrap();
    let wrong = refused(tcp(&place, Some(wrong)).issue(&asked.request).await);
    assert_eq!(wrong, none);
    running.stop().await;
}

#[tokio::test]
async fn the_tls_door_proves_to_be_the_sentry_and_offers_no_registry() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(([127, 0, 0, 1], 0).into())).await;
    // A client that expects another identity does not send its token.
    let mut config = SentryConfig {
        address: SentryAddress::Tcp(place.status().unwrap().ca_address.unwrap().to_string()),
        identity: SpiffeId::parse("spiffe://localhost/ns/default/dapr-operator").unwrap(),
        roots: RootsSource::File(place.file("trust-anchors.pem")),
        token: Token::Jwks(place.file("join-token")),
        timeout: Duration::from_secs(5),
        clock: system_clock(),
    };
    let asked = ask("orders", KeyAlgorithm::EcdsaP256);
    let error = SentryClient::new(config.clone()).issue(&asked.request).await.unwrap_err();
    assert!(matches!(error, CaError::Identity { .. }), "{error}");
    config.identity = SpiffeId::parse(SENTRY).unwrap();
    SentryClient::new(config).issue(&asked.request).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn another_trust_domain_and_a_request_without_a_valid_key_are_refused() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let client = unix(&place);
    let asked = ask("orders", KeyAlgorithm::EcdsaP256);
    for domain in ["localhost", "elsewhere"] {
        let trust_domain = Some(TrustDomain::parse(domain).unwrap());
        let request = CertificateRequest { trust_domain, ..asked.request.clone() };
        let refused = refused(client.issue(&request).await);
        assert!(refused.contains(domain) && refused.contains("public"), "{refused}");
    }
    for pem in ["", "no PEM", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"] {
        let request = CertificateRequest { pem: pem.to_owned(), ..asked.request.clone() };
        let refused = refused(client.issue(&request).await);
        assert!(refused.contains("request"), "{refused}");
    }
    // And the others are served as before.
    client.issue(&asked.request).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let asked = ask("orders", KeyAlgorithm::EcdsaP256);
    let request = CertificateRequest { pem: "x".repeat(1 << 20), ..asked.request.clone() };
    assert!(unix(&place).issue(&request).await.is_err());
    unix(&place).issue(&asked.request).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_let_go_and_the_others_are_served() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let address = place.status().unwrap().ca_address.unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 64]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        // It ends: with an alert and a close, or with a reset.
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.len() < 32, "{rest:?}");
    }
    let asked = ask("orders", KeyAlgorithm::EcdsaP256);
    tcp(&place, Some(place.file("join-token"))).issue(&asked.request).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn the_tls_door_is_never_opened_to_other_machines() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = outrigger_control::embedded::Config {
            ca_listen: Some(address.parse().unwrap()),
            ..outrigger_control::embedded::Config::new(place.home())
        };
        let error = run_until(config, std::future::pending()).await.unwrap_err();
        assert!(matches!(error, RunError::NotLoopback { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_authority_survives_a_restart() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let asked = ask("orders", KeyAlgorithm::EcdsaP256);
    let issued = unix(&place).issue(&asked.request).await.unwrap();
    running.stop().await;
    let running = Running::start(&place, |_| {}).await;
    verified(&place, &asked, issued);
    running.stop().await;
}
