//! Calls over the Dapr wire: between two of ours in clear, and to and from a stock sidecar.

use http::Request;
use outrigger_mesh::Peers;
use outrigger_wire::Body;

use crate::bodies::{Writer, get, next, post, read};
use crate::ca::Ca;
use crate::pair::{Pair, app, only};
use crate::stock::{self, StockCallee, UNARY, entry, field, head, message, number, piece};

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn without_mutual_tls_calls_go_by_the_dapr_wire_in_clear_and_nobody_is_proven() {
    let pair = Pair::in_clear().await;
    let request = Request::builder()
        .method("PUT")
        .uri("/echo/a%20b?q=%2F")
        .header("content-type", "text/plain")
        .header("x-two", "1")
        .header("x-two", "2");
    let response = pair.call("b", request.body(Body::full("hello")).unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-path"], "/echo/a%20b?q=%2F");
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers().get_all("x-two").iter().count(), 2);
    assert!(!response.headers().contains_key("outrigger-failure"), "an app cannot speak for its sidecar");
    assert_eq!(read(response).await, "hello");
    let calls = pair.app.calls.lock().unwrap();
    assert_eq!(calls[0].wire.name(), "dapr");
    assert!(calls[0].caller.is_none() && calls[0].tls.is_none());
    assert_eq!(calls[0].caller_app, Some(app("a")), "as it says");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once_over_the_dapr_wire() {
    let pair = Pair::in_clear().await;
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
async fn ten_megabytes_go_there_and_back_over_the_dapr_wire() {
    let pair = Pair::in_clear().await;
    let sent: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let response = pair.call("b", post("/echo", Body::full(sent.clone()))).await.unwrap();
    assert!(read(response).await == sent);
}

#[tokio::test]
async fn an_error_of_the_app_is_its_answer_and_one_of_the_sidecar_is_a_failure() {
    let pair = Pair::in_clear().await;
    let response = pair.call("b", get("/too-big")).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(read(response).await, "too big");
    pair.deny_all();
    let failure = pair.call("b", get("/x")).await.unwrap_err();
    assert_eq!(failure.name(), "denied");
    assert!(failure.to_string().contains("lockdown"), "{failure}");
}

#[tokio::test]
async fn a_path_that_the_dapr_wire_would_change_is_refused() {
    let pair = Pair::in_clear().await;
    assert_eq!(pair.call("b", get("/a%2Fb")).await.unwrap_err().name(), "unsupported");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_a_call_of_the_dapr_wire() {
    let pair = Pair::in_clear().await;
    tokio::select! {
        answer = pair.call("b", get("/hang")) => panic!("{answer:?}"),
        () = pair.app.hanging.notified() => {}
    }
    crate::wait::within("the app to be told", pair.app.given_up.notified()).await;
}

#[tokio::test]
async fn a_stock_sidecar_calls_us_with_mutual_tls_and_is_who_its_certificate_says() {
    let ca = Ca::new();
    let pair = Pair::of(&ca, Peers::MutualTls).await;
    let web = ca.identity(&app("web"));
    let metadata = [entry(2, "X-Two", &["1", "2"]), entry(2, "dapr-caller-app-id", &["admin"])].concat();
    let leading = field(1, head("echo", &metadata, b""));
    let first = message([leading, field(2, [field(1, "one "), number(2, 0)].concat())].concat());
    let answer = stock::stream(Some(&web), pair.address, &[first, piece("two", 1)]).await;
    assert_eq!(answer.status(), "0", "{answer:?}");
    assert!(contains(&answer.bytes, &entry(2, "X-Path", &["/echo?q=1"])), "{answer:?}");
    assert!(contains(&answer.bytes, &field(1, number(1, 200))[2..]), "{answer:?}");
    assert!(contains(&answer.bytes, &field(1, "one ")) && contains(&answer.bytes, &field(1, "two")), "{answer:?}");
    let calls = pair.app.calls.lock().unwrap();
    assert_eq!(calls[0].caller.as_ref().unwrap().as_str(), "spiffe://public/ns/default/web");
    assert_eq!((calls[0].caller_app.as_ref(), calls[0].wire.name()), (Some(&app("web")), "dapr"));
}

#[tokio::test]
async fn an_old_stock_sidecar_calls_us_with_one_message() {
    let pair = Pair::in_clear().await;
    let whole = message(head("/echo", &entry(2, "X-A", &["1"]), b"hello"));
    let answer = stock::call(None, pair.address, UNARY, &[], &[whole]).await;
    assert_eq!(answer.status(), "0", "{answer:?}");
    assert!(contains(&answer.bytes, b"hello") && contains(&answer.bytes, &entry(2, "X-A", &["1"])), "{answer:?}");
}

#[tokio::test]
async fn a_stock_sidecar_is_refused_in_words_that_it_knows() {
    let ca = Ca::new();
    let pair = Pair::of(&ca, Peers::MutualTls).await;
    let web = ca.identity(&app("web"));
    pair.deny_all();
    let call = message(field(1, head("echo", &entry(2, "X-A", &["1"]), b"")));
    let answer = stock::stream(Some(&web), pair.address, &[call]).await;
    assert_eq!(answer.status(), "7");
    let expected =
        "access control policy has denied access to id: spiffe://public/ns/default/web operation: /echo verb: POST";
    assert!(answer.said().starts_with(expected), "{}", answer.said());
    let grpc = stock::call(Some(&web), pair.address, "/pkg.Svc/Get", &[("dapr-app-id", "b")], &[]).await;
    assert_eq!(grpc.status(), "7");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_stock_sidecar_may_not_send_is_refused() {
    let pair = Pair::in_clear().await;
    let head = |data: &[u8]| message(field(1, head("echo", &entry(2, "X-A", &["1"]), data)));
    let actor = "/dapr.proto.internals.v1.ServiceInvocation/CallActor";
    let answer = stock::call(None, pair.address, actor, &[], &[]).await;
    assert_eq!(answer.status(), "12");
    assert!(answer.said().contains("CallActor"), "{answer:?}");
    let other = stock::call(None, pair.address, "/pkg.Svc/Get", &[("dapr-app-id", "c")], &[]).await;
    assert_eq!(other.status(), "3", "a call meant for another app is not passed on");
    assert_eq!(stock::call(None, pair.address, "/pkg.Svc/Get", &[], &[]).await.status(), "12");
    let out_of_order = stock::stream(None, pair.address, &[head(b""), piece("one", 0), piece("two", 2)]).await;
    assert_ne!(out_of_order.status(), "0", "{out_of_order:?}");
    for first in [piece("no head", 0), message(b"\xff\xff"), vec![0, 0xff, 0xff, 0xff, 0xff], vec![1, 0, 0, 0, 0]] {
        let answer = stock::stream(None, pair.address, &[first]).await;
        assert_ne!(answer.status(), "0", "{answer:?}");
    }
}

#[tokio::test]
async fn a_stock_sidecar_proxies_a_call_of_grpc_to_our_app() {
    let ca = Ca::new();
    let pair = Pair::of(&ca, Peers::MutualTls).await;
    let web = ca.identity(&app("web"));
    let headers = [("dapr-app-id", "b"), ("dapr-callee-app-id", "b"), ("dapr-caller-app-id", "admin"), ("x-kept", "1")];
    let answer = stock::call(Some(&web), pair.address, "/pkg.Svc/Get", &headers, &[message(b"hello")]).await;
    assert_eq!((answer.head["x-kept"].as_bytes(), &answer.bytes[..]), (&b"1"[..], &message(b"hello")[..]));
    assert_eq!(pair.app.calls.lock().unwrap()[0].caller_app, Some(app("web")));
}

fn answer_in_pieces() -> Vec<Vec<u8>> {
    let status = field(1, [number(1, 201), field(2, "Created")].concat());
    let head = field(1, [status, entry(2, "X-A", &["1"]), field(4, field(2, "text/plain"))].concat());
    vec![message([head, field(2, field(1, "one "))].concat()), piece("two", 1)]
}

#[tokio::test]
async fn we_call_a_stock_sidecar_that_proves_to_be_the_app_asked_for() {
    let ca = Ca::new();
    let pair = Pair::of(&ca, Peers::MutualTls).await;
    let callee = StockCallee::start(Some(ca.identity(&app("b"))), |_| (answer_in_pieces(), "0")).await;
    pair.endpoints.send_replace(only(callee.address));
    let response = pair.call("b", post("/orders/new?q=1", Body::full("hello"))).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (201, &"text/plain".parse().unwrap())
    );
    assert_eq!(response.headers()["x-a"], "1");
    assert_eq!(read(response).await, "one two");
    let (path, headers, bytes) = callee.seen.lock().unwrap().remove(0);
    assert_eq!(path, "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream");
    assert!(headers.contains_key("traceparent") && headers.contains_key("grpc-trace-bin"), "{headers:?}");
    for part in [
        field(1, "orders/new"),
        field(4, [number(1, 3), field(2, "q=1")].concat()),
        entry(2, "dapr-caller-app-id", &["a"]),
        entry(2, "dapr-caller-namespace", &["default"]),
        entry(2, "destination-app-id", &["b"]),
        piece("hello", 0),
    ] {
        assert!(contains(&bytes, &part), "{part:?} is not in {bytes:?}");
    }
    let failure = pair.call("c", get("/x")).await.unwrap_err();
    assert_eq!(failure.name(), "tls", "the identity follows from the app asked for: {failure}");
}

#[tokio::test]
async fn a_stock_sidecar_that_takes_no_streams_is_called_with_one_message() {
    let pair = Pair::in_clear().await;
    let callee = StockCallee::start(None, |path| {
        let status = field(1, number(1, 200));
        match path {
            UNARY => (vec![message([status, field(4, field(1, field(2, "whole")))].concat())], "0"),
            _ => (Vec::new(), "12"),
        }
    })
    .await;
    pair.endpoints.send_replace(only(callee.address));
    for _ in 0..2 {
        assert_eq!(read(pair.call("b", post("/x", Body::full("hello"))).await.unwrap()).await, "whole");
    }
    let paths: Vec<_> = callee.seen.lock().unwrap().iter().map(|(path, ..)| path.ends_with("CallLocal")).collect();
    assert_eq!(paths, [false, true, true], "it is asked once for streams");
}

#[tokio::test]
async fn an_answer_that_a_stock_sidecar_breaks_off_is_no_whole_answer() {
    let pair = Pair::in_clear().await;
    for (messages, status) in [
        (answer_in_pieces(), "13"),
        (vec![answer_in_pieces().remove(0), piece("two", 2)], "0"),
        (vec![answer_in_pieces().remove(0), answer_in_pieces().remove(0)], "0"),
    ] {
        let callee = StockCallee::start(None, move |_| (messages.clone(), status)).await;
        pair.endpoints.send_replace(only(callee.address));
        let mut response = pair.call("b", get("/x")).await.unwrap();
        let failed = loop {
            match http_body_util::BodyExt::frame(response.body_mut()).await {
                None => break false,
                Some(Err(_)) => break true,
                Some(Ok(_)) => {}
            }
        };
        assert!(failed);
    }
}

#[tokio::test]
async fn with_mutual_tls_nobody_is_called_or_answered_in_clear() {
    let pair = Pair::start().await;
    let callee = StockCallee::start(None, |_| (answer_in_pieces(), "0")).await;
    pair.endpoints.send_replace(only(callee.address));
    assert!(pair.call("b", get("/x")).await.is_err());
    assert!(callee.seen.lock().unwrap().is_empty());
    let socket = tokio::net::TcpStream::connect(pair.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let request = Request::builder().uri("http://b/x").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let (_, answer) = crate::wait::within("the connection to be cut", async { tokio::join!(connection, answer) }).await;
    assert!(answer.is_err());
    assert!(pair.app.calls.lock().unwrap().is_empty());
}
