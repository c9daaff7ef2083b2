//! Many streams on one connection: none may suffer for another.

use std::sync::Arc;

use http::StatusCode;
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::task::JoinSet;

use crate::bodies::{Flood, data, get, pieces, post, read};
use crate::pair::Pair;

/// As many streams as would fill a connection's window, were it not made for all of them.
fn enough_to_fill_a_connection(limits: &Limits) -> u64 {
    limits.http2_connection_window.div_ceil(limits.http2_stream_window)
}

#[tokio::test]
async fn responses_that_nobody_reads_do_not_stop_others() {
    let (pair, limits) = (Pair::start().await, Limits::default());
    let streams = enough_to_fill_a_connection(&limits);
    let mut unread = Vec::new();
    for _ in 0..streams {
        unread.push(pair.call("b", get("/flood")).await.unwrap());
    }
    pair.app.flood.stalled(streams, limits.http2_stream_window).await;
    let response = pair.call("b", get("/small")).await.unwrap();
    assert_eq!(read(response).await, "small");
}

#[tokio::test]
async fn uploads_that_nobody_reads_do_not_stop_others() {
    let (pair, limits) = (Arc::new(Pair::start().await), Limits::default());
    let streams = enough_to_fill_a_connection(&limits);
    let (flood, mut unread) = (Flood::default(), JoinSet::new());
    for _ in 0..streams {
        let (pair, upload) = (Arc::clone(&pair), post("/hang", flood.body()));
        unread.spawn(async move { pair.call("b", upload).await.map(drop) });
    }
    flood.stalled(streams, limits.http2_stream_window).await;
    let response = pair.call("b", post("/echo", Body::full("hello"))).await.unwrap();
    assert_eq!(read(response).await, "hello");
    assert!(unread.try_join_next().is_none(), "the uploads still hang");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_an_upload_is_the_answer() {
    // The answer races with the reset that stops the upload: once proves little.
    for _ in 0..20 {
        let pair = Pair::start().await;
        let response = pair.call("b", post("/too-big", Body::full(vec![7; 10 << 20]))).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(response).await, "too big");
    }
}

#[tokio::test]
async fn a_callers_broken_upload_is_not_the_replicas_fault() {
    let pair = Pair::start().await;
    // One more than a breaker bears.
    for _ in 0..8 {
        let gone = Failure::new(Cause::Reset { reason: "client went away".into() });
        let body = pieces([data("x"), Err(gone)]);
        let failure = pair.call("b", post("/trailers-seen", body)).await.unwrap_err();
        assert_eq!(failure.name(), "cancelled", "{failure}");
    }
    assert!(pair.call("b", get("/small")).await.is_ok());
}
