//! Real handshakes with good and forged certificates: both ends check the peer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use std::sync::Arc;

use forge::{
    Ca, Chain, FixedClock, NOW, ca_params, client_without_certificate, date, handshake, id, leaf_params, raw_uris,
    uri_constraint,
};
use outrigger_certs::{
    Identity, Roots, Svid, TlsError, TrustDomains, connection_facts, handshake_reason, peer_identity,
};
use outrigger_identity::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls_pki_types::CertificateDer;

const A: &str = "spiffe://public/ns/default/a";
const B: &str = "spiffe://public/ns/default/b";
const ALPN: &[&[u8]] = &[b"outrigger/1"];

fn any() -> TrustDomains {
    TrustDomains::Any
}

#[tokio::test]
async fn two_workloads_prove_themselves_whatever_their_and_their_issuers_keys() {
    let kinds = [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519];
    for root_key in kinds {
        for leaf_key in kinds {
            let root = Ca::root_with("root", root_key);
            let issuer = root.below_with(ca_params("issuer"), root_key);
            let a = issuer.sign_with(&leaf_params(&[A]), leaf_key).identity(root.roots());
            let b = issuer.sign_with(&leaf_params(&[B]), leaf_key).identity(root.roots());
            let client = a.client_config(&id(B), ALPN).unwrap();
            let (client, server) = handshake(client, b.server_config(ALPN, &any()).unwrap()).await;
            let (client, server) = (client.unwrap(), server.unwrap());
            let (client, server) = (client.get_ref().1, server.get_ref().1);
            assert_eq!(peer_identity(client).unwrap(), id(B));
            assert_eq!(peer_identity(server).unwrap(), id(A));
            for end in [connection_facts(client), connection_facts(server)] {
                assert_eq!(end, "TLSv1.3 X25519MLKEM768");
            }
            assert_eq!(server.alpn_protocol(), Some(&b"outrigger/1"[..]));
            assert_eq!(server.server_name(), None, "no name is sent");
        }
    }
}

