//! Where a request ends: Content-Length and Transfer-Encoding (RFC 9112, section 6).

use outrigger_test_support::Ended;

use crate::case::{Case, cases};

/// A POST whose body could be read as a second request, with `lines` to say where it ends.
fn hiding(case: &Case, lines: &str) -> String {
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("smuggled"));
    format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}", case.target("attack"))
}

/// A POST with five bytes of body and `lines` to say so.
fn five(case: &Case, lines: &str) -> String {
    format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\nhello", case.target("attack"))
}

/// A POST in one chunk, with `lines` to say so.
fn chunked(case: &Case, lines: &str) -> String {
    format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n5\r\nhello\r\n0\r\n\r\n", case.target("attack"))
}

cases! { refused:
    two_content_lengths_that_differ_are_refused =>
        |case| five(case, "Content-Length: 5\r\nContent-Length: 6");
    a_list_of_content_lengths_that_differ_is_refused => |case| five(case, "Content-Length: 5, 6");
    a_content_length_with_a_plus_is_refused => |case| five(case, "Content-Length: +5");
    a_content_length_below_zero_is_refused => |case| five(case, "Content-Length: -1");
    a_hexadecimal_content_length_is_refused => |case| five(case, "Content-Length: 0x5");
    a_content_length_past_64_bits_is_refused => |case| five(case, "Content-Length: 99999999999999999999999");
    a_content_length_with_a_space_inside_is_refused => |case| five(case, "Content-Length: 5 5");
    a_content_length_without_a_value_is_refused => |case| five(case, "Content-Length:");
    a_content_length_with_a_fraction_is_refused => |case| five(case, "Content-Length: 5.0");
    a_content_length_in_other_digits_is_refused => |case| five(case, "Content-Length: \u{0665}");

    chunked_that_is_not_last_is_refused => |case| chunked(case, "Transfer-Encoding: chunked, identity");
    an_unknown_transfer_encoding_is_refused => |case| chunked(case, "Transfer-Encoding: xchunked");
    identity_alone_is_refused => |case| chunked(case, "Transfer-Encoding: identity");
    chunked_twice_is_refused => |case| chunked(case, "Transfer-Encoding: chunked, chunked");
    a_second_line_that_takes_chunked_back_is_refused =>
        |case| chunked(case, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity");
    chunked_behind_a_vertical_tab_is_refused => |case| chunked(case, "Transfer-Encoding: \u{b}chunked");
    chunked_in_quotes_is_refused => |case| chunked(case, "Transfer-Encoding: \"chunked\"");
    a_space_before_the_colon_of_transfer_encoding_is_refused =>
        |case| chunked(case, "Transfer-Encoding : chunked");
    a_tab_before_the_colon_of_content_length_is_refused => |case| five(case, "Content-Length\t: 5");
    a_folded_transfer_encoding_is_refused => |case| chunked(case, "Transfer-Encoding:\r\n chunked");
    a_line_that_begins_with_a_space_is_refused => |case| five(case, "X-A: 1\r\n Content-Length: 5");
    an_empty_transfer_encoding_is_refused => |case| five(case, "Transfer-Encoding:\r\nContent-Length: 5");
    http_1_0_with_transfer_encoding_is_refused => |case: &Case| format!(
        "POST {} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        case.target("attack"));
    http_1_0_with_both_is_refused => |case: &Case| format!(
        "POST {} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        case.target("attack"));
}

cases! { refused_or_understood_once:
    the_same_content_length_twice_is_one_or_refused =>
        |case| five(case, "Content-Length: 5\r\nContent-Length: 5");
    a_list_of_the_same_content_length_is_one_or_refused => |case| five(case, "Content-Length: 5, 5");
    a_content_length_with_zeros_before_it_is_that_number_or_refused => |case| five(case, "Content-Length: 0005");
    chunked_between_tabs_is_chunked_or_refused => |case| chunked(case, "Transfer-Encoding:\tchunked\t");
    gzip_and_chunked_are_passed_whole_or_refused => |case| chunked(case, "Transfer-Encoding: gzip, chunked");
}

/// A server may read such a request by its Transfer-Encoding alone and must then close (RFC 9112, section 6.1).
#[test]
fn content_length_and_transfer_encoding_together_are_refused_or_read_in_one_way_and_the_last_of_their_connection() {
    for lines in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "cOnTeNt-LeNgTh: 6\r\ntRaNsFeR-eNcOdInG: CHUNKED",
    ] {
        let case = Case::new();
        let outcome = case.send(hiding(&case, lines));
        assert_eq!(outcome.ended(), Ended::Closed, "{lines}: {}", outcome.text());
        for reached in case.reached("attack") {
            assert_eq!((reached.text().as_str(), reached.all("content-length").len()), ("", 0), "{reached:?}");
        }
        case.refused_or_understood_once(&outcome);
    }
}

#[test]
fn a_body_that_reads_as_a_request_stays_a_body() {
    let case = Case::new();
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("smuggled"));
    let outcome = case.send(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{hidden}",
        case.target("attack"),
        hidden.len()
    ));
    outcome.assert_one_answer();
    let reached = case.reached("attack");
    assert_eq!(reached.len(), 1);
    assert_eq!(reached[0].text(), hidden);
    case.others_are_untouched();
}

#[test]
fn a_get_whose_body_reads_as_a_request_stays_one_request() {
    let case = Case::new();
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("smuggled"));
    let outcome = case.send(format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{hidden}",
        case.target("attack"),
        hidden.len()
    ));
    case.refused_or_understood_once(&outcome);
}

#[test]
fn a_body_that_ends_early_never_counts_as_whole() {
    let case = Case::new();
    let outcome = case.send_and_finish(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this",
        case.target("attack")
    ));
    assert!(!outcome.statuses().contains(&200), "{}", outcome.text());
    assert!(case.reached("attack").iter().all(|received| !received.complete));
    case.others_are_untouched();
}
