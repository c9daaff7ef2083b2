//! Connections between sidecars: how they are made, and when they end.

use std::time::Duration;

use outrigger_wire::Limits;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bodies::get;
use crate::ca::Ca;
use crate::gate::Gate;
use crate::pair::{Endpoints, Pair, app, only};
use crate::wait::{eventually, within};

const ONE_INBOUND: &str = "outrigger_peer_connections{direction=\"inbound\",wire=\"native\"} 1";
const NONE_INBOUND: &str = "outrigger_peer_connections{direction=\"inbound\",wire=\"native\"} 0";

#[tokio::test]
async fn a_renewed_identity_is_used_without_a_failed_call() {
    let ca = Ca::new();
    let mut pair = Pair::with(ca.identity(&app("a")), ca.identity(&app("b"))).await;
    let gate = Gate::before(pair.address).await;
    gate.open();
    pair.endpoints.send_replace(only(gate.address));
    assert!(pair.call("b", get("/x")).await.is_ok());
    ca.renew(&app("b"), &mut pair.b);
    ca.renew(&app("a"), &mut pair.a);
    assert!(pair.call("b", get("/x")).await.is_ok());
    assert_eq!(gate.connections(), 2, "the call after the renewal goes by a connection made with it");
    eventually("the older connection to end", || pair.counts(ONE_INBOUND)).await;
}

#[tokio::test]
async fn a_connection_to_a_replica_that_is_gone_ends() {
    let pair = Pair::start().await;
    pair.call("b", get("/small")).await.unwrap();
    pair.endpoints.send_replace(Endpoints::default());
    assert!(pair.counts(ONE_INBOUND));
    tokio::time::pause();
    tokio::time::sleep(2 * Limits::millis(Limits::default().peer_idle_timeout_ms)).await;
    tokio::time::resume();
    eventually("the connection to end", || pair.counts(NONE_INBOUND)).await;
}

#[tokio::test]
async fn silent_strangers_do_not_keep_peers_out() {
    let (pair, limits) = (Pair::start().await, Limits::default());
    let mut strangers = Vec::new();
    for _ in 0..limits.handshakes {
        strangers.push(TcpStream::connect(pair.address).await.unwrap());
    }
    // Long before the first of them is shown out.
    let soon = Limits::millis(limits.handshake_timeout_ms) / 2;
    let answer = timeout(soon, pair.call("b", get("/small"))).await;
    assert!(answer.is_ok_and(|answer| answer.is_ok()), "{} silent connections keep every peer out", strangers.len());
}

#[tokio::test]
async fn callers_less_patient_than_a_handshake_still_get_a_connection_made() {
    const PATIENCE: Duration = Duration::from_millis(50);
    let pair = Pair::start().await;
    let gate = Gate::before(pair.address).await;
    pair.endpoints.send_replace(only(gate.address));
    for _ in 0..3 {
        let failure = pair.call_for(PATIENCE, "b", get("/small")).await.unwrap_err();
        assert_eq!(failure.name(), "timeout", "{failure}");
    }
    gate.open();
    within("a call that is answered", async { while pair.call_for(PATIENCE, "b", get("/small")).await.is_err() {} })
        .await;
    assert_eq!(gate.connections(), 1, "what the first began was there for the last");
}
