//! `spec.accessControl`: refusals name the policy and what would allow the call.

use outrigger_test_support::{Answer, App, GrpcClient, Home, Sidecar, http1};

use crate::pair::{GrpcPair, Pair, caller_may, only};

#[test]
fn a_refusal_over_http_names_the_policy_and_what_would_allow_the_call() {
    let pair = Pair::with_policy(&caller_may("- name: /orders\n  httpVerb: ['GET']\n  action: allow"));
    let refused = pair.get("/payments");
    assert_eq!(refused.status(), 403);
    let text = refused.text();
    for needle in ["callee-access", "caller", "/payments", "GET"] {
        assert!(text.contains(needle), "{needle} is not in {text}");
    }
    assert_eq!(pair.get("/orders").status(), 200);
    assert_eq!(
        pair.app.only("/orders").one("outrigger-policy").map(|policy| policy.contains("callee-access")),
        Some(true)
    );
    let log = pair.callee.log();
    let line = log.wait_for("denied");
    assert!(line.contains("caller"), "{line}");
}

#[tokio::test]
async fn a_refusal_over_grpc_names_the_policy_and_what_would_allow_the_call() {
    let pair = GrpcPair::with_policy(&caller_may("- name: /outrigger.test.Echo/Unary\n  action: allow"));
    let client = GrpcClient::connect(pair.caller.grpc()).await;
    let refused = client.unary("Bidi", &[("dapr-app-id", "callee")], b"x").await;
    assert_eq!(refused.status(), Some(7), "{refused:?}");
    let text = refused.message();
    for needle in ["callee-access", "caller", "Echo/Bidi"] {
        assert!(text.contains(needle), "{needle} is not in {text}");
    }
    assert_eq!(client.unary("Unary", &[("dapr-app-id", "callee")], b"x").await.status(), Some(0));
}

#[test]
fn a_verb_that_the_policy_does_not_name_is_refused() {
    let pair = Pair::with_policy(&caller_may("- name: /orders\n  httpVerb: ['GET', 'PUT']\n  action: allow"));
    for (verb, status) in [("GET", 200), ("PUT", 200), ("POST", 403), ("DELETE", 403), ("HEAD", 403)] {
        let reply = pair.caller.request(verb, "/v1.0/invoke/callee/method/orders", &[], b"");
        assert_eq!(reply.status(), status, "{verb}");
    }
}

#[test]
fn a_policy_for_another_caller_another_namespace_or_another_trust_domain_is_none_for_this_one() {
    for policy in [
        "- appId: other\n  namespace: default\n  trustDomain: public\n  defaultAction: allow",
        "- appId: caller\n  namespace: shop\n  trustDomain: public\n  defaultAction: allow",
        "- appId: caller\n  namespace: default\n  trustDomain: elsewhere\n  defaultAction: allow",
    ] {
        let pair = Pair::with_policy(&only(policy));
        assert_eq!(pair.get("/x").status(), 403, "{policy}");
        assert!(pair.app.received().is_empty());
    }
}

#[test]
fn a_call_through_a_chain_of_apps_is_each_hops_own() {
    let home = Home::new();
    let last = App::start();
    let ledger = Sidecar::of(&home, "ledger")
        .app(last.port(), "http")
        .config(&only("- appId: orders\n  namespace: default\n  trustDomain: public\n  defaultAction: allow"))
        .start();
    let next = std::sync::Arc::new(std::sync::Mutex::new(None));
    let through = std::sync::Arc::clone(&next);
    // An application in the middle that copies what it got outward, as careless ones do.
    let middle = App::answering(move |received| {
        let sidecar = through.lock().unwrap().expect("the sidecar is up before the first call");
        let copied: Vec<_> = received
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "host" | "content-length"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let reply = http1::request(sidecar, "GET", "/v1.0/invoke/ledger/method/book", &copied, b"");
        Answer::status(reply.status()).body(reply.body)
    });
    let orders = Sidecar::of(&home, "orders").app(middle.port(), "http").start();
    *next.lock().unwrap() = Some(orders.http());
    let shop = Sidecar::of(&home, "shop").start();

    assert_eq!(shop.get("/v1.0/invoke/orders/method/order").status(), 200);
    let booked = last.only("/book");
    assert_eq!(booked.all("dapr-caller-app-id"), ["orders"]);
    assert_eq!(booked.all("outrigger-caller-id"), ["spiffe://public/ns/default/orders"]);
    assert_eq!(booked.all("dapr-callee-app-id"), ["ledger"]);
    // The shop itself may not: what the middle is allowed is not its caller's to borrow.
    assert_eq!(shop.get("/v1.0/invoke/ledger/method/book2").status(), 403);
    drop(ledger);
}