// Every forged chain, and a part of what its refusal says. `ca` is the root both ends trust.
fn forged(ca: &Ca) -> Vec<(&'static str, Chain, &'static str)> {
    let leaf = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params(&[A]);
        change(&mut params);
        ca.sign(&params)
    };
    let uris = |uris: &[&[u8]]| {
        let mut params = leaf_params(&[]);
        params.custom_extensions.push(raw_uris(uris));
        ca.sign(&params)
    };
    let under = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = ca_params("issuer");
        change(&mut params);
        ca.below(params).sign(&leaf_params(&[A]))
    };
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf_params(&[A]).self_signed(&key).unwrap();
        Chain { certificates: vec![certificate.into()], key: forge::pkcs8(&key) }
    };
    let mut cut = ca.below(ca_params("issuer")).sign(&leaf_params(&[A]));
    cut.certificates.truncate(1);
    let garbage = || CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    let mut no_certificate = ca.sign(&leaf_params(&[A]));
    no_certificate.certificates = vec![garbage()];
    let mut no_issuer = ca.below(ca_params("issuer")).sign(&leaf_params(&[A]));
    no_issuer.certificates.truncate(1);
    no_issuer.certificates.push(garbage());
    let mut trailing = ca.sign(&leaf_params(&[A]));
    let mut bytes = trailing.certificates.remove(0).to_vec();
    bytes.push(0);
    trailing.certificates.push(CertificateDer::from(bytes));
    let mut chain = vec![
        ("expired", leaf(&|p| p.not_after = date(NOW - 1)), "expired"),
        ("not yet valid", leaf(&|p| p.not_before = date(NOW + 60)), "not valid yet"),
        ("issuer expired", under(&|p| p.not_after = date(NOW - 1)), "expired"),
        ("wrong root", Ca::root("other").sign(&leaf_params(&[A])), "none of our trust anchors"),
        ("root of the same name", Ca::root("root").sign(&leaf_params(&[A])), "not acceptable"),
        ("self-signed", self_signed, "none of our trust anchors"),
        ("issuer missing", cut, "none of our trust anchors"),
        ("no URI", leaf(&|p| p.subject_alt_names.clear()), "no URI name"),
        (
            "only a DNS name",
            leaf(&|p| {
                p.subject_alt_names = vec![SanType::DnsName("a.default.svc".try_into().unwrap())];
            }),
            "no URI name",
        ),
        ("two URIs", ca.sign(&leaf_params(&[A, B])), "2 URI names"),
        ("the same URI twice", ca.sign(&leaf_params(&[A, A])), "2 URI names"),
        ("a SPIFFE ID beside a web address", ca.sign(&leaf_params(&[A, "https://a"])), "2 URI"),
        ("a URI that is no text beside a good one", uris(&[A.as_bytes(), b"\xff"]), ""),
        ("NUL in the URI", uris(&[b"spiffe://public/ns/default/a\0.evil"]), "SPIFFE ID"),
        ("a URI of UTF-8", uris(&["spiffe://public/ns/default/\u{430}".as_bytes()]), ""),
        ("a URI of 3 KB", uris(&[format!("{A}{}", "a".repeat(3000)).as_bytes()]), "3028 bytes"),
        ("wildcard", ca.sign(&leaf_params(&["spiffe://public/ns/default/*"])), "'*'"),
        ("trust domain in upper case", ca.sign(&leaf_params(&["spiffe://PUBLIC/ns/default/a"])), "'P'"),
        ("escaped slash", ca.sign(&leaf_params(&["spiffe://public/ns/default%2Fa"])), "'%'"),
        ("trailing slash", ca.sign(&leaf_params(&["spiffe://public/ns/default/a/"])), "empty path"),
        ("dot segments", ca.sign(&leaf_params(&["spiffe://public/ns/x/../default/a"])), "segment"),
        ("a port", ca.sign(&leaf_params(&["spiffe://public:1/ns/default/a"])), "':'"),
        ("a user", ca.sign(&leaf_params(&["spiffe://u@public/ns/default/a"])), "'@'"),
        ("a query", ca.sign(&leaf_params(&["spiffe://public/ns/default/a?b"])), "'?'"),
        ("no path", ca.sign(&leaf_params(&["spiffe://public"])), "no path"),
        (
            "authority as a workload",
            leaf(&|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "authority's",
        ),
        ("may sign certificates", leaf(&|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)), "authority's"),
        ("may sign revocations", leaf(&|p| p.key_usages.push(KeyUsagePurpose::CrlSign)), "authority's"),
        ("no signature usage", leaf(&|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]), "digital signatures"),
        (
            "usage for code only",
            leaf(&|p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
            }),
            "not acceptable",
        ),
        ("the root itself", ca.as_leaf(), "authority's"),
        ("issued by a workload", under(&|p| p.is_ca = IsCa::ExplicitNoCa), "not acceptable"),
        ("issued by a certificate without constraints", under(&|p| p.is_ca = IsCa::NoCa), "not acceptable"),
        ("issuer may not sign", under(&|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]), "not acceptable"),
        (
            "issuer deeper than allowed",
            {
                let mut params = ca_params("issuer");
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                ca.below(params).below(ca_params("lower")).sign(&leaf_params(&[A]))
            },
            "not acceptable",
        ),
        (
            "issuer constrained to other URIs",
            under(&|p| p.custom_extensions.push(uri_constraint("other"))),
            "not acceptable",
        ),
        ("no certificate at all", no_certificate, "BadEncoding"),
        ("garbage for an issuer", no_issuer, "not acceptable"),
        ("bytes after the certificate", trailing, "BadEncoding"),
        ("seven certificates", ca.deep(6).sign(&leaf_params(&[A])), "7 certificates"),
    ];
    // rustls itself stops reading a hundred certificates or a megabyte; no text of ours.
    chain.push(("a hundred certificates", ca.deep(100).sign(&leaf_params(&[A])), ""));
    let mut padded = leaf_params(&[A]);
    padded.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[1, 3, 9], vec![5; 40_000]));
    chain.push(("40 KB of certificate", ca.sign(&padded), "bytes; at most"));
    chain
}

#[tokio::test]
async fn a_client_refuses_every_forged_server() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    for (name, chain, expected) in forged(&ca) {
        let client = us.client_config(&id(A), ALPN).unwrap();
        let (client, _) = handshake(client, chain.careless_server()).await;
        let reason = handshake_reason(&client.expect_err(name));
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test]
async fn a_server_refuses_every_forged_client() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    for (name, chain, expected) in forged(&ca) {
        let server = us.server_config(ALPN, &any()).unwrap();
        let (_, server) = handshake(chain.careless_client(), server).await;
        let reason = handshake_reason(&server.expect_err(name));
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test]
async fn the_chain_may_have_six_certificates() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    let chain = ca.deep(5).sign(&leaf_params(&[A]));
    assert_eq!(chain.certificates.len(), 6);
    let server = us.server_config(&[], &any()).unwrap();
    let (client, server) = handshake(chain.careless_client(), server).await;
    assert!(client.is_ok() && server.is_ok());
}

