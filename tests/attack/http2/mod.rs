//! HTTP/2 on the API port, with prior knowledge, in frames made by hand.

mod fields;
mod floods;
mod frames;
mod upstream;

use std::time::Duration;

use outrigger_test_support::h2_frame::{self, Frame, GOAWAY, HEADERS, RST_STREAM};
use outrigger_test_support::{Ended, RawConnection};

use crate::case::Case;

/// What came back on a connection.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) all: Vec<Frame>,
    pub(crate) ended: Ended,
}

/// Sends preface, SETTINGS and `bytes`, and reads what comes until the other end closes or falls silent.
pub(crate) fn send(case: &Case, bytes: impl AsRef<[u8]>) -> Frames {
    let mut connection = RawConnection::open(case.api());
    connection.send(h2_frame::hello());
    connection.send(bytes);
    answer(&mut connection)
}

/// What comes on a connection until the other end closes or falls silent.
pub(crate) fn answer(connection: &mut RawConnection) -> Frames {
    let (bytes, ended) = connection.read_settled(Duration::from_secs(15), Duration::from_millis(250));
    Frames { all: h2_frame::parse(&bytes), ended }
}

impl Frames {
    /// Whether `stream` was answered with 200.
    pub(crate) fn is_ok(&self, stream: u32) -> bool {
        self.all.iter().any(|frame| frame.stream == stream && frame.is_ok_head())
    }

    /// The stream or the connection was ended with an error, or the stream was answered with another status than 200.
    pub(crate) fn assert_refused(&self, stream: u32) {
        let error = |frame: &Frame| match frame.kind {
            RST_STREAM => frame.stream == stream && frame.error_code() != Some(0),
            GOAWAY => frame.error_code() != Some(0),
            HEADERS => frame.stream == stream && !frame.is_ok_head(),
            _ => false,
        };
        assert!(self.ended != Ended::Open || self.all.iter().any(error), "not refused: {self:?}");
        assert!(!self.is_ok(stream), "answered as a good one: {self:?}");
    }
}

/// The stream was refused and nothing of the case reached the application.
pub(crate) fn refused(case: Case, frames: &Frames, stream: u32) {
    frames.assert_refused(stream);
    let reached = case.reached("attack");
    assert!(reached.is_empty(), "it was refused, and reached the application: {reached:?}");
    case.others_are_untouched();
}

/// The stream was refused and the application saw nothing, or it was understood and the application saw it once.
pub(crate) fn refused_or_understood_once(case: Case, frames: &Frames, stream: u32) {
    match case.reached("attack").as_slice() {
        [] => frames.assert_refused(stream),
        [_] => assert!(frames.is_ok(stream), "{frames:?}"),
        several => panic!("it reached the application more than once: {several:?}"),
    }
    case.others_are_untouched();
}
