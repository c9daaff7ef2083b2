//! Message heads: bytes in, `http` types out.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use outrigger_wire::{Cause, Failure, Limits};

/// Most header fields that are parsed without an allocation; [`Limits`] has no more by default.
const FIELDS: usize = 100;

/// A response head.
#[derive(Debug)]
pub(in crate::http) struct ResponseHead {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) version: Version,
    pub(in crate::http) headers: HeaderMap,
}

/// How far a head that is not whole was looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Looked {
    parsed: usize,
    searched: usize,
}

impl Looked {
    /// Whether parsing is worth it: the end has come, or much since it was last tried (an error shows early then).
    fn again(&mut self, buffer: &[u8]) -> bool {
        let new = buffer.get(self.searched.saturating_sub(3)..).unwrap_or_default();
        let worth = self.parsed == 0 || buffer.len() >= self.parsed * 2 || has_end(new);
        self.searched = buffer.len();
        if worth {
            self.parsed = buffer.len();
        }
        worth
    }
}

fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// Takes a request head from the buffer; `None` when it is not whole yet.
///
/// # Errors
/// `Limit` for one too large, `BadInput` naming the part for one that is none.
pub(super) fn request(
    buffer: &mut BytesMut,
    looked: &mut Looked,
    limits: &Limits,
) -> Result<Option<Request<()>>, Failure> {
    if !looked.again(buffer) {
        return bounded(buffer, limits).map(|()| None);
    }
    let mut places = [MaybeUninit::uninit(); FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let most = Limits::size(limits.http1_headers).min(FIELDS);
    let places = places.get_mut(..most).unwrap_or_default();
    let length = match parsed.parse_with_uninit_headers(buffer, places) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return bounded(buffer, limits).map(|()| None),
        Err(error) => return Err(not_a_head(error, limits)),
    };
    if length as u64 > limits.http1_header_bytes {
        return Err(Failure::limit(limits.http1_header_bytes()));
    }
    let head = buffer.get(..length).unwrap_or_default();
    if has_bare_line_feed(head) {
        return Err(Failure::bad_input("request head", "\n", "a line ends with CR and LF (RFC 9112, section 2.2)"));
    }
    let method = parsed.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Failure::bad_input("method", method, "a token (RFC 9110, section 9.1)"))?;
    let version = version(parsed.version);
    let target = span(head, parsed.path.unwrap_or_default().as_bytes());
    let spans = Spans::of(head, parsed.headers);
    let head = buffer.split_to(length).freeze();
    let uri = target_uri(slice(&head, target), &method, limits)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = spans.headers(&head)?;
    Ok(Some(request))
}

/// Takes a response head from the buffer; `None` when it is not whole yet.
///
/// # Errors
/// `Protocol` for one that is none, or too large.
pub(super) fn response(
    buffer: &mut BytesMut,
    looked: &mut Looked,
    limits: &Limits,
) -> Result<Option<ResponseHead>, Failure> {
    let too_large = |_| broken("its response head is larger than allowed");
    if !looked.again(buffer) {
        return bounded(buffer, limits).map(|()| None).map_err(too_large);
    }
    let mut places = [MaybeUninit::uninit(); FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let most = Limits::size(limits.http1_headers).min(FIELDS);
    let places = places.get_mut(..most).unwrap_or_default();
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, buffer, places) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return bounded(buffer, limits).map(|()| None).map_err(too_large),
        Err(error) => return Err(broken(format!("its response head cannot be read: {error}"))),
    };
    if length as u64 > limits.http1_header_bytes {
        return Err(broken("its response head is larger than allowed"));
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
        .map_err(|_| broken("its status is not one of three digits"))?;
    let version = version(parsed.version);
    let spans = Spans::of(buffer.get(..length).unwrap_or_default(), parsed.headers);
    let head = buffer.split_to(length).freeze();
    let headers = spans.headers(&head).map_err(|failure| broken(failure.to_string()))?;
    Ok(Some(ResponseHead { status, version, headers }))
}

/// The fields of a trailer section, with the empty line behind them.
pub(super) fn fields(section: Bytes, most: usize) -> Result<HeaderMap, Failure> {
    let invalid = || Failure::bad_input("trailers", &section, "header fields, each on a line of its own");
    if has_bare_line_feed(&section) {
        return Err(invalid());
    }
    let mut places = [httparse::EMPTY_HEADER; FIELDS];
    let places = places.get_mut(..most.min(FIELDS)).unwrap_or_default();
    match httparse::parse_headers(&section, places) {
        Ok(httparse::Status::Complete((length, headers))) if length == section.len() => {
            Spans::of(&section, headers).headers(&section)
        }
        _ => Err(invalid()),
    }
}

fn bounded(buffer: &BytesMut, limits: &Limits) -> Result<(), Failure> {
    if buffer.len() as u64 >= limits.http1_header_bytes {
        return Err(Failure::limit(limits.http1_header_bytes()));
    }
    Ok(())
}

