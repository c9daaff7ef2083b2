//! Fields that HTTP/2 forbids, or that would mean something else in HTTP/1.1 (RFC 9113, section 8).

use outrigger_test_support::h2_frame::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};

use super::{refused, refused_or_understood_once, send};
use crate::case::Case;

type Fields = Vec<(&'static str, String)>;

/// The fields of a good GET.
fn good(case: &Case) -> Fields {
    vec![
        (":method", "GET".to_owned()),
        (":scheme", "http".to_owned()),
        (":authority", "localhost".to_owned()),
        (":path", case.target("attack")),
    ]
}

fn with(case: &Case, name: &'static str, value: &str) -> Fields {
    let mut fields = good(case);
    fields.push((name, value.to_owned()));
    fields
}

fn without(case: &Case, name: &str) -> Fields {
    let mut fields = good(case);
    fields.retain(|(found, _)| *found != name);
    fields
}

fn changed(case: &Case, name: &str, change: impl Fn(&str) -> String) -> Fields {
    let mut fields = good(case);
    for (_, value) in fields.iter_mut().filter(|(found, _)| *found == name) {
        *value = change(value);
    }
    fields
}

fn headers(flags: u8, fields: &Fields) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    frame(HEADERS, flags | END_HEADERS, 1, &block(&fields))
}

macro_rules! cases {
    ($end:ident: $($name:ident => $fields:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let fields: Fields = ($fields)(&case);
                let frames = send(&case, headers(END_STREAM, &fields));
                $end(case, &frames, 1);
            }
        )+
    };
}

cases! { refused:
    a_pseudo_header_behind_a_header_is_refused => |case| {
        let mut fields = without(case, ":path");
        fields.push(("x-a", "1".to_owned()));
        fields.push((":path", case.target("attack")));
        fields
    };
    a_pseudo_header_twice_is_refused => |case| with(case, ":method", "POST");
    two_paths_are_refused => |case: &Case| with(case, ":path", &case.target("smuggled"));
    an_unknown_pseudo_header_is_refused => |case| with(case, ":evil", "1");
    a_status_in_a_request_is_refused => |case| with(case, ":status", "200");
    a_name_in_upper_case_is_refused => |case| with(case, "X-Upper", "1");
    a_name_with_a_colon_is_refused => |case| with(case, "x:a", "1");
    a_name_with_a_space_is_refused => |case| with(case, "x a", "1");
    a_name_with_a_line_break_is_refused => |case| with(case, "x\r\nsmuggled", "1");
    an_empty_name_is_refused => |case| with(case, "", "1");
    connection_is_refused => |case| with(case, "connection", "close");
    keep_alive_is_refused => |case| with(case, "keep-alive", "timeout=5");
    proxy_connection_is_refused => |case| with(case, "proxy-connection", "close");
    upgrade_is_refused => |case| with(case, "upgrade", "websocket");
    transfer_encoding_is_refused => |case| with(case, "transfer-encoding", "chunked");
    te_of_anything_but_trailers_is_refused => |case| with(case, "te", "gzip");
    no_method_is_refused => |case| without(case, ":method");
    no_path_is_refused => |case| without(case, ":path");
    an_empty_path_is_refused => |case| changed(case, ":path", |_| String::new());
    a_path_without_a_slash_is_refused => |case| changed(case, ":path", |path| path[1..].to_owned());
    an_asterisk_for_a_path_is_refused => |case| changed(case, ":path", |_| "*".to_owned());
    a_path_with_a_space_is_refused => |case| changed(case, ":path", |path| format!("{path} HTTP/1.1"));
    a_path_with_a_line_break_is_refused =>
        |case| changed(case, ":path", |path| format!("{path} HTTP/1.1\r\nX-Smuggled: 1\r\n\r\n"));
    a_path_with_nul_is_refused => |case| changed(case, ":path", |path| format!("{path}\0"));
    an_escaped_line_break_in_the_path_is_refused => |case| changed(case, ":path", |path| format!("{path}%0d%0aX:1"));
    an_absolute_url_for_a_path_is_refused =>
        |case| changed(case, ":path", |path| format!("http://evil.example{path}"));
    a_method_with_a_space_is_refused => |case| changed(case, ":method", |_| "GET / HTTP/1.1".to_owned());
    a_method_with_a_line_break_is_refused => |case| changed(case, ":method", |_| "GET\r\nX: 1".to_owned());
    an_empty_method_is_refused => |case| changed(case, ":method", |_| String::new());
    a_line_break_in_a_value_is_refused => |case: &Case| with(case, "x-a",
        &format!("1\r\n\r\nGET {} HTTP/1.1\r\nHost: a\r\n\r\n", case.target("smuggled")));
    a_bare_line_feed_in_a_value_is_refused => |case| with(case, "x-a", "1\nx-smuggled: 1");
    a_bare_carriage_return_in_a_value_is_refused => |case| with(case, "x-a", "1\rx-smuggled: 1");
    nul_in_a_value_is_refused => |case| with(case, "x-a", "1\0");
    an_authority_with_userinfo_is_refused => |case| changed(case, ":authority", |_| "user:word@localhost".to_owned());
    an_authority_of_another_machine_is_refused => |case| changed(case, ":authority", |_| "evil.example".to_owned());
    an_authority_with_a_line_break_is_refused => |case| changed(case, ":authority", |_| "localhost\r\nX: 1".to_owned());
    a_host_that_contradicts_the_authority_is_refused => |case| with(case, "host", "evil.example");
    two_hosts_are_refused => |case| {
        let mut fields = with(case, "host", "localhost");
        fields.push(("host", "evil.example".to_owned()));
        fields
    };
    connect_is_refused => |_| vec![(":method", "CONNECT".to_owned()), (":authority", "evil.example:80".to_owned())];
    extended_connect_is_refused => |case| {
        let mut fields = changed(case, ":method", |_| "CONNECT".to_owned());
        fields.push((":protocol", "websocket".to_owned()));
        fields
    };
    a_content_length_without_a_body_is_refused => |case| with(case, "content-length", "5");
    a_content_length_that_is_no_number_is_refused => |case| with(case, "content-length", "+0");
    two_content_lengths_are_refused => |case| {
        let mut fields = with(case, "content-length", "0");
        fields.push(("content-length", "5".to_owned()));
        fields
    };
    three_hundred_kib_of_headers_are_refused => |case| {
        let mut fields = good(case);
        fields.extend((0..30).map(|_| ("x-a", "a".repeat(10 * 1024))));
        fields
    };
    ten_thousand_headers_are_refused => |case| {
        let mut fields = good(case);
        fields.extend((0..10_000).map(|_| ("a", String::new())));
        fields
    };
}

