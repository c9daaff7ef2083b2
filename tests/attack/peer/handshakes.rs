//! What is no TLS, or not the TLS that we speak.

use std::time::Duration;

use outrigger_test_support::{Ended, RawConnection, h2_frame, tls_connect};

use super::{authority, read, request, speak};
use crate::case::Case;

const CALLER: &str = "spiffe://public/ns/default/caller";

/// Bytes on the peer port end the connection and reach nobody.
macro_rules! ended {
    ($($name:ident => $bytes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let bytes: Vec<u8> = ($bytes)(&case).into();
                let mut connection = RawConnection::open(case.field.callee.peer());
                connection.send(bytes);
                let (_, ended) = connection.read_to_end(Duration::from_secs(15));
                assert_ne!(ended, Ended::Open);
                assert!(case.reached("attack").is_empty());
                case.others_are_untouched();
            }
        )+
    };
}

ended! {
    plain_http_1_1_on_the_peer_port_is_cut_off =>
        |case: &Case| format!("GET /attack-{} HTTP/1.1\r\nHost: callee\r\n\r\n", case.mark());
    plain_http_2_on_the_peer_port_is_cut_off =>
        |case: &Case| [h2_frame::hello(), request(case, 1, "callee.default", &[])].concat();
    noise_on_the_peer_port_is_cut_off => |_| vec![0xa5; 64 * 1024];
    a_tls_record_of_64_kib_is_cut_off => |_| [vec![0x16, 3, 1, 0xff, 0xff], vec![1; 0xffff]].concat();
    a_hello_that_promises_16_mib_is_cut_off => |_| [vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff], vec![0; 0x3ffc]].concat().repeat(8);
    empty_tls_records_without_end_are_cut_off => |_| [0x16, 3, 1, 0, 0].repeat(10_000);
    half_a_hello_is_cut_off => |_| vec![0x16, 3, 1, 0x02, 0, 1, 0, 1, 0xfc, 3, 3];
    tls_1_0_is_cut_off => |_| {
        let mut hello = vec![0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
        hello
    };
}

#[test]
fn a_connection_that_never_begins_its_handshake_is_cut_off_in_time() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.field.callee.peer());
    let (_, ended) = connection.read_to_end(Duration::from_secs(20));
    assert_ne!(ended, Ended::Open);
    case.others_are_untouched();
}

#[test]
fn three_hundred_handshakes_that_stall_shut_nobody_out() {
    let case = Case::new();
    let peer = case.field.callee.peer();
    let stalled: Vec<_> = (0..300)
        .map(|_| {
            let mut connection = RawConnection::open(peer);
            connection.send([0x16, 3, 1, 0x02, 0, 1]);
            connection
        })
        .collect();
    // The handshakes stall for their timeout at most; then a good peer gets its turn.
    let leaf = authority(&case).leaf(&[CALLER]);
    let served = outrigger_test_support::within(Duration::from_secs(20), "a good peer to be served", || {
        super::is_served(&case, Some(&leaf)).then_some(true)
    });
    assert!(served);
    drop(stalled);
    case.others_are_untouched();
}

#[test]
fn another_protocol_by_alpn_is_not_the_native_wire() {
    for alpn in [&[b"http/1.1".as_slice()][..], &[b"outrigger/2"], &[b"spdy/3"], &[]] {
        let case = Case::new();
        let leaf = authority(&case).leaf(&[CALLER]);
        if let Ok(mut tls) = tls_connect(case.field.callee.peer(), Some(&leaf), alpn, "callee.default") {
            let frames = speak(&mut tls, &request(&case, 1, "callee.default", &[]));
            assert!(!frames.iter().any(|frame| frame.is_ok_head()), "{alpn:?}: {frames:?}");
        }
        assert!(case.reached("attack").is_empty(), "{alpn:?}");
        case.others_are_untouched();
    }
}

#[test]
fn the_server_name_that_a_peer_sends_decides_nothing() {
    for name in ["evil.example", "127.0.0.1", "localhost", "admin.default"] {
        let case = Case::new();
        let leaf = authority(&case).leaf(&[CALLER]);
        let mut tls = tls_connect(case.field.callee.peer(), Some(&leaf), &[super::NATIVE], name).expect("a handshake");
        let frames = speak(&mut tls, &request(&case, 1, "callee.default", &[]));
        assert!(frames.iter().any(|frame| frame.is_ok_head()), "{name}: {frames:?}");
        let reached = case.reached("attack");
        assert_eq!(reached[0].one("outrigger-caller-id"), Some(CALLER));
        case.others_are_untouched();
    }
}

#[test]
fn a_peer_that_closes_within_its_request_harms_nobody() {
    let case = Case::new();
    let leaf = authority(&case).leaf(&[CALLER]);
    for _ in 0..20 {
        let mut tls = super::connect(&case, Some(&leaf)).expect("a handshake");
        std::io::Write::write_all(&mut tls, &h2_frame::hello()).expect("it takes bytes");
    }
    let mut tls = super::connect(&case, Some(&leaf)).expect("a handshake");
    drop(read(&mut tls));
    case.others_are_untouched();
}
