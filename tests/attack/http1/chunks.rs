//! Chunked bodies (RFC 9112, section 7.1).

use outrigger_test_support::RawConnection;

use crate::case::{Case, Outcome};

/// Sends a POST whose chunked body is `body`, exactly.
fn post(case: &Case, body: impl AsRef<[u8]>) -> Outcome {
    let mut connection = RawConnection::open(case.api());
    connection.send(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        case.target("attack")
    ));
    connection.send(body);
    case.outcome(&mut connection)
}

/// The body never counts as whole: an error or a close, and the application saw no end of it.
fn assert_broken(case: Case, outcome: &Outcome) {
    let statuses = outcome.statuses();
    assert!(!statuses.contains(&200), "a broken body was answered as a good one: {}", outcome.text());
    assert!(case.reached("attack").iter().all(|received| !received.complete));
    case.others_are_untouched();
}

macro_rules! broken {
    ($($name:ident => $body:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let body: Vec<u8> = ($body)(&case).into();
                let outcome = post(&case, body);
                assert_broken(case, &outcome);
            }
        )+
    };
}

broken! {
    a_chunk_size_past_64_bits_ends_the_call => |_| "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n";
    a_chunk_size_that_would_wrap_ends_the_call => |_| "10000000000000005\r\nhello\r\n0\r\n\r\n";
    a_chunk_size_below_zero_ends_the_call => |_| "-5\r\nhello\r\n0\r\n\r\n";
    a_chunk_size_with_0x_ends_the_call => |_| "0x5\r\nhello\r\n0\r\n\r\n";
    a_chunk_without_a_size_ends_the_call => |_| "\r\nhello\r\n0\r\n\r\n";
    a_chunk_size_that_is_no_number_ends_the_call => |_| "hello\r\nhello\r\n0\r\n\r\n";
    more_data_than_the_chunk_says_ends_the_call => |_| "5\r\nhello and more\r\n0\r\n\r\n";
    a_chunk_that_ends_without_a_line_break_ends_the_call => |_| "5\r\nhelloXX0\r\n\r\n";
    a_chunk_extension_of_one_mebibyte_ends_the_call =>
        |_| format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1 << 20));
    a_bare_line_feed_in_a_chunk_extension_ends_the_call => |case: &Case| format!(
        "5;a\nGET {} HTTP/1.1\r\nhello\r\n0\r\n\r\n", case.target("smuggled"));
    a_hundred_thousand_trailers_end_the_call =>
        |_| format!("5\r\nhello\r\n0\r\n{}\r\n", "X-T: 1\r\n".repeat(100_000));
    a_trailer_of_one_mebibyte_ends_the_call =>
        |_| format!("5\r\nhello\r\n0\r\nX-T: {}\r\n\r\n", "a".repeat(1 << 20));
    a_trailer_without_a_colon_ends_the_call => |_| "5\r\nhello\r\n0\r\nno trailer\r\n\r\n";
    nul_in_a_trailer_ends_the_call => |_| "5\r\nhello\r\n0\r\nX-T: a\0b\r\n\r\n";
}

#[test]
fn a_chunked_body_that_is_cut_off_never_counts_as_whole() {
    let case = Case::new();
    let outcome = case.send_and_finish(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        case.target("attack")
    ));
    assert_broken(case, &outcome);
}

#[test]
fn a_last_chunk_without_its_empty_line_never_counts_as_whole() {
    let case = Case::new();
    let outcome = case.send_and_finish(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        case.target("attack")
    ));
    assert_broken(case, &outcome);
}

#[test]
fn a_thousand_chunks_of_one_byte_are_one_body() {
    let case = Case::new();
    let outcome = post(&case, format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(1000)));
    outcome.assert_one_answer();
    assert_eq!(case.reached("attack")[0].text(), "a".repeat(1000));
    case.others_are_untouched();
}

#[test]
fn a_small_chunk_extension_is_dropped() {
    let case = Case::new();
    let outcome = post(&case, "5;name=value\r\nhello\r\n0\r\n\r\n");
    outcome.assert_one_answer();
    assert_eq!(case.reached("attack")[0].text(), "hello");
    case.others_are_untouched();
}

#[test]
fn trailers_never_become_headers_nor_frame_or_route_anything() {
    let case = Case::new();
    let outcome = post(
        &case,
        "5\r\nhello\r\n0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nHost: evil.example\r\n\
         dapr-app-id: other\r\ndapr-caller-app-id: admin\r\noutrigger-caller-id: spiffe://evil\r\n\
         dapr-api-token: t\r\nAuthorization: x\r\n\r\n",
    );
    if !case.reached("attack").is_empty() {
        let reached = &case.reached("attack")[0];
        for forbidden in [
            "content-length",
            "transfer-encoding",
            "host",
            "dapr-app-id",
            "dapr-caller-app-id",
            "outrigger-caller-id",
            "dapr-api-token",
        ] {
            let trailer = reached.trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case(forbidden));
            assert_eq!(trailer, None, "a trailer that may not be there");
        }
        assert!(reached.all("dapr-caller-app-id").iter().all(|value| *value == "caller"), "{reached:?}");
        assert!(reached.one("outrigger-caller-id").is_some_and(|id| id.ends_with("/caller")), "{reached:?}");
    }
    case.refused_or_understood_once(&outcome);
}
