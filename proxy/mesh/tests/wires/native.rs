//! A call over the native wire, from its head to its end.

use http::Request;
use outrigger_wire::Body;
use tokio::net::TcpStream;

use crate::bodies::{Writer, get, next, post, read};
use crate::pair::Pair;
use crate::wait::within;

#[tokio::test]
async fn the_callee_sees_who_calls_and_how() {
    let pair = Pair::start().await;
    let request = Request::builder()
        .method("POST")
        .uri("/echo/%2F?q=1")
        .header("x-kept", "1")
        .header("dapr-caller-app-id", "admin");
    let response = pair.call("b", request.body(Body::full("hello")).unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-kept"], "1");
    assert_eq!(response.headers()["x-path"], "/echo/%2F?q=1");
    assert!(!response.headers().contains_key("dapr-caller-app-id"), "a forged caller never reaches the app");
    assert!(!response.headers().contains_key("outrigger-failure"), "an app cannot speak for its sidecar");
    assert_eq!(read(response).await, "hello");
    let calls = pair.app.calls.lock().unwrap();
    assert_eq!(calls[0].caller.as_ref().unwrap().as_str(), "spiffe://public/ns/default/a");
    assert_eq!(calls[0].tls.as_deref(), Some("TLSv1.3 X25519MLKEM768"));
    assert_eq!(calls[0].wire.name(), "native");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let pair = Pair::start().await;
    let (writer, body) = Writer::body();
    let mut response = pair.call("b", post("/echo", body)).await.unwrap();
    for piece in ["one", "two", "three"] {
        writer.write(piece).await;
        assert_eq!(next(&mut response).await.unwrap(), piece, "a piece comes back before the next is sent");
    }
    drop(writer);
    assert!(next(&mut response).await.is_none());
}

#[tokio::test]
async fn ten_megabytes_go_there_and_back() {
    let pair = Pair::start().await;
    let sent: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let response = pair.call("b", post("/echo", Body::full(sent.clone()))).await.unwrap();
    assert!(read(response).await == sent);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_call_in_the_app() {
    let pair = Pair::start().await;
    tokio::select! {
        answer = pair.call("b", get("/hang")) => panic!("{answer:?}"),
        () = pair.app.hanging.notified() => {}
    }
    within("the app to be told", pair.app.given_up.notified()).await;
}

#[tokio::test]
async fn a_drain_lets_the_open_call_finish_and_takes_no_new_connection() {
    let pair = Pair::start().await;
    let (writer, body) = Writer::body();
    let mut open = pair.call("b", post("/echo", body)).await.unwrap();
    pair.drain.start();
    within("the port to close", async { while TcpStream::connect(pair.address).await.is_ok() {} }).await;
    writer.write("late").await;
    assert_eq!(next(&mut open).await.unwrap(), "late");
    drop(writer);
    assert!(next(&mut open).await.is_none());
    within("the serving to end", pair.serving).await.unwrap();
    assert!(pair.drain.finished(std::time::Duration::ZERO).await, "who served holds no watch any more");
}

#[tokio::test]
async fn our_own_app_is_called_without_a_wire() {
    let pair = Pair::start().await;
    let response = pair.call("a", get("/x")).await.unwrap();
    assert_eq!(response.headers()["x-path"], "/x");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}