#[tokio::test]
async fn a_certificate_for_one_end_only_is_not_taken_at_the_other() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    let only = |usage| {
        let mut params = leaf_params(&[A]);
        params.extended_key_usages = vec![usage];
        ca.sign(&params)
    };
    let dial = || us.client_config(&id(A), &[]).unwrap();
    let accept = || us.server_config(&[], &any()).unwrap();

    let server = only(ExtendedKeyUsagePurpose::ClientAuth).careless_server();
    assert!(handshake(dial(), server).await.0.is_err());
    let client = only(ExtendedKeyUsagePurpose::ServerAuth).careless_client();
    assert!(handshake(client, accept()).await.1.is_err());

    let server = only(ExtendedKeyUsagePurpose::ServerAuth).careless_server();
    assert!(handshake(dial(), server).await.0.is_ok());
    let client = only(ExtendedKeyUsagePurpose::ClientAuth).careless_client();
    assert!(handshake(client, accept()).await.1.is_ok());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let us = Ca::root("root").identity(B);
    let server = us.server_config(&[], &any()).unwrap();
    let (_, server) = handshake(client_without_certificate(), server).await;
    let reason = handshake_reason(&server.unwrap_err());
    assert!(reason.contains("no certificates"), "{reason}");
}

#[tokio::test]
async fn a_good_certificate_of_somebody_else_is_refused_by_name() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    for other in [
        "spiffe://public.evil/ns/default/a",
        "spiffe://evil.public/ns/default/a",
        "spiffe://publi/ns/default/a",
        "spiffe://public/ns/default/A",
        "spiffe://public/ns/default/aa",
        "spiffe://public/ns/other/a",
        "spiffe://public/ns/default/a/a",
        "spiffe://public/ns/default/a/b/c",
        "spiffe://public/ns/default/sa/a",
        "spiffe://public/default/a",
        B,
    ] {
        let server = ca.sign(&leaf_params(&[other])).careless_server();
        let (client, _) = handshake(us.client_config(&id(A), &[]).unwrap(), server).await;
        let reason = handshake_reason(&client.expect_err(other));
        assert_eq!(reason, format!("the peer proved to be {other}, but {A} was asked for"));
    }
}

