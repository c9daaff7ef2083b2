//! Frames out of order, of the wrong size, on the wrong stream (RFC 9113, sections 5 and 6).

use std::time::Duration;

use outrigger_test_support::h2_frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, hello,
};
use outrigger_test_support::{Answer, Ended, Gate, RawConnection};

use super::{answer, refused, send};
use crate::case::Case;

/// The connection ends with an error, nothing reached the application.
macro_rules! fatal {
    ($($name:ident => $bytes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let bytes: Vec<u8> = ($bytes)(&case).into();
                let frames = send(&case, bytes);
                refused(case, &frames, 1);
            }
        )+
    };
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

fn attack(case: &Case, stream: u32) -> Vec<u8> {
    get(stream, &case.target("attack"), &[])
}

fn headers_first(case: &Case, flags: u8) -> Vec<u8> {
    let path = case.target("attack");
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path.as_str())];
    frame(HEADERS, flags, 1, &block(&fields))
}

fatal! {
    headers_on_stream_zero_end_the_connection => |case| attack(case, 0);
    headers_on_a_stream_of_the_server_end_the_connection => |case| attack(case, 2);
    data_on_an_idle_stream_ends_the_connection => |_| frame(DATA, END_STREAM, 1, b"hello");
    data_on_stream_zero_ends_the_connection => |_| frame(DATA, END_STREAM, 0, b"hello");
    a_reset_of_an_idle_stream_ends_the_connection => |_| frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    a_push_from_a_client_ends_the_connection => |_| frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]);
    a_continuation_without_headers_ends_the_connection => |_| frame(CONTINUATION, END_HEADERS, 1, &[]);
    another_frame_between_headers_and_continuation_ends_the_connection =>
        |case| [headers_first(case, END_STREAM), frame(PING, 0, 0, &[0; 8])].concat();
    a_continuation_of_another_stream_ends_the_connection =>
        |case| [headers_first(case, END_STREAM), frame(CONTINUATION, END_HEADERS, 3, &[])].concat();
    a_frame_past_the_largest_size_ends_the_connection => |_| frame(DATA, 0, 1, &vec![0; 16_385 * 4]);
    a_ping_of_seven_bytes_ends_the_connection => |_| frame(PING, 0, 0, &[0; 7]);
    settings_of_five_bytes_end_the_connection => |_| frame(SETTINGS, 0, 0, &[0; 5]);
    settings_on_a_stream_end_the_connection => |_| frame(SETTINGS, 0, 1, &[]);
    settings_that_are_an_answer_and_say_something_end_the_connection => |_| frame(SETTINGS, 1, 0, &[0; 6]);
    a_window_past_31_bits_by_settings_ends_the_connection => |_| setting(4, 0x8000_0000);
    a_frame_size_below_the_least_ends_the_connection => |_| setting(5, 100);
    push_set_to_two_ends_the_connection => |_| setting(2, 2);
    a_window_update_of_zero_ends_the_connection => |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
    a_window_past_31_bits_by_updates_ends_the_connection => |_|
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2);
    padding_longer_than_its_frame_ends_the_connection =>
        |case| [headers_first(case, END_HEADERS), frame(DATA, 8 | END_STREAM, 1, &[200, 1, 2])].concat();
    a_header_block_that_ends_in_the_middle_ends_the_connection =>
        |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 127, 255]);
    an_index_past_the_table_ends_the_connection =>
        |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    an_index_of_zero_ends_the_connection => |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]);
    a_table_size_past_what_was_agreed_ends_the_connection =>
        |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xff, 0xff, 0xff, 0x0f]);
    a_stream_that_depends_on_itself_is_refused => |_| {
        let mut payload = vec![0, 0, 0, 1, 16];
        payload.extend(block(&[(":method", "GET")]));
        frame(HEADERS, 0x20 | END_HEADERS | END_STREAM, 1, &payload)
    };
}

#[test]
fn a_preface_that_comes_byte_by_byte_is_a_preface() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    let mut bytes = hello();
    bytes.extend(attack(&case, 1));
    assert!(connection.send_slowly(bytes, Duration::from_millis(2)));
    let frames = answer(&mut connection);
    assert!(frames.is_ok(1), "{frames:?}");
    assert_eq!(case.reached("attack").len(), 1);
    case.others_are_untouched();
}

#[test]
fn a_preface_that_goes_wrong_in_its_middle_is_refused() {
    let case = Case::new();
    let outcome = case.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    case.refused(&outcome);
}

#[test]
fn a_stream_id_that_was_used_before_ends_the_connection() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send([hello(), get(1, &case.target("first"), &[])].concat());
    let frames = answer(&mut connection);
    assert!(frames.is_ok(1), "{frames:?}");
    connection.send(attack(&case, 1));
    let frames = answer(&mut connection);
    refused(case, &frames, 1);
}

#[test]
fn a_stream_id_below_the_last_ends_the_connection() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send([hello(), get(5, &case.target("first"), &[])].concat());
    let frames = answer(&mut connection);
    assert!(frames.is_ok(5), "{frames:?}");
    connection.send(attack(&case, 3));
    let frames = answer(&mut connection);
    refused(case, &frames, 3);
}

#[test]
fn the_last_stream_id_is_answered_and_the_connection_is_not_used_further() {
    let case = Case::new();
    let frames = send(&case, attack(&case, 0x7fff_ffff));
    assert!(frames.is_ok(0x7fff_ffff), "{frames:?}");
    case.others_are_untouched();
}

#[test]
fn data_behind_the_end_of_a_stream_smuggles_nothing() {
    let case = Case::new();
    let hidden = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", case.target("smuggled"));
    let frames = send(&case, [attack(&case, 1), frame(DATA, END_STREAM, 1, hidden.as_bytes())].concat());
    assert!(frames.ended != Ended::Open || !frames.all.is_empty());
    assert!(case.reached("attack").iter().all(|received| received.body.is_empty()));
    case.others_are_untouched();
}

#[test]
fn a_client_that_says_goaway_still_gets_the_answers_under_way() {
    let case = Case::new();
    let gate = Gate::new();
    case.answers("attack", Answer::text("late").held(&gate));
    let mut connection = RawConnection::open(case.api());
    connection.send([hello(), attack(&case, 1), frame(GOAWAY, 0, 0, &[0; 8])].concat());
    outrigger_test_support::eventually("the call", || (!case.reached("attack").is_empty()).then_some(()));
    gate.open();
    let (bytes, _) = connection.read_until(Duration::from_secs(15), |bytes| {
        outrigger_test_support::h2_frame::parse(bytes).iter().any(|frame| frame.stream == 1 && frame.kind == DATA)
    });
    let frames = outrigger_test_support::h2_frame::parse(&bytes);
    assert!(frames.iter().any(|frame| frame.stream == 1 && frame.is_ok_head()), "{frames:?}");
    case.others_are_untouched();
}

#[test]
fn a_client_that_goes_with_streams_open_harms_nobody() {
    let case = Case::new();
    let gate = Gate::new();
    case.answers("attack", Answer::text("late").held(&gate));
    for _ in 0..10 {
        let mut connection = RawConnection::open(case.api());
        connection.send(hello());
        for stream in (1..20).step_by(2) {
            connection.send(attack(&case, stream));
        }
    }
    gate.open();
    case.others_are_untouched();
}

#[test]
fn unknown_frames_and_priorities_are_ignored() {
    let case = Case::new();
    let frames = send(
        &case,
        [frame(0xee, 0xff, 0, b"unknown"), frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]), attack(&case, 5)].concat(),
    );
    assert!(frames.is_ok(5), "{frames:?}");
    case.others_are_untouched();
}
