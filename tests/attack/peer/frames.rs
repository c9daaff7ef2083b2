//! What a peer with a good certificate must not get away with.

use std::io::Write;
use std::time::{Duration, Instant};

use outrigger_test_support::h2_frame::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, block, frame, hello,
};

use super::{Tls, authority, connect, is_served, read, request, speak};
use crate::case::Case;

const CALLER: &str = "spiffe://public/ns/default/caller";

fn peer(case: &Case) -> Tls {
    connect(case, Some(&authority(case).leaf(&[CALLER]))).expect("a handshake")
}

#[test]
fn headers_that_only_a_sidecar_may_set_are_replaced_by_what_the_certificate_says() {
    let case = Case::new();
    let forged = [
        ("outrigger-caller-id", "spiffe://public/ns/default/admin"),
        ("outrigger-wire", "local"),
        ("outrigger-tls", "none"),
        ("outrigger-policy", "forged"),
        ("outrigger-anything", "forged"),
        ("dapr-caller-app-id", "admin"),
        ("dapr-caller-namespace", "kube-system"),
        ("dapr-callee-app-id", "admin"),
        ("dapr-api-token", "forged"),
        ("dapr-app-id", "admin"),
    ];
    let frames = speak(&mut peer(&case), &request(&case, 1, "callee.default", &forged));
    assert!(frames.iter().any(|frame| frame.is_ok_head()), "{frames:?}");
    let reached = case.reached("attack");
    let seen = &reached[0];
    assert_eq!(seen.one("outrigger-caller-id"), Some(CALLER));
    assert_eq!(seen.one("outrigger-wire"), Some("native"));
    assert_eq!(seen.one("dapr-caller-app-id"), Some("caller"));
    assert_eq!(seen.one("dapr-caller-namespace"), Some("default"));
    assert_eq!(seen.one("dapr-callee-app-id"), Some("callee"));
    for (_, value) in &seen.headers {
        assert!(!value.contains("admin") && !value.contains("forged") && !value.contains("kube"), "{seen:?}");
    }
    case.others_are_untouched();
}

/// A request of a good peer for something that is not this sidecar's app is refused.
macro_rules! refused {
    ($($name:ident => $bytes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let bytes: Vec<u8> = ($bytes)(&case);
                let frames = speak(&mut peer(&case), &bytes);
                assert!(!frames.iter().any(|frame| frame.is_ok_head()), "{frames:?}");
                let reached = case.reached("attack");
                assert!(reached.is_empty(), "it reached the application: {reached:?}");
                case.others_are_untouched();
            }
        )+
    };
}

fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields))
}

refused! {
    another_app_is_not_to_be_had_here => |case| request(case, 1, "other.default", &[]);
    the_app_of_another_namespace_is_not_to_be_had_here => |case| request(case, 1, "callee.evil", &[]);
    an_app_with_a_port_is_not_to_be_had_here => |case| request(case, 1, "callee.default:3500", &[]);
    a_port_of_loopback_is_not_to_be_had_here => |case| request(case, 1, "127.0.0.1:3500", &[]);
    an_empty_authority_is_refused => |case| request(case, 1, "", &[]);
    connect_opens_no_tunnel => |_| fields(&[(":method", "CONNECT"), (":authority", "127.0.0.1:3500")]);
    connect_to_the_application_opens_no_tunnel => |case: &Case| {
        let address = format!("127.0.0.1:{}", case.field.app.port());
        fields(&[(":method", "CONNECT"), (":authority", &address)])
    };
    a_path_with_a_line_break_is_refused => |case: &Case| fields(&[(":method", "GET"), (":scheme", "https"),
        (":authority", "callee.default"), (":path", &format!("/attack-{}\r\nX: 1", case.mark()))]);
    a_path_with_an_escaped_nul_is_refused => |case: &Case| fields(&[(":method", "GET"), (":scheme", "https"),
        (":authority", "callee.default"), (":path", &format!("/attack-{}%00", case.mark()))]);
    a_line_break_in_a_value_is_refused => |case| request(case, 1, "callee.default", &[("x-a", "1\r\n\r\nGET /smuggled")]);
    transfer_encoding_is_refused => |case| request(case, 1, "callee.default", &[("transfer-encoding", "chunked")]);
    a_push_from_a_peer_is_refused => |_| frame(5, END_HEADERS, 1, &[0, 0, 0, 2]);
    headers_on_stream_zero_are_refused => |case| request(case, 0, "callee.default", &[]);
    headers_past_the_limit_are_refused => |case| {
        let long = "a".repeat(10_000);
        request(case, 1, "callee.default", &vec![("x-a", long.as_str()); 30])
    };
}

#[test]
fn dot_segments_behind_an_escaped_slash_do_not_reach_the_application() {
    let case = Case::new();
    let path = format!("/attack-{}%2f..%2fadmin", case.mark());
    let request =
        fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "callee.default"), (":path", &path)]);
    speak(&mut peer(&case), &request);
    for reached in case.field.app.received() {
        assert!(!reached.target.contains(".."), "{reached:?}");
    }
    case.others_are_untouched();
}

/// A good peer is served while another floods, and the flood ends in time.
macro_rules! borne {
    ($($name:ident => $piece:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let mut flooding = peer(&case);
                flooding.write_all(&hello()).expect("it takes bytes");
                #[allow(unused_mut, reason = "only one of the pieces counts")]
                let mut piece = $piece;
                let start = Instant::now();
                let mut sent = 0;
                while sent < 16 << 20 && start.elapsed() < Duration::from_secs(10) {
                    let bytes: Vec<u8> = piece(&case, sent);
                    sent += bytes.len();
                    if flooding.write_all(&bytes).is_err() {
                        break;
                    }
                }
                let leaf = authority(&case).leaf(&[CALLER]);
                let start = Instant::now();
                assert!(is_served(&case, Some(&leaf)), "a good peer is shut out");
                assert!(start.elapsed() < Duration::from_secs(10), "a good peer waited {:?}", start.elapsed());
                drop(flooding);
                case.others_are_untouched();
            }
        )+
    };
}

borne! {
    pings_without_end_are_borne => |_: &Case, _| frame(PING, 0, 0, &[7; 8]).repeat(1000);
    headers_without_end_are_borne => |_: &Case, sent| match sent {
        0 => frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")])),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]).repeat(300)),
    };
    streams_that_are_reset_at_once_are_borne => {
        let mut stream = 1u32;
        move |case: &Case, _| {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                bytes.extend(request(case, stream, "callee.default", &[]));
                bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
                stream += 2;
            }
            bytes
        }
    };
}

#[test]
fn a_peer_that_goes_within_a_call_harms_nobody() {
    let case = Case::new();
    for _ in 0..10 {
        let mut tls = peer(&case);
        let mut bytes = hello();
        bytes.extend(request(&case, 1, "callee.default", &[]));
        tls.write_all(&bytes).expect("it takes bytes");
    }
    let mut tls = peer(&case);
    let frames = speak(&mut tls, &request(&case, 1, "callee.default", &[]));
    assert!(frames.iter().any(|frame| frame.is_ok_head()), "{frames:?}");
    drop(read(&mut tls));
    case.others_are_untouched();
}
