//! Request lines and header lines: their bytes, their number, their size.

use std::time::Duration;

use outrigger_test_support::RawConnection;

use crate::case::{Case, cases};

/// A GET with `lines` among its headers.
fn with(case: &Case, lines: &str) -> String {
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n", case.target("attack"))
}

/// A request line as given, `*` standing for the target, and a Host.
fn line(case: &Case, line: &str) -> String {
    format!("{}\r\nHost: localhost\r\n\r\n", line.replace('*', &case.target("attack")))
}

cases! { refused:
    nul_in_a_header_name_is_refused => |case| with(case, "X-\0A: 1");
    nul_in_a_header_value_is_refused => |case| with(case, "X-A: 1\u{0}2");
    a_bare_carriage_return_in_a_header_value_is_refused =>
        |case: &Case| with(case, &format!("X-A: 1\rGET {} HTTP/1.1", case.target("smuggled")));
    a_control_in_a_header_value_is_refused => |case| with(case, "X-A: 1\u{7}2");
    a_space_in_a_header_name_is_refused => |case| with(case, "X A: 1");
    a_header_without_a_colon_is_refused => |case| with(case, "X-A 1");
    a_header_without_a_name_is_refused => |case| with(case, ": 1");
    a_header_name_of_other_letters_is_refused => |case| with(case, "X-\u{e9}: 1");
    nul_in_the_target_is_refused => |case| line(case, "GET *\0 HTTP/1.1");
    a_control_in_the_target_is_refused => |case| line(case, "GET *\u{1} HTTP/1.1");
    a_bare_carriage_return_in_the_target_is_refused => |case| line(case, "GET *\rX HTTP/1.1");
    a_space_in_the_target_is_refused => |case| line(case, "GET *a b HTTP/1.1");
    an_escaped_nul_in_the_target_is_refused => |case| line(case, "GET *%00 HTTP/1.1");
    an_escaped_line_break_in_the_target_is_refused =>
        |case| line(case, "GET *%0d%0aX-Smuggled:%201 HTTP/1.1");
    a_broken_escape_in_the_target_is_refused => |case| line(case, "GET *%zz HTTP/1.1");
    overlong_utf_8_in_the_target_is_refused => |case| line(case, "GET *%c0%ae%c0%ae/ HTTP/1.1");
    dot_segments_behind_a_backslash_are_refused => |case| line(case, "GET *\\..\\admin HTTP/1.1");
    a_method_with_a_control_is_refused => |case| line(case, "GE\u{1}T * HTTP/1.1");
    a_method_with_a_slash_is_refused => |case| line(case, "G/ET * HTTP/1.1");
    an_empty_method_is_refused => |case| line(case, " * HTTP/1.1");
    a_request_line_without_a_target_is_refused => |case| line(case, "GET HTTP/1.1");
    http_0_9_is_refused => |case: &Case| format!("GET {}\r\n\r\n", case.target("attack"));
    a_version_with_a_letter_behind_it_is_refused => |case| line(case, "GET * HTTP/1.1x");
    a_version_of_two_digits_is_refused => |case| line(case, "GET * HTTP/1.10");
    http_2_in_the_request_line_is_refused => |case| line(case, "GET * HTTP/2.0");
    http_3_in_the_request_line_is_refused => |case| line(case, "GET * HTTP/3.0");
    another_protocol_in_the_request_line_is_refused => |case| line(case, "GET * ICY/1.1");
    a_tls_hello_is_refused => |_: &Case| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(10);
    noise_is_refused => |_: &Case| (0..=255u8).cycle().take(4096).collect::<Vec<_>>();
    a_header_of_64_kib_is_refused => |case| with(case, &format!("X-A: {}", "a".repeat(65 * 1024)));
    headers_of_one_mebibyte_are_refused =>
        |case| with(case, &vec![format!("X-A: {}", "a".repeat(1000)); 1049].join("\r\n"));
    ten_thousand_headers_are_refused => |case| with(case, &vec!["A: 1"; 10_000].join("\r\n"));
    a_method_of_one_mebibyte_is_refused => |case| line(case, &format!("{} * HTTP/1.1", "G".repeat(1 << 20)));
    a_target_of_one_mebibyte_is_refused => |case| line(case, &format!("GET *{} HTTP/1.1", "a".repeat(1 << 20)));
    a_header_name_of_one_mebibyte_is_refused => |case| with(case, &format!("{}: 1", "A".repeat(1 << 20)));
}

cases! { refused_or_understood_once:
    line_feeds_without_carriage_returns_are_lines_or_refused => |case: &Case| format!(
        "GET {} HTTP/1.1\nHost: localhost\nX-A: 1\n\n", case.target("attack"));
    empty_lines_before_the_request_line_are_skipped_or_refused =>
        |case| format!("\r\n\r\n{}", with(case, "X-A: 1"));
    a_tab_in_a_header_value_is_kept_or_refused => |case| with(case, "X-A: 1\t2");
    bytes_over_127_in_a_header_value_are_kept_or_refused => |case| with(case, "X-A: \u{e9}");
    an_unknown_method_is_passed_on_or_refused => |case| line(case, "BREW * HTTP/1.1");
    http_1_0_is_understood_or_refused => |case| line(case, "GET * HTTP/1.0");
}

#[test]
fn a_fragment_in_the_target_is_refused_or_reaches_nobody() {
    let case = Case::new();
    let outcome = case.send(line(&case, "GET *#/../../admin HTTP/1.1"));
    for reached in case.reached("attack") {
        assert_eq!(reached.target, format!("/attack-{}", case.mark()), "what policy saw is what the application got");
    }
    case.refused_or_understood_once(&outcome);
}

#[test]
fn dot_segments_behind_an_escaped_slash_do_not_reach_the_application() {
    let case = Case::new();
    let outcome = case.send(line(&case, "GET *%2f..%2f%2E%2e%2Fadmin HTTP/1.1"));
    assert!(matches!(outcome.statuses().as_slice(), [200 | 400]), "{}", outcome.text());
    for reached in case.field.app.received() {
        assert!(!reached.target.contains("..") && !reached.target.to_ascii_lowercase().contains("%2e"), "{reached:?}");
    }
    case.others_are_untouched();
}

#[test]
fn ninety_headers_are_no_attack() {
    let case = Case::new();
    let lines: Vec<_> = (0..90).map(|number| format!("X-{number}: {number}")).collect();
    let outcome = case.send(with(&case, &lines.join("\r\n")));
    outcome.assert_one_answer();
    let reached = case.reached("attack");
    assert_eq!(reached[0].one("x-89"), Some("89"));
    case.others_are_untouched();
}

#[test]
fn a_head_that_comes_byte_by_byte_is_one_head() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    assert!(connection.send_slowly(with(&case, "X-A: 1"), Duration::from_millis(2)));
    let outcome = case.outcome(&mut connection);
    outcome.assert_one_answer();
    assert_eq!(case.reached("attack").len(), 1);
    case.others_are_untouched();
}

#[test]
fn a_refusal_of_a_path_names_the_field_the_value_and_the_fix() {
    let case = Case::new();
    let outcome = case.send(line(&case, "GET *%00 HTTP/1.1"));
    let text = outcome.text();
    for needle in ["path", "%00", "control"] {
        assert!(text.contains(needle), "{needle} is not in {text}");
    }
    case.refused(&outcome);
}
