//! The parts do what the suites rely on, with nothing between them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::Duration;

use outrigger_test_support::{Answer, App, Ended, Gate, GrpcApp, GrpcClient, RawConnection, h2_frame, http1};

#[test]
fn an_app_records_a_request_to_the_letter() {
    let app = App::start();
    let headers = [("X-Case", "Kept"), ("x-many", "1"), ("x-many", "2")];
    let reply = http1::request(app.address(), "POST", "/a%2Fb?c", &headers, b"body");
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
    let seen = app.only("/a%2Fb");
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.text().as_str()), ("POST", "/a%2Fb?c", "body"));
    assert!(seen.headers.contains(&("X-Case".to_owned(), "Kept".to_owned())));
    assert_eq!(seen.all("x-many"), ["1", "2"]);
    assert_eq!(app.faults(), Vec::<String>::new());
}

#[test]
fn an_app_keeps_its_connection_for_the_next_request() {
    let app = App::start();
    let mut connection = RawConnection::open(app.address());
    for number in 0..3 {
        connection.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(connection.response("GET", Duration::from_secs(5)).unwrap().status(), 200);
    }
    assert_eq!((app.received().len(), app.connections()), (3, 1));
}

#[test]
fn an_app_answers_in_steps() {
    let gate = Gate::new();
    let hold = gate.clone();
    let app = App::answering(move |_| Answer::status(201).body("a").hold(&hold).body("b").trailer("x-t", "1"));
    let mut connection = RawConnection::open(app.address());
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (bytes, ended) = connection.read_settled(Duration::from_secs(5), Duration::from_millis(50));
    assert!(String::from_utf8_lossy(&bytes).ends_with("1\r\na\r\n"));
    assert_eq!(ended, Ended::Open);
    gate.open();
    let (bytes, _) = connection.read_settled(Duration::from_secs(5), Duration::from_millis(50));
    assert_eq!(String::from_utf8_lossy(&bytes), "1\r\nb\r\n0\r\nx-t: 1\r\n\r\n");
}

#[test]
fn an_app_that_echoes_sends_each_piece_back_as_it_comes() {
    let app = App::answering(|_| Answer::echo());
    let mut connection = RawConnection::open(app.address());
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in ["one", "two"] {
        connection.send(http1::chunk(piece.as_bytes()));
        let (bytes, _) =
            connection.read_until(Duration::from_secs(5), |bytes| http1::find(bytes, piece.as_bytes()).is_some());
        assert!(http1::find(&bytes, piece.as_bytes()).is_some());
    }
    connection.send("0\r\n\r\n");
    assert_eq!(app.only("/").text(), "onetwo");
}

#[test]
fn an_app_that_gets_nonsense_says_so() {
    let app = App::start();
    let mut connection = RawConnection::open(app.address());
    connection.send("GET / HTTP/1.1\r\nno header\r\n\r\n");
    assert_ne!(connection.read_to_end(Duration::from_secs(5)).1, Ended::Open);
    assert_eq!(app.faults().len(), 1);
    assert!(app.ever_read("no header"));
}

#[test]
fn an_app_takes_http_2_in_frames_made_by_hand() {
    let app = App::start();
    let mut connection = RawConnection::open(app.address());
    connection.send(h2_frame::hello());
    connection.send(h2_frame::get(1, "/by-hand", &[("x-a", "1")]));
    let (bytes, _) = connection.read_settled(Duration::from_secs(5), Duration::from_millis(100));
    let frames = h2_frame::parse(&bytes);
    assert!(frames.iter().any(|frame| frame.stream == 1 && frame.is_ok_head()), "{frames:?}");
    let seen = app.only("/by-hand");
    assert_eq!(
        (seen.version.as_str(), seen.one("x-a"), seen.one(":authority")),
        ("HTTP/2", Some("1"), Some("localhost"))
    );
}

#[tokio::test]
async fn a_grpc_client_and_app_agree() {
    let app = GrpcApp::start();
    let client = GrpcClient::connect(([127, 0, 0, 1], app.port()).into()).await;
    let reply = client.unary("Unary", &[("x-a", "1")], b"hello").await;
    assert_eq!((reply.status(), reply.texts()), (Some(0), vec!["hello".to_owned()]));
    assert_eq!(client.unary("ServerStream", &[], b"a,b").await.texts(), ["a", "b"]);
    assert_eq!(client.unary("TrailersOnly", &[], b"").await.status(), Some(5));
    assert_eq!(client.unary("Nothing", &[], b"").await.status(), Some(12));
    let mut call = client.call("Bidi", &[]).await;
    call.send(b"to and fro");
    assert_eq!(call.next().await.as_deref(), Some(b"to and fro".as_slice()));
    drop(call);
    app.wait_for_cancel("Bidi");
    let mut call = client.call("Hang", &[]).await;
    call.send(b"x");
    app.only("Hang");
    call.cancel();
    app.wait_for_cancel("Hang");
    assert_eq!(app.only("Unary").one("x-a"), Some("1"));
}
