//! What a broken or hostile application answers.

use outrigger_test_support::{Answer, RawConnection};
use std::time::Duration;

use crate::case::{Case, Outcome};

const SECONDS: Duration = Duration::from_secs(15);

/// Calls an application that answers `raw` and then closes.
fn answered(case: &Case, method: &str, raw: impl Into<Vec<u8>>) -> Outcome {
    case.answers("attack", Answer::raw(raw));
    case.send(format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")))
}

/// Calls an application that answers `raw` and keeps its connection, as if there were nothing wrong.
fn answered_and_stays(case: &Case, method: &str, raw: &str) -> Outcome {
    case.answers("attack", Answer::raw_and_stay(raw));
    case.send(format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")))
}

/// The next calls get their own answers and nothing that was left on a pooled connection.
fn next_calls_get_their_own_answers(case: &Case) {
    for number in 0..5 {
        let part = format!("next{number}");
        case.answers(&part, Answer::text(format!("own answer {number}")));
        let mut connection = RawConnection::open(case.api());
        connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target(&part)));
        let answer = connection.response("GET", SECONDS).expect("an answer");
        assert_eq!((answer.status(), answer.text()), (200, format!("own answer {number}")));
    }
}

/// The caller gets an error from the sidecar, or a connection that breaks off; never what was hidden in the answer.
macro_rules! broken {
    ($($name:ident => $raw:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let outcome = answered(&case, "GET", $raw);
                assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
                assert!(
                    matches!(outcome.statuses().as_slice(), [] | [500..=504]),
                    "no error: {}",
                    outcome.text()
                );
                next_calls_get_their_own_answers(&case);
                case.others_are_untouched();
            }
        )+
    };
}

broken! {
    an_answer_with_two_content_lengths_is_an_error =>
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 20\r\n\r\nokHTTP/1.1 200 HIDDEN\r\n";
    an_answer_with_a_content_length_below_zero_is_an_error =>
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nHIDDEN";
    an_answer_with_a_broken_status_is_an_error => "HTTP/1.1 2x0 OK\r\n\r\nHIDDEN";
    an_answer_with_a_status_of_four_digits_is_an_error => "HTTP/1.1 2000 OK\r\n\r\nHIDDEN";
    an_answer_with_status_zero_is_an_error => "HTTP/1.1 000 OK\r\n\r\nHIDDEN";
    an_answer_in_http_0_9_is_an_error => "HIDDEN without any head";
    an_answer_with_nul_in_a_header_is_an_error =>
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 6\r\n\r\nHIDDEN";
    an_answer_with_a_space_in_a_header_name_is_an_error =>
        "HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 6\r\n\r\nHIDDEN";
    an_answer_with_ten_thousand_headers_is_an_error =>
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 6\r\n\r\nHIDDEN", "A: 1\r\n".repeat(10_000));
    an_answer_with_a_header_of_one_mebibyte_is_an_error =>
        format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 6\r\n\r\nHIDDEN", "a".repeat(1 << 20));
    an_answer_that_is_cut_off_in_its_head_is_an_error => "HTTP/1.1 200 OK\r\nX-A: HIDDEN";
    no_answer_at_all_is_an_error => "";
    an_answer_of_another_version_is_an_error => "HTTP/2.0 200 OK\r\n\r\nHIDDEN";
}

#[test]
fn bytes_behind_a_204_belong_to_nobody() {
    let case = Case::new();
    let outcome = answered_and_stays(
        &case,
        "GET",
        "HTTP/1.1 204 No Content\r\nContent-Length: 60\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHIDDEN",
    );
    assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn bytes_behind_a_304_belong_to_nobody() {
    let case = Case::new();
    let outcome = answered_and_stays(
        &case,
        "GET",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHIDDEN",
    );
    assert_eq!(outcome.statuses(), [304], "{}", outcome.text());
    assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn a_body_behind_the_answer_to_head_belongs_to_nobody() {
    let case = Case::new();
    let outcome = answered_and_stays(&case, "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHIDDEN");
    assert_eq!(outcome.statuses(), [200], "{}", outcome.text());
    assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn a_second_answer_behind_the_first_belongs_to_nobody() {
    let case = Case::new();
    let outcome = answered_and_stays(
        &case,
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHIDDEN",
    );
    assert_eq!(outcome.statuses(), [200], "{}", outcome.text());
    assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn an_answer_with_both_framings_is_read_in_one_way() {
    let case = Case::new();
    let outcome = answered_and_stays(
        &case,
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 HIDDEN\r\n\r\n",
    );
    assert!(!outcome.text().contains("HIDDEN"), "{}", outcome.text());
    assert!(matches!(outcome.statuses().as_slice(), [200 | 500..=504]), "{}", outcome.text());
    // The sidecar frames the answer anew: one that says both would hand the riddle on.
    let text = outcome.text().to_ascii_lowercase();
    let both = text.contains("content-length: 4") && text.contains("transfer-encoding");
    assert!(!both, "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn an_answer_that_is_cut_off_in_its_body_is_cut_off_for_the_caller_too() {
    let case = Case::new();
    let outcome = answered(&case, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    let text = outcome.text();
    assert!(!text.contains("\r\n0\r\n\r\n"), "a body that was cut off came to an orderly end: {text}");
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    assert!(outcome.statuses() != [200] || body.len() < 100, "{text}");
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn a_chunked_answer_that_is_cut_off_is_cut_off_for_the_caller_too() {
    let case = Case::new();
    let outcome = answered(&case, "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert!(!outcome.text().contains("\r\n0\r\n\r\n"), "{}", outcome.text());
    next_calls_get_their_own_answers(&case);
    case.others_are_untouched();
}

#[test]
fn headers_that_only_sidecars_set_are_not_an_applications_to_answer_with() {
    let case = Case::new();
    let outcome = answered(
        &case,
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\noutrigger-failure: denied\r\noutrigger-policy: mine\r\nKeep-Alive: 5\r\nConnection: X-Secret\r\nX-Secret: 1\r\nX-Kept: yes\r\n\r\nok",
    );
    assert_eq!(outcome.statuses(), [200], "{}", outcome.text());
    let text = outcome.text().to_ascii_lowercase();
    for gone in ["outrigger-failure", "outrigger-policy", "x-secret"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert!(text.contains("x-kept: yes"), "{text}");
    case.others_are_untouched();
}
