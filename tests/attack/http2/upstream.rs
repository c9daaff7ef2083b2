//! An application that breaks HTTP/2.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use outrigger_test_support::h2_frame::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
    frame, parse,
};
use outrigger_test_support::{Home, Sidecar, http1};

/// Starts an application that reads one request's frames and then sends what `answer` makes of its stream, on every
/// connection. Returns its port.
fn application(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        // A case makes few connections; the thread ends with the test's process.
        for stream in listener.incoming().take(20) {
            let Ok(mut stream) = stream else { return };
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
            let mut sent = frame(SETTINGS, 0, 0, &[]);
            sent.extend(frame(SETTINGS, 1, 0, &[]));
            stream.write_all(&sent).ok();
            let mut bytes = vec![0; 24];
            if stream.read_exact(&mut bytes).is_err() {
                continue;
            }
            bytes.clear();
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..n]);
                let head = |frame: &&Frame| frame.kind == HEADERS;
                if let Some(found) = parse(&bytes).iter().find(head) {
                    stream.write_all(&answer(found.stream)).ok();
                    std::thread::sleep(Duration::from_millis(300));
                    break;
                }
            }
        }
    });
    port
}

/// A call of that application gets an error of the sidecar and nothing that was hidden in the answer, and the sidecar is
/// sound afterwards.
fn assert_an_error(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) {
    let port = application(answer);
    let home = Home::new();
    let sidecar = Sidecar::of(&home, "broken").app(port, "h2c").start();
    let target = "/v1.0/invoke/broken/method/attack";
    let reply = http1::request(sidecar.http(), "POST", target, &[], b"hello");
    assert!((500..=504).contains(&reply.status()), "{} {}", reply.status(), reply.text());
    assert!(!reply.text().contains("HIDDEN"));
    sidecar.assert_sound();
}

fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]))
}

#[test]
fn a_push_from_an_application_is_an_error() {
    assert_an_error(|stream| {
        let mut promise = 2u32.to_be_bytes().to_vec();
        promise.extend(block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]));
        [frame(PUSH_PROMISE, END_HEADERS, stream, &promise), ok(2), frame(DATA, END_STREAM, 2, b"HIDDEN")].concat()
    });
}

#[test]
fn a_goaway_that_took_no_stream_is_an_error_once_all_attempts_met_it() {
    assert_an_error(|_| frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_reset_in_place_of_a_head_is_an_error() {
    assert_an_error(|stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 2]));
}

#[test]
fn data_before_the_head_is_an_error() {
    assert_an_error(|stream| frame(DATA, END_STREAM, stream, b"HIDDEN"));
}

#[test]
fn a_head_without_a_status_is_an_error() {
    assert_an_error(|stream| {
        [frame(HEADERS, END_HEADERS, stream, &block(&[("x-a", "1")])), frame(DATA, END_STREAM, stream, b"HIDDEN")]
            .concat()
    });
}

#[test]
fn a_head_with_a_line_break_in_a_value_is_an_error() {
    assert_an_error(|stream| {
        let fields = [(":status", "200"), ("x-a", "1\r\n\r\nHIDDEN")];
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    });
}

#[test]
fn a_window_update_that_overflows_is_an_error() {
    assert_an_error(|_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(3));
}

#[test]
fn an_application_that_speaks_http_1_1_where_http_2_was_asked_for_is_an_error() {
    assert_an_error(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHIDDEN".to_vec());
}
