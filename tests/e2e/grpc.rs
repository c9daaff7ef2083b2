//! Transparent gRPC proxying: a client that knows nothing of sidecars but one piece of metadata.

use std::time::{Duration, Instant};

use outrigger_test_support::GrpcClient;

use crate::pair::GrpcPair;

const TO_CALLEE: &[(&str, &str)] = &[("dapr-app-id", "callee")];

async fn start() -> (GrpcPair, GrpcClient) {
    let pair = GrpcPair::start();
    let client = GrpcClient::connect(pair.caller.grpc()).await;
    (pair, client)
}

#[tokio::test]
async fn a_unary_call_arrives_with_its_metadata_and_comes_back_with_headers_and_trailers() {
    let (pair, client) = start().await;
    let metadata = [
        ("dapr-app-id", "callee"),
        ("x-text", "text"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-bytes-bin", "AAEC/w"),
        ("user-agent", "grpc-test/1"),
    ];
    let reply = client.unary("Unary", &metadata, b"hello").await;
    assert_eq!((reply.http, reply.status(), reply.texts()), (200, Some(0), vec!["hello".to_owned()]), "{reply:?}");
    assert!(reply.headers.contains(&("x-header".to_owned(), "kept".to_owned())), "{reply:?}");
    assert!(reply.trailers.contains(&("x-trailer".to_owned(), "kept".to_owned())), "{reply:?}");
    let seen = pair.app.only("Unary");
    assert_eq!((seen.version.as_str(), seen.text().as_str()), ("HTTP/2", "hello"));
    assert_eq!(seen.all("x-many"), ["1", "2"]);
    assert_eq!((seen.one("x-text"), seen.one("x-bytes-bin")), (Some("text"), Some("AAEC/w")));
    assert_eq!((seen.one("te"), seen.one("content-type")), (Some("trailers"), Some("application/grpc")));
    assert_eq!(seen.all("dapr-app-id"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_client_streams_and_gets_one_answer() {
    let (pair, client) = start().await;
    let mut call = client.call("ClientStream", TO_CALLEE).await;
    for part in ["one", "two", "three"] {
        call.send(part.as_bytes());
    }
    call.finish();
    let reply = call.reply().await;
    assert_eq!((reply.status(), reply.texts()), (Some(0), vec!["one,two,three".to_owned()]), "{reply:?}");
    assert_eq!(pair.app.only("ClientStream").text(), "onetwothree");
}

#[tokio::test]
async fn a_server_streams_its_answers() {
    let (_pair, client) = start().await;
    let reply = client.unary("ServerStream", TO_CALLEE, b"one,two,three").await;
    assert_eq!((reply.status(), reply.texts().join("+")), (Some(0), "one+two+three".to_owned()), "{reply:?}");
}

#[tokio::test]
async fn both_stream_and_each_message_comes_back_before_the_next_is_sent() {
    let (_pair, client) = start().await;
    let mut call = client.call("Bidi", TO_CALLEE).await;
    for number in 0..10 {
        let message = format!("message {number}");
        call.send(message.as_bytes());
        assert_eq!(call.next().await.as_deref(), Some(message.as_bytes()));
    }
    call.finish();
    let reply = call.reply().await;
    assert_eq!((reply.status(), reply.messages.len()), (Some(0), 0), "{reply:?}");
}

#[tokio::test]
async fn a_trailers_only_answer_stays_one() {
    let (_pair, client) = start().await;
    let reply = client.unary("TrailersOnly", TO_CALLEE, b"x").await;
    assert_eq!((reply.http, reply.status(), reply.message().as_str()), (200, Some(5), "no such thing"), "{reply:?}");
    assert!(reply.messages.is_empty());
    assert!(reply.headers.contains(&("x-trailer".to_owned(), "kept".to_owned())), "{reply:?}");
}

#[tokio::test]
async fn an_error_comes_back_with_its_message_and_its_details() {
    let (_pair, client) = start().await;
    let reply = client.unary("Fail", TO_CALLEE, b"x").await;
    assert_eq!((reply.status(), reply.message().as_str()), (Some(9), "out of order"), "{reply:?}");
    assert_eq!(reply.texts(), ["before the failure"]);
    let details = ("grpc-status-details-bin".to_owned(), "CAkSDG91dCBvZiBvcmRlcg".to_owned());
    assert!(reply.trailers.contains(&details), "{reply:?}");
}

#[tokio::test]
async fn an_error_of_the_application_is_not_retried() {
    let (pair, client) = start().await;
    client.unary("Fail", TO_CALLEE, b"x").await;
    client.unary("NoSuchMethod", TO_CALLEE, b"x").await;
    pair.app.only("Fail");
    pair.app.only("NoSuchMethod");
}

#[tokio::test]
async fn a_deadline_goes_with_the_call_and_ends_it() {
    let (pair, client) = start().await;
    let start = Instant::now();
    let metadata = [("dapr-app-id", "callee"), ("grpc-timeout", "500m")];
    let reply = client.unary("Hang", &metadata, b"x").await;
    assert_eq!(reply.status(), Some(4), "{reply:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let seen = pair.app.only("Hang");
    assert!(seen.one("grpc-timeout").is_some(), "the application is told the deadline: {seen:?}");
    pair.app.wait_for_cancel("Hang");
}

#[tokio::test]
async fn a_garbled_deadline_is_refused_or_ignored() {
    let (_pair, client) = start().await;
    for garbled in ["99999999H", "-1S", "1", "S", "1.5S", "999999999999999999S", "1x"] {
        let reply = client.unary("Unary", &[("dapr-app-id", "callee"), ("grpc-timeout", garbled)], b"x").await;
        assert!(matches!(reply.status(), Some(0 | 3 | 13)), "{garbled}: {reply:?}");
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_application() {
    let (pair, client) = start().await;
    let mut call = client.call("Hang", TO_CALLEE).await;
    call.send(b"x");
    pair.app.only("Hang");
    call.cancel();
    pair.app.wait_for_cancel("Hang");
    assert_eq!(client.unary("Unary", TO_CALLEE, b"after").await.status(), Some(0));
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_calls() {
    let (pair, client) = start().await;
    let mut call = client.call("Hang", TO_CALLEE).await;
    call.send(b"x");
    pair.app.only("Hang");
    drop(call);
    drop(client);
    pair.app.wait_for_cancel("Hang");
}

#[tokio::test]
async fn an_app_that_nobody_knows_is_an_error_that_names_it() {
    let (_pair, client) = start().await;
    let reply = client.unary("Unary", &[("dapr-app-id", "nobody")], b"x").await;
    assert!(!matches!(reply.status(), Some(0) | None), "{reply:?}");
    assert!(reply.message().contains("nobody"), "{reply:?}");
}

#[tokio::test]
async fn a_call_that_names_no_app_is_an_error_that_says_so() {
    let (_pair, client) = start().await;
    let reply = client.unary("Unary", &[], b"x").await;
    assert!(!matches!(reply.status(), Some(0) | None), "{reply:?}");
    assert!(reply.message().contains("dapr-app-id"), "{reply:?}");
}

#[tokio::test]
async fn the_callees_app_id_of_old_is_read_first() {
    let (pair, client) = start().await;
    let metadata = [("dapr-callee-app-id", "callee"), ("dapr-app-id", "nobody")];
    let reply = client.unary("Unary", &metadata, b"x").await;
    assert_eq!(reply.status(), Some(0), "{reply:?}");
    pair.app.only("Unary");
}

#[tokio::test]
async fn a_large_message_crosses() {
    let (pair, client) = start().await;
    let message: Vec<u8> = (0..3u32 << 20).map(|number| (number % 251) as u8).collect();
    let reply = client.unary("Bidi", TO_CALLEE, &message).await;
    assert_eq!(reply.status(), Some(0), "{:?}", reply.trailers);
    assert!(reply.messages.first().is_some_and(|back| *back == message), "the message changed on its way");
    assert_eq!(pair.app.received().len(), 1);
}

#[tokio::test]
async fn a_hundred_calls_at_once_share_one_connection_and_do_not_mix() {
    let (_pair, client) = start().await;
    let mut calls = Vec::new();
    for number in 0..100 {
        let mut call = client.call("Bidi", TO_CALLEE).await;
        call.send(format!("call {number}").as_bytes());
        calls.push(call);
    }
    for (number, call) in calls.iter_mut().enumerate() {
        assert_eq!(call.next().await.as_deref(), Some(format!("call {number}").as_bytes()));
    }
}

#[tokio::test]
async fn grpc_goes_by_the_http_port_as_well() {
    let (pair, _) = start().await;
    let client = GrpcClient::connect(pair.caller.http()).await;
    let reply = client.unary("Unary", TO_CALLEE, b"hello").await;
    assert_eq!((reply.status(), reply.texts()), (Some(0), vec!["hello".to_owned()]), "{reply:?}");
}

#[test]
fn an_http_invocation_of_a_grpc_app_is_a_call_of_its_on_invoke() {
    let pair = GrpcPair::start();
    let headers = [("content-type", "application/x-mine"), ("x-a", "1")];
    let reply = pair.caller.request("PUT", "/v1.0/invoke/callee/method/new/order?a=1", &headers, b"a body");
    assert_eq!((reply.status(), reply.text()), (200, "from grpc".to_owned()));
    assert_eq!((reply.head.one("content-type"), reply.head.one("x-header")), (Some("text/plain"), Some("kept")));
}