#[tokio::test]
async fn only_clients_of_the_allowed_trust_domains_get_in() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    let domain = |text| TrustDomain::parse(text).unwrap();
    let allowed = TrustDomains::Only(vec![domain("public"), domain("cluster.local")]);
    for (caller, expected) in [
        (A, true),
        ("spiffe://cluster.local/ns/default/a", true),
        ("spiffe://cluster.local.evil/ns/default/a", false),
        ("spiffe://evil.cluster.local/ns/default/a", false),
        ("spiffe://local/ns/default/a", false),
        ("spiffe://publicx/ns/default/a", false),
        ("spiffe://xpublic/ns/default/a", false),
    ] {
        let client = ca.sign(&leaf_params(&[caller])).careless_client();
        let (_, server) = handshake(client, us.server_config(&[], &allowed).unwrap()).await;
        assert_eq!(server.is_ok(), expected, "{caller}");
        if let Err(error) = server {
            let reason = handshake_reason(&error);
            assert!(reason.contains(caller) && reason.contains("not allowed"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_peer_without_the_hybrid_key_exchange_gets_x25519_and_no_other() {
    let us = Ca::root("root").identity(B);
    for (group, expected) in [
        (kx_group::X25519MLKEM768, Some("TLSv1.3 X25519MLKEM768")),
        (kx_group::X25519, Some("TLSv1.3 X25519")),
        (kx_group::SECP256R1, None),
    ] {
        let client = us.client_config(&id(B), &[]).unwrap();
        let provider = CryptoProvider { kx_groups: vec![group], ..(**client.crypto_provider()).clone() };
        let client = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(FixedClock(NOW)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty());
        let mut client = client.with_no_client_auth();
        client.dangerous().set_certificate_verifier(Arc::new(forge::AcceptAny));
        let server = us.server_config_without_client_auth(&[]).unwrap();
        let (_, server) = handshake(Arc::new(client), server).await;
        let facts = server.ok().map(|end| connection_facts(end.get_ref().1));
        assert_eq!(facts.as_deref(), expected);
    }
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let ca = Ca::root("root");
    let us = ca.identity(B);
    // This client would resume if it were given a ticket.
    let eager = ca.sign(&leaf_params(&[A])).careless_client();
    for _ in 0..3 {
        let server = us.server_config(&[], &any()).unwrap();
        let (client, server) = handshake(Arc::clone(&eager), server).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(client.get_ref().1.tls13_tickets_received(), 0);
    }
    let config = us.client_config(&id(A), &[]).unwrap();
    let server = ca.sign(&leaf_params(&[A])).careless_server();
    for _ in 0..3 {
        let (client, _) = handshake(Arc::clone(&config), Arc::clone(&server)).await;
        let kind = client.unwrap().get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn during_a_rotation_of_roots_old_and_new_certificates_are_both_good() {
    let (old, new) = (Ca::root("root"), Ca::root("root"));
    let both = format!("{}{}", old.pem, new.pem);
    let both = Arc::new(Roots::from_pem(both.as_bytes()).unwrap());
    let peers = || [old.sign(&leaf_params(&[A])), new.sign(&leaf_params(&[A]))];
    let between = old.sign(&leaf_params(&[B])).identity(both);
    for peer in peers() {
        let server = between.server_config(&[], &any()).unwrap();
        assert!(handshake(peer.careless_client(), server).await.1.is_ok());
    }
    let after = new.identity(B);
    for (peer, expected) in peers().into_iter().zip([false, true]) {
        let server = after.server_config(&[], &any()).unwrap();
        assert_eq!(handshake(peer.careless_client(), server).await.1.is_ok(), expected);
    }
}

#[test]
fn a_configuration_is_made_once_for_a_generation_and_a_peer() {
    let us = Ca::root("root").identity(A);
    let first = us.client_config(&id(B), ALPN).unwrap();
    assert!(Arc::ptr_eq(&first, &us.client_config(&id(B), ALPN).unwrap()));
    assert!(!Arc::ptr_eq(&first, &us.client_config(&id(A), ALPN).unwrap()));
    assert!(!Arc::ptr_eq(&first, &us.client_config(&id(B), &[b"h2"]).unwrap()));
    let server = us.server_config(ALPN, &any()).unwrap();
    assert!(Arc::ptr_eq(&server, &us.server_config(ALPN, &any()).unwrap()));
    let domain = TrustDomain::parse("public").unwrap().into();
    assert!(!Arc::ptr_eq(&server, &us.server_config(ALPN, &domain).unwrap()));
}

#[test]
fn many_peers_do_not_make_the_configurations_grow_without_end() {
    let us = Ca::root("root").identity(A);
    let peer = |n: usize| id(&format!("spiffe://public/ns/default/{n}"));
    let first = us.client_config(&peer(0), &[]).unwrap();
    for n in 0..=outrigger_certs::tls::MAX_CACHED_PEERS {
        us.client_config(&peer(n), &[]).unwrap();
    }
    assert_eq!(Arc::strong_count(&first), 1, "the oldest were let go");
}

#[test]
fn an_expired_identity_says_so_before_a_peer_does() {
    let ca = Ca::root("root");
    let chain = ca.sign(&leaf_params(&[A]));
    let svid = Arc::new(Svid::new(chain.certificates, chain.key).unwrap());
    let late = Arc::new(FixedClock(NOW + 3_601));
    let us = Identity::new(svid, ca.roots(), 1, late);
    let error = us.client_config(&id(B), &[]).unwrap_err();
    assert!(matches!(error, TlsError::OwnExpired { .. }), "{error}");
    assert!(us.server_config(&[], &any()).is_err());
}

#[test]
fn a_key_that_belongs_to_another_certificate_makes_no_svid() {
    let ca = Ca::root("root");
    let (a, b) = (ca.sign(&leaf_params(&[A])), ca.sign(&leaf_params(&[A])));
    let error = Svid::new(a.certificates, b.key).unwrap_err();
    assert!(error.to_string().contains("does not go with"), "{error}");
    assert!(Svid::new(Vec::new(), a.key).is_err());
}