fn not_a_head(error: httparse::Error, limits: &Limits) -> Failure {
    match error {
        httparse::Error::TooManyHeaders => Failure::limit(limits.http1_headers()),
        error => Failure::bad_input("request head", error.to_string(), "an HTTP/1.1 request (RFC 9112)"),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Some readers end a line there and some do not.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut before = 0;
    for byte in head {
        if *byte == b'\n' && before != b'\r' {
            return true;
        }
        before = *byte;
    }
    false
}

fn target_uri(target: Bytes, method: &Method, limits: &Limits) -> Result<Uri, Failure> {
    let invalid = |target: &[u8]| Failure::bad_input("request target", target, "a path, or a URL, of visible ASCII");
    let origin_form = target.starts_with(b"/");
    if target.len() > usize::from(u16::MAX - 1) {
        return Err(Failure::limit(limits.path_bytes()));
    }
    let uri = Uri::from_maybe_shared(target.clone()).map_err(|_| invalid(&target))?;
    // `example.com:80` alone is CONNECT's form, and nobody's path.
    if !origin_form && uri.scheme().is_none() && uri.path() != "*" && method != Method::CONNECT {
        return Err(invalid(&target));
    }
    Ok(uri)
}

/// A place in a head.
type Span = (usize, usize);

fn span(head: &[u8], part: &[u8]) -> Span {
    // Both are of one buffer: httparse gives slices of what it parsed.
    let start = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
    (start, start + part.len())
}

fn slice(head: &Bytes, (start, end): Span) -> Bytes {
    if start <= end && end <= head.len() { head.slice(start..end) } else { Bytes::new() }
}

/// Places of names and values, so that the values can share the head's bytes.
struct Spans {
    all: [(Span, Span); FIELDS],
    count: usize,
}

impl Spans {
    fn of(head: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let mut all = [((0, 0), (0, 0)); FIELDS];
        for (place, header) in all.iter_mut().zip(headers) {
            *place = (span(head, header.name.as_bytes()), span(head, header.value));
        }
        Self { all, count: headers.len() }
    }

    fn headers(&self, head: &Bytes) -> Result<HeaderMap, Failure> {
        let mut map = HeaderMap::with_capacity(self.count);
        for (name, value) in self.all.iter().take(self.count) {
            let name = slice(head, *name);
            let name = HeaderName::from_bytes(&name)
                .map_err(|_| Failure::bad_input("header name", &name, "a token (RFC 9110, section 5.1)"))?;
            let value = slice(head, *value);
            let value = HeaderValue::from_maybe_shared(value.clone())
                .map_err(|_| Failure::bad_input("header value", &value, "visible characters, spaces and tabs"))?;
            map.append(name, value);
        }
        Ok(map)
    }
}

/// An app that breaks the protocol.
pub(super) fn broken(reason: impl Into<String>) -> Failure {
    Failure::new(Cause::Protocol { peer: "the app".to_owned(), reason: reason.into() })
}

/// The body's length as the head gives it; `None` when it names none.
///
/// # Errors
/// When it gives more than one, or what is no number.
pub(in crate::http) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    match outrigger_wire::header::content_length(headers) {
        Some(length) => Ok(Some(length)),
        None => Err(Failure::bad_input("Content-Length", value, "one decimal number, once")),
    }
}

/// Whether the body is chunked.
///
/// # Errors
/// When it is coded in any other way, or in more than one.
pub(in crate::http) fn is_chunked(headers: &HeaderMap) -> Result<bool, Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::bad_input("Transfer-Encoding", coding, "the one transfer coding understood is `chunked`"));
    }
    Ok(true)
}

/// Whether a list-valued header has this word.
pub(super) fn names(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
}

/// Whether the sender keeps the connection after this message (RFC 9112, section 9.3).
pub(in crate::http) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    if !headers.contains_key(CONNECTION) {
        return version == Version::HTTP_11;
    }
    if names(headers, &CONNECTION, b"close") {
        return false;
    }
    version == Version::HTTP_11 || names(headers, &CONNECTION, b"keep-alive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], size: usize) -> Result<Option<Request<()>>, Failure> {
        let (mut buffer, mut looked, limits) = (BytesMut::new(), Looked::default(), Limits::default());
        for piece in text.chunks(size) {
            buffer.extend_from_slice(piece);
            if let Some(request) = request(&mut buffer, &mut looked, &limits)? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_the_same_however_its_bytes_come() {
        let text = b"\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:\t2 \r\n\r\n";
        for size in 1..text.len() {
            let request = read(text, size).unwrap().unwrap();
            assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, "/a?b".to_owned()));
            assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        }
    }

    #[test]
    fn a_head_that_is_none_is_refused_by_its_part() {
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(count));
        let long = |length| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(length));
        for (text, name) in [
            ("GET / HTTP/1.1\nHost: x\n\n".to_owned(), "bad_input"),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n".to_owned(), "bad_input"),
            ("GET / HTTP/1.1\r\nX-A: 1\r\n y\r\n\r\n".to_owned(), "bad_input"),
            ("GET / HTTP/1.1\r\nX-A : 1\r\n\r\n".to_owned(), "bad_input"),
            ("GET / HTTP/1.1\r\nX-A: \0\r\n\r\n".to_owned(), "bad_input"),
            ("GET / HTTP/1.1\r\nX-A: a\rb\r\n\r\n".to_owned(), "bad_input"),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), "bad_input"),
            ("GET example.com:80 HTTP/1.1\r\n\r\n".to_owned(), "bad_input"),
            ("GET /  HTTP/1.1\r\n\r\n".to_owned(), "bad_input"),
            (fields(101), "limit"),
            (long(70_000), "limit"),
        ] {
            assert_eq!(read(text.as_bytes(), text.len()).unwrap_err().name(), name, "{text:.60}");
        }
        assert!(read(fields(100).as_bytes(), 7).unwrap().is_some());
        assert!(read(long(60_000).as_bytes(), 1_000).unwrap().is_some());
    }
}
