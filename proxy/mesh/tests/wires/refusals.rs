//! Calls that are not answered by the app, and what the caller is told.

use outrigger_wire::{Body, Cause};

use crate::bodies::{Writer, get, next, post, request};
use crate::ca::Ca;
use crate::pair::{Pair, app};

#[tokio::test]
async fn a_policy_that_denies_is_named_to_the_caller_and_one_that_allows_again_is_followed() {
    let pair = Pair::start().await;
    assert!(pair.call("b", get("/x")).await.is_ok());
    let open = pair.view.borrow().clone();
    pair.deny_all();
    let failure = pair.call("b", get("/x")).await.unwrap_err();
    let Cause::Denied { policy, remedy } = failure.cause() else { panic!("{failure}") };
    assert!(policy.contains("lockdown"), "{policy}");
    assert!(!remedy.is_empty());
    assert!(pair.counts("outrigger_call_failures_total{app_id=\"b\",direction=\"inbound\",failure=\"denied\"} 1"));
    pair.view.send_replace(open);
    assert!(pair.call("b", get("/x")).await.is_ok());
}

#[tokio::test]
async fn a_replica_that_is_not_whom_we_asked_for_gets_nothing() {
    let pair = Pair::start().await;
    let failure = pair.call("c", get("/x")).await.unwrap_err();
    assert_eq!(failure.name(), "tls", "{failure}");
    assert!(failure.to_string().contains("spiffe://public/ns/default/b"), "{failure}");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_peer_of_other_roots_is_refused_by_both() {
    let pair = Pair::with(Ca::new().identity(&app("a")), Ca::new().identity(&app("b"))).await;
    assert_eq!(pair.call("b", get("/x")).await.unwrap_err().name(), "tls");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_in_the_callees_sidecar_keeps_its_name() {
    let pair = Pair::start().await;
    let failure = pair.call("b", get("/down")).await.unwrap_err();
    assert_eq!(failure.name(), "app_unavailable");
    assert!(failure.to_string().contains("127.0.0.1:1"), "{failure}");
}

#[tokio::test]
async fn a_head_request_that_fails_in_the_callees_sidecar_says_why() {
    let pair = Pair::start().await;
    let failure = pair.call("b", request("HEAD", "/down", Body::empty())).await.unwrap_err();
    assert_eq!(failure.name(), "app_unavailable", "{failure}");
}

#[tokio::test]
async fn an_app_that_switches_protocols_unasked_has_broken_the_protocol() {
    let pair = Pair::start().await;
    let failure = pair.call("b", get("/switch")).await.unwrap_err();
    assert_eq!(failure.name(), "protocol", "{failure}");
}

#[tokio::test]
async fn connect_is_not_delivered() {
    let pair = Pair::start().await;
    let failure = pair.call("b", request("CONNECT", "/x", Body::empty())).await.unwrap_err();
    assert_eq!(failure.name(), "unsupported", "{failure}");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

/// The codec allows 1,024 resets for the peer's errors in a connection's life; a refused HEAD
/// must be none of them.
#[tokio::test]
async fn refused_heads_do_not_end_the_connection_of_others() {
    let pair = Pair::start().await;
    let (writer, body) = Writer::body();
    let mut open = pair.call("b", post("/echo", body)).await.unwrap();
    pair.deny_all();
    for refused in 0..1_100 {
        let failure = pair.call("b", request("HEAD", "/x", Body::empty())).await.unwrap_err();
        assert_eq!(failure.name(), "denied", "after {refused}: {failure}");
    }
    writer.write("still open").await;
    assert_eq!(next(&mut open).await.unwrap(), "still open");
}