cases! { refused_or_understood_once:
    te_trailers_is_understood => |case| with(case, "te", "trailers");
    a_host_beside_the_authority_is_understood_or_refused => |case| with(case, "host", "localhost");
    no_authority_but_a_host_is_understood_or_refused => |case| {
        let mut fields = without(case, ":authority");
        fields.push(("host", "localhost".to_owned()));
        fields
    };
    neither_authority_nor_host_is_understood_or_refused => |case| without(case, ":authority");
    no_scheme_is_understood_or_refused => |case| without(case, ":scheme");
    another_scheme_is_understood_or_refused => |case| changed(case, ":scheme", |_| "file".to_owned());
    cookie_crumbs_are_understood_or_refused => |case| {
        let mut fields = good(case);
        fields.extend((0..20).map(|number| ("cookie", format!("a{number}=1"))));
        fields
    };
}

#[test]
fn a_path_with_a_fragment_is_refused_or_its_fragment_reaches_nobody() {
    let case = Case::new();
    let fields = changed(&case, ":path", |path| format!("{path}#/../../admin"));
    let frames = send(&case, headers(END_STREAM, &fields));
    for reached in case.reached("attack") {
        assert_eq!(reached.target, format!("/attack-{}", case.mark()), "what policy saw is what the application got");
    }
    refused_or_understood_once(case, &frames, 1);
}

/// A POST that says `length` and sends `body`.
fn post(case: &Case, length: &str, body: &[u8]) -> super::Frames {
    let mut fields = changed(case, ":method", |_| "POST".to_owned());
    fields.push(("content-length", length.to_owned()));
    let mut bytes = headers(0, &fields);
    bytes.extend(frame(DATA, END_STREAM, 1, body));
    send(case, bytes)
}

fn never_whole(case: Case, frames: &super::Frames) {
    frames.assert_refused(1);
    assert!(case.reached("attack").iter().all(|received| !received.complete));
    case.others_are_untouched();
}

#[test]
fn less_data_than_the_content_length_never_counts_as_whole() {
    let case = Case::new();
    let frames = post(&case, "100", b"hello");
    never_whole(case, &frames);
}

#[test]
fn more_data_than_the_content_length_smuggles_nothing() {
    let case = Case::new();
    let hidden = format!("helloGET {} HTTP/1.1\r\nHost: a\r\n\r\n", case.target("smuggled"));
    let frames = post(&case, "5", hidden.as_bytes());
    frames.assert_refused(1);
    assert!(case.reached("attack").iter().all(|received| received.body.len() <= 5));
    case.others_are_untouched();
}

#[test]
fn a_pseudo_header_among_the_trailers_routes_nothing_and_reaches_nobody() {
    let case = Case::new();
    let fields = changed(&case, ":method", |_| "POST".to_owned());
    let mut bytes = headers(0, &fields);
    bytes.extend(frame(DATA, 0, 1, b"hello"));
    let smuggled = case.target("smuggled");
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[(":path", smuggled.as_str())])));
    let frames = send(&case, bytes);
    assert!(case.reached("attack").iter().all(|received| received.trailers.is_empty()));
    refused_or_understood_once(case, &frames, 1);
}

#[test]
fn trailers_that_do_not_end_the_stream_end_the_call() {
    let case = Case::new();
    let fields = changed(&case, ":method", |_| "POST".to_owned());
    let mut bytes = headers(0, &fields);
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &block(&[("x-t", "1")])));
    bytes.extend(frame(DATA, END_STREAM, 1, b"hello"));
    let frames = send(&case, bytes);
    never_whole(case, &frames);
}
