//! SIGTERM and SIGINT: calls in flight finish, new ones go elsewhere, exit 0.

use std::time::{Duration, Instant};

use outrigger_test_support::{Answer, Gate, eventually, http1};
use rustix::process::Signal;

use crate::pair::{GrpcPair, Pair};

/// Ends one sidecar while a call is in flight, and lets the call finish only then.
fn ends_in_order(signal: Signal, end_the_caller: bool) {
    let gate = Gate::new();
    let hold = gate.clone();
    let mut pair = Pair::answering(move |_| Answer::status(200).body("begun and ").hold(&hold).body("finished"));
    let http = pair.caller.http();
    let call = std::thread::spawn(move || http1::request(http, "GET", "/v1.0/invoke/callee/method/slow", &[], b""));
    eventually("the call at the application", || (!pair.app.received_with("/slow").is_empty()).then_some(()));
    let ending = if end_the_caller { &mut pair.caller } else { &mut pair.callee };
    ending.signal(signal);
    // Long enough that a sidecar that does not wait is gone.
    std::thread::sleep(Duration::from_millis(500));
    gate.open();
    let reply = call.join().unwrap();
    assert_eq!((reply.status(), reply.text().as_str()), (200, "begun and finished"));
    let status = ending.wait(Duration::from_secs(10));
    assert!(status.success(), "it ended with {status}: {}", ending.log().text());
}

#[test]
fn a_call_in_flight_finishes_when_the_callee_gets_sigterm() {
    ends_in_order(Signal::TERM, false);
}

#[test]
fn a_call_in_flight_finishes_when_the_caller_gets_sigterm() {
    ends_in_order(Signal::TERM, true);
}

#[test]
fn a_call_in_flight_finishes_when_the_callee_gets_sigint() {
    ends_in_order(Signal::INT, false);
}

#[tokio::test]
async fn a_stream_in_flight_finishes_when_the_callee_gets_sigterm() {
    let mut pair = GrpcPair::start();
    let client = outrigger_test_support::GrpcClient::connect(pair.caller.grpc()).await;
    let mut call = client.call("Bidi", &[("dapr-app-id", "callee")]).await;
    call.send(b"before");
    assert_eq!(call.next().await.as_deref(), Some(b"before".as_slice()));
    pair.callee.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.send(b"after");
    assert_eq!(call.next().await.as_deref(), Some(b"after".as_slice()));
    call.finish();
    let reply = call.reply().await;
    assert_eq!(reply.status(), Some(0), "{reply:?}");
    assert!(pair.callee.wait(Duration::from_secs(10)).success());
}

#[test]
fn with_nothing_in_flight_it_ends_at_once() {
    let mut pair = Pair::start();
    assert_eq!(pair.get("/x").status(), 200);
    let start = Instant::now();
    assert!(pair.callee.stop().success());
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
}

#[test]
fn a_call_that_never_ends_holds_it_up_for_its_grace_only() {
    let gate = Gate::new();
    let hold = gate.clone();
    let home = outrigger_test_support::Home::new();
    let app = outrigger_test_support::App::answering(move |_| Answer::text("never").held(&hold));
    let mut sidecar = outrigger_test_support::Sidecar::of(&home, "stuck")
        .app(app.port(), "http")
        .flag("--dapr-graceful-shutdown-seconds=1")
        .start();
    let http = sidecar.http();
    std::thread::spawn(move || http1::try_request(http, "GET", "/v1.0/invoke/stuck/method/forever"));
    eventually("the call at the application", || (!app.received_with("/forever").is_empty()).then_some(()));
    let start = Instant::now();
    sidecar.terminate();
    sidecar.wait(Duration::from_secs(10));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    gate.open();
}

#[test]
fn the_shutdown_call_of_the_api_ends_it_in_order() {
    let mut pair = Pair::start();
    let reply = pair.callee.request("POST", "/v1.0/shutdown", &[], b"");
    assert_eq!(reply.status(), 204, "{}", reply.text());
    let status = pair.callee.wait(Duration::from_secs(15));
    assert!(status.success(), "{status}");
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let gate = Gate::new();
    let hold = gate.clone();
    let mut pair = Pair::answering(move |_| Answer::text("never").held(&hold));
    let http = pair.caller.http();
    std::thread::spawn(move || http1::try_request(http, "GET", "/v1.0/invoke/callee/method/forever"));
    eventually("the call at the application", || (!pair.app.received_with("/forever").is_empty()).then_some(()));
    pair.callee.terminate();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    pair.callee.terminate();
    pair.callee.wait(Duration::from_secs(10));
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
    gate.open();
}
