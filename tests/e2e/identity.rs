//! The callee asserts who called, and by which wire; and these tests can fail.

use outrigger_test_support::{Received, Sidecar};

use crate::pair::{GrpcPair, Pair, caller_may};

const CALLER: &str = "spiffe://public/ns/default/caller";

/// What a callee that trusts nobody asks of a call: whose certificate it came with, and over which wire.
fn prove(seen: &Received) {
    assert_eq!(seen.one("outrigger-caller-id"), Some(CALLER));
    assert_eq!(seen.one("outrigger-wire"), Some("native"));
    assert_eq!(seen.one("dapr-caller-app-id"), Some("caller"));
    assert_eq!(seen.one("dapr-caller-namespace"), Some("default"));
    assert_eq!(seen.one("dapr-callee-app-id"), Some("callee"));
    let tls = seen.one("outrigger-tls").expect("the TLS facts");
    assert!(tls.starts_with("TLSv1.3") && tls.contains("X25519MLKEM768"), "{tls}");
    assert!(seen.one("outrigger-policy").is_some_and(|policy| !policy.is_empty()));
}

#[test]
fn the_callee_sees_the_callers_identity_and_the_wire_over_http() {
    let pair = Pair::start();
    let reply = pair.get("/proof");
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
    prove(&pair.app.only("/proof"));
}

#[tokio::test]
async fn the_callee_sees_the_callers_identity_and_the_wire_over_grpc() {
    let pair = GrpcPair::start();
    let client = outrigger_test_support::GrpcClient::connect(pair.caller.grpc()).await;
    let reply = client.unary("Unary", &[("dapr-app-id", "callee")], b"hello").await;
    assert_eq!((reply.status(), reply.texts()), (Some(0), vec!["hello".to_owned()]), "{reply:?}");
    prove(&pair.app.only("Unary"));
}

#[test]
fn with_the_callees_sidecar_stopped_no_call_arrives_over_http() {
    let mut pair = Pair::start();
    assert_eq!(pair.get("/before").status(), 200);
    pair.callee.stop();
    let reply = pair.get("/after");
    assert!(reply.status() >= 500, "{} {}", reply.status(), reply.text());
    assert!(reply.text().contains("ERR_DIRECT_INVOKE"), "{}", reply.text());
    assert!(pair.app.received_with("/after").is_empty(), "the application was reached past its sidecar");
}

#[tokio::test]
async fn with_the_callees_sidecar_stopped_no_call_arrives_over_grpc() {
    let mut pair = GrpcPair::start();
    let client = outrigger_test_support::GrpcClient::connect(pair.caller.grpc()).await;
    assert_eq!(client.unary("Unary", &[("dapr-app-id", "callee")], b"1").await.status(), Some(0));
    pair.callee.stop();
    let reply = client.unary("Bidi", &[("dapr-app-id", "callee")], b"2").await;
    assert!(!matches!(reply.status(), Some(0) | None), "{reply:?}");
    assert_eq!(pair.app.received().len(), 1, "the application was reached past its sidecar");
}

#[test]
fn with_the_policy_flipped_the_same_call_is_refused_over_http() {
    let allowing = Pair::with_policy(&caller_may("- name: /proof\n  httpVerb: ['GET']\n  action: allow"));
    assert_eq!(allowing.get("/proof").status(), 200);
    prove(&allowing.app.only("/proof"));

    let denying = Pair::with_policy(&caller_may("- name: /proof\n  httpVerb: ['GET']\n  action: deny"));
    assert_eq!(denying.get("/proof").status(), 403);
    assert!(denying.app.received().is_empty());
}

#[tokio::test]
async fn with_the_policy_flipped_the_same_call_is_refused_over_grpc() {
    let operation = |action| caller_may(&format!("- name: /outrigger.test.Echo/Unary\n  action: {action}"));
    let allowing = GrpcPair::with_policy(&operation("allow"));
    let client = outrigger_test_support::GrpcClient::connect(allowing.caller.grpc()).await;
    let reply = client.unary("Unary", &[("dapr-app-id", "callee")], b"hello").await;
    assert_eq!(reply.status(), Some(0), "{reply:?}");
    prove(&allowing.app.only("Unary"));

    let denying = GrpcPair::with_policy(&operation("deny"));
    let client = outrigger_test_support::GrpcClient::connect(denying.caller.grpc()).await;
    let reply = client.unary("Unary", &[("dapr-app-id", "callee")], b"hello").await;
    assert_eq!(reply.status(), Some(7), "{reply:?}");
    assert!(denying.app.received().is_empty());
}

#[test]
fn an_app_that_calls_itself_goes_by_no_wire_and_under_its_own_name() {
    let pair = Pair::start();
    let reply = pair.callee.get("/v1.0/invoke/callee/method/self");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let seen = pair.app.only("/self");
    assert_eq!(seen.one("outrigger-wire"), Some("local"));
    assert_eq!(seen.one("outrigger-caller-id"), Some("spiffe://public/ns/default/callee"));
    assert_eq!(seen.one("dapr-caller-app-id"), Some("callee"));
}

#[test]
fn an_app_of_another_namespace_is_called_by_its_whole_name() {
    let pair = Pair::start();
    let app = outrigger_test_support::App::start();
    let other = Sidecar::of(&pair.home, "callee").app(app.port(), "http").env("NAMESPACE", "shop").start();
    let reply = pair.caller.get("/v1.0/invoke/callee.shop/method/there");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(app.only("/there").one("dapr-caller-namespace"), Some("default"));
    assert!(pair.app.received_with("/there").is_empty());
    drop(other);
}
