//! The peer port: who may speak there, and what those who may can do.

mod certificates;
mod frames;
mod handshakes;
mod names;

use std::io::{Read, Write};
use std::net::TcpStream;

use outrigger_test_support::h2_frame::{self, END_HEADERS, END_STREAM, Frame, HEADERS, block, frame};
use outrigger_test_support::{Ca, Leaf, tls_connect};
use rustls::{ClientConnection, StreamOwned};

use crate::case::Case;

/// The protocol of the native wire.
pub(crate) const NATIVE: &[u8] = b"outrigger/1";

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// The authority that the sidecars of this case trust.
pub(crate) fn authority(case: &Case) -> Ca {
    Ca::of(&case.field.home)
}

/// A TLS connection to the callee's peer port, when the handshake gets that far.
pub(crate) fn connect(case: &Case, leaf: Option<&Leaf>) -> std::io::Result<Tls> {
    tls_connect(case.field.callee.peer(), leaf, &[NATIVE], "callee.default")
}

/// A request on `stream` of the native wire, as a good peer sends it, with `extra` fields.
pub(crate) fn request(case: &Case, stream: u32, authority: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let path = format!("/attack-{}", case.mark());
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path.as_str()),
        ("outrigger-protocol", "http"),
    ];
    fields.extend_from_slice(extra);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields))
}

/// Sends preface, SETTINGS and `bytes`; what comes back until the other end closes or the answer to stream 1 is there.
pub(crate) fn speak(tls: &mut Tls, bytes: &[u8]) -> Vec<Frame> {
    let mut all = h2_frame::hello();
    all.extend_from_slice(bytes);
    if tls.write_all(&all).and_then(|()| tls.flush()).is_err() {
        return Vec::new();
    }
    read(tls)
}

/// What comes until the other end closes, or stream 1 has its answer or its reset.
pub(crate) fn read(tls: &mut Tls) -> Vec<Frame> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = tls.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        let frames = h2_frame::parse(&bytes);
        let done = |frame: &Frame| {
            frame.stream == 1 && (frame.kind == h2_frame::RST_STREAM || frame.flags & END_STREAM != 0)
                || frame.kind == h2_frame::GOAWAY
        };
        if frames.iter().any(done) {
            break;
        }
    }
    h2_frame::parse(&bytes)
}

/// Whether a peer with `leaf` that sends a good request gets 200.
pub(crate) fn is_served(case: &Case, leaf: Option<&Leaf>) -> bool {
    let Ok(mut tls) = connect(case, leaf) else { return false };
    let frames = speak(&mut tls, &request(case, 1, "callee.default", &[]));
    frames.iter().any(|frame| frame.stream == 1 && frame.is_ok_head())
}

/// The peer is not served, and nothing of it reached the application.
pub(crate) fn shut_out(case: Case, leaf: Option<&Leaf>) {
    assert!(!is_served(&case, leaf), "the peer was served");
    let reached = case.reached("attack");
    assert!(reached.is_empty(), "it reached the application: {reached:?}");
    case.others_are_untouched();
}
