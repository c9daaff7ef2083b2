//! Much of what each alone is allowed: the client is cut off or slowed down, and the process neither stops nor grows.

use std::time::{Duration, Instant};

use outrigger_test_support::h2_frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
    hello, parse,
};
use outrigger_test_support::{Answer, Ended, Gate, RawConnection};

use crate::case::{Case, resident};

/// Sends `piece` over and over, 64 MiB or 20 s at most. Returns whether the other end stopped us.
fn flood(connection: &mut RawConnection, piece: &[u8]) -> bool {
    let chunk = piece.repeat((64 * 1024 / piece.len()).max(1));
    let start = Instant::now();
    let mut sent = 0;
    while sent < 64 << 20 && start.elapsed() < Duration::from_secs(20) {
        if !connection.send(&chunk) {
            return true;
        }
        sent += chunk.len();
    }
    false
}

fn is_ended(connection: &mut RawConnection) -> bool {
    connection.read_to_end(Duration::from_secs(5)).1 != Ended::Open
}

#[test]
fn a_client_that_opens_and_resets_streams_without_end_is_cut_off() {
    let case = Case::new();
    let gate = Gate::new();
    case.answers("attack", Answer::text("late").held(&gate));
    let mut connection = RawConnection::open(case.api());
    connection.send(hello());
    let mut bytes = Vec::new();
    for number in 0..20_000u32 {
        let stream = number * 2 + 1;
        bytes.extend(get(stream, &case.target("attack"), &[]));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let stopped = !connection.send(bytes);
    let ended = is_ended(&mut connection);
    let reached = case.reached("attack").len();
    gate.open();
    assert!(stopped || ended, "20,000 resets went through");
    assert!(reached < 5_000, "{reached} of the calls that were reset at once reached the application");
    case.others_are_untouched();
}

#[test]
fn headers_without_end_are_cut_off() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send(hello());
    connection.send(frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")])));
    let piece = frame(CONTINUATION, 0, 1, &block(&[("x-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]).repeat(100));
    assert!(flood(&mut connection, &piece) || is_ended(&mut connection), "64 MiB of CONTINUATION went through");
    case.others_are_untouched();
}

#[test]
fn empty_continuations_without_end_are_cut_off() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send(hello());
    connection.send(frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")])));
    let piece = frame(CONTINUATION, 0, 1, &[]);
    assert!(flood(&mut connection, &piece) || is_ended(&mut connection), "64 MiB of CONTINUATION went through");
    case.others_are_untouched();
}

#[test]
fn a_header_block_of_references_to_one_long_field_is_refused() {
    let case = Case::new();
    let path = case.target("attack");
    let mut payload =
        block(&[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path.as_str())]);
    // A literal that goes into the table (0x40), then 16,000 references of one octet each to its entry.
    payload.extend([0x40, 3]);
    payload.extend(b"x-a");
    payload.extend([0x7f, 0x81, 0x1e]);
    payload.extend(vec![b'a'; 127 + 1 + (0x1e << 7)]);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &payload);
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[0xbe; 16_000]));
    let frames = super::send(&case, bytes);
    super::refused(case, &frames, 1);
}

/// A flood that costs us little a frame may be borne; what may not happen is that others wait or the process ends.
macro_rules! borne {
    ($($name:ident => $piece:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let path = case.target("meanwhile");
                let api = case.api();
                let meanwhile = std::thread::spawn(move || {
                    let start = Instant::now();
                    let mut connection = RawConnection::open(api);
                    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                    let answer = connection.response("GET", Duration::from_secs(15)).expect("an answer meanwhile");
                    (answer.status(), start.elapsed())
                });
                let mut connection = RawConnection::open(case.api());
                connection.send(hello());
                let piece: Vec<u8> = ($piece)(&case);
                flood(&mut connection, &piece);
                let (status, took) = meanwhile.join().unwrap();
                assert_eq!(status, 200);
                assert!(took < Duration::from_secs(10), "a good call took {took:?} meanwhile");
                drop(connection);
                case.others_are_untouched();
            }
        )+
    };
}

borne! {
    pings_whose_answers_are_not_read_are_borne => |_| frame(PING, 0, 0, &[7; 8]);
    settings_whose_answers_are_not_read_are_borne => |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    empty_data_on_closed_streams_is_borne =>
        |case: &Case| [get(1, &case.target("attack"), &[]), frame(DATA, 0, 1, &[])].concat();
    window_updates_of_one_are_borne => |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    priorities_are_borne => |_| frame(2, 0, 3, &[0, 0, 0, 1, 16]);
}

#[test]
fn streams_past_the_limit_are_refused_and_those_below_are_answered() {
    let case = Case::new();
    let gate = Gate::new();
    case.answers("attack", Answer::text("late").held(&gate));
    let mut connection = RawConnection::open(case.api());
    connection.send(hello());
    let streams = 1_500u32;
    for number in 0..streams {
        connection.send(get(number * 2 + 1, &case.target("attack"), &[]));
    }
    let (bytes, ended) = connection.read_settled(Duration::from_secs(10), Duration::from_secs(1));
    let refused =
        parse(&bytes).iter().filter(|frame| frame.kind == RST_STREAM && frame.error_code() == Some(7)).count();
    assert!(refused > 0 || ended != Ended::Open, "all {streams} streams were taken");
    gate.open();
    case.others_are_untouched();
}

#[test]
fn streams_that_wait_behind_a_shut_window_cost_little_memory() {
    let case = Case::new();
    case.answers("attack", Answer::text("x".repeat(1 << 20)));
    let before = resident(case.field.caller.id());
    let mut connection = RawConnection::open(case.api());
    // SETTINGS_INITIAL_WINDOW_SIZE of zero: no body may come.
    connection.send(outrigger_test_support::h2_frame::PREFACE);
    connection.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..200u32 {
        connection.send(get(number * 2 + 1, &case.target("attack"), &[]));
    }
    std::thread::sleep(Duration::from_secs(2));
    let grown = resident(case.field.caller.id()) - before;
    assert!(grown < 120 << 20, "the sidecar grew by {} MiB", grown >> 20);
    drop(connection);
    case.others_are_untouched();
}
