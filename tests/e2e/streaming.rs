//! Bodies stream both ways: nothing waits for an end that is not there yet.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use outrigger_test_support::{Answer, Gate, RawConnection, eventually, http1};

use crate::pair::Pair;

fn open(pair: &Pair, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(pair.caller.http()).expect("the API listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let head = format!(
        "POST /v1.0/invoke/callee/method{path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the API takes bytes");
    stream
}

/// Reads until `needle` has come.
fn read_for(stream: &mut TcpStream, seen: &mut Vec<u8>, needle: &str) {
    let mut buffer = [0; 4096];
    while http1::find(seen, needle.as_bytes()).is_none() {
        let n = stream.read(&mut buffer).unwrap_or_else(|err| panic!("{needle:?} did not come: {err}"));
        assert!(n > 0, "the connection closed before {needle:?}: {}", String::from_utf8_lossy(seen));
        seen.extend_from_slice(&buffer[..n]);
    }
}

fn echo_ping_pong(protocol: &'static str) {
    let pair = Pair::speaking(protocol, |_| Answer::echo());
    let mut stream = open(&pair, "/echo");
    let mut seen = Vec::new();
    // Each piece comes back before the next is sent: a buffer anywhere on the way would hang here.
    for number in 0..10 {
        let piece = format!("piece number {number}.");
        stream.write_all(&http1::chunk(piece.as_bytes())).expect("the API takes bytes");
        read_for(&mut stream, &mut seen, &piece);
    }
    stream.write_all(b"0\r\n\r\n").expect("the API takes bytes");
    read_for(&mut stream, &mut seen, "\r\n0\r\n\r\n");
    assert_eq!(pair.app.only("/echo").body.len(), "piece number 0.".len() * 10);
}

#[test]
fn pieces_go_to_and_fro_within_one_call() {
    echo_ping_pong("http");
}

#[test]
fn pieces_go_to_and_fro_within_one_call_of_an_application_that_speaks_h2c() {
    echo_ping_pong("h2c");
}

#[test]
fn the_first_byte_of_a_request_arrives_before_its_last_is_sent() {
    let pair = Pair::start();
    let mut stream = open(&pair, "/up");
    stream.write_all(&http1::chunk(b"first")).expect("the API takes bytes");
    eventually("the first piece at the application", || {
        pair.app.received_with("/up").first().is_some_and(|received| received.body == b"first").then_some(())
    });
    stream.write_all(&http1::chunk(b" last")).expect("the API takes bytes");
    stream.write_all(b"0\r\n\r\n").expect("the API takes bytes");
    assert_eq!(pair.app.only("/up").text(), "first last");
}

#[test]
fn the_first_byte_of_an_answer_arrives_before_its_last_is_sent() {
    let gate = Gate::new();
    let hold = gate.clone();
    let pair = Pair::answering(move |_| Answer::status(200).body("first").hold(&hold).body("last"));
    let mut connection = RawConnection::open(pair.caller.http());
    connection.send("GET /v1.0/invoke/callee/method/down HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let first = |bytes: &[u8]| http1::find(bytes, b"first").is_some();
    let (bytes, _) = connection.read_until(Duration::from_secs(20), first);
    assert!(first(&bytes) && http1::find(&bytes, b"last").is_none(), "{}", String::from_utf8_lossy(&bytes));
    gate.open();
    let last = |bytes: &[u8]| http1::find(bytes, b"last").is_some();
    let (bytes, _) = connection.read_until(Duration::from_secs(20), last);
    assert!(last(&bytes));
}

#[test]
fn server_sent_events_come_as_they_are_made() {
    let gates = [Gate::new(), Gate::new()];
    let held = gates.clone();
    let pair = Pair::answering(move |_| {
        Answer::status(200)
            .header("content-type", "text/event-stream")
            .body("data: 1\n\n")
            .hold(&held[0])
            .body("data: 2\n\n")
            .hold(&held[1])
            .body("data: 3\n\n")
    });
    let mut connection = RawConnection::open(pair.caller.http());
    connection
        .send("GET /v1.0/invoke/callee/method/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    for number in 1..=3 {
        let event = format!("data: {number}\n\n");
        let came = |bytes: &[u8]| http1::find(bytes, event.as_bytes()).is_some();
        let (bytes, _) = connection.read_until(Duration::from_secs(20), came);
        assert!(came(&bytes), "event {number}");
        if let Some(gate) = gates.get(number - 1) {
            gate.open();
        }
    }
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_caller() {
    let pair = Pair::answering(|_| Answer::status(200).body("some of it").pause(Duration::from_millis(100)).abort());
    let mut connection = RawConnection::open(pair.caller.http());
    connection.send("GET /v1.0/invoke/callee/method/broken HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (bytes, _) = connection.read_settled(Duration::from_secs(20), Duration::from_secs(2));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.ends_with("0\r\n\r\n"), "an answer that broke off came to an orderly end: {text}");
}

#[test]
fn a_caller_that_leaves_ends_the_call_at_the_application() {
    let gate = Gate::new();
    let hold = gate.clone();
    let pair = Pair::answering(move |_| Answer::echo().hold(&hold));
    let mut stream = open(&pair, "/left");
    stream.write_all(&http1::chunk(b"some")).expect("the API takes bytes");
    eventually("the first piece at the application", || {
        pair.app.received_with("/left").first().is_some_and(|received| received.body == b"some").then_some(())
    });
    drop(stream);
    // The body never comes to an orderly end.
    std::thread::sleep(Duration::from_millis(300));
    assert!(pair.app.received_with("/left").iter().all(|received| !received.complete));
    gate.open();
    assert_eq!(pair.get("/next").status(), 200);
}

#[test]
fn trailers_cross_both_ways() {
    let pair = Pair::answering(|_| Answer::text("ok").trailer("x-checksum", "abc"));
    let mut stream = RawConnection::open(pair.caller.http());
    stream.send(
        "POST /v1.0/invoke/callee/method/trailers HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n",
    );
    let reply = stream.response("POST", Duration::from_secs(20)).expect("an answer");
    assert_eq!(reply.status(), 200);
    assert_eq!(pair.app.only("/trailers").text(), "hello");
}

#[test]
fn a_large_answer_comes_whole() {
    let pair = Pair::answering(|_| Answer::status(200).body(vec![b'x'; 32 << 20]));
    let reply = pair.get("/large");
    assert_eq!((reply.status(), reply.body.len()), (200, 32 << 20));
}

#[test]
fn a_large_body_goes_up_whole_where_the_limit_allows_it() {
    let home = outrigger_test_support::Home::new();
    let app = outrigger_test_support::App::start();
    let callee = outrigger_test_support::Sidecar::of(&home, "callee")
        .app(app.port(), "http")
        .flag("--max-body-size=64Mi")
        .start();
    let caller = outrigger_test_support::Sidecar::of(&home, "caller").flag("--max-body-size=64Mi").start();
    let body: Vec<u8> = (0..32u32 << 20).map(|number| (number % 251) as u8).collect();
    let reply = caller.request("POST", "/v1.0/invoke/callee/method/large", &[], &body);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(app.only("/large").body == body, "the body changed on its way");
    drop(callee);
}
