//! Heads: HTTP's fields and the messages that stand for them.

use std::collections::HashMap;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use outrigger_identity::AppId;
use outrigger_proto::common::v1::http_extension::Verb;
use outrigger_proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use outrigger_proto::internals::v1::{
    ApiVersion, InternalInvokeRequest, InternalInvokeResponse, ListStringValue, Status,
};
use outrigger_wire::{Body, Cause, Failure, Limits, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::message::broken;

type Metadata = HashMap<String, ListStringValue>;

/// Content type of a body whose type is told by a URL.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The head of a call, as its message.
///
/// # Errors
/// `Unsupported` for what this wire cannot carry: a method of HTTP without a number, an
/// upgrade, and a path that means another once it is decoded.
pub(super) fn request(head: &Parts, caller: &AppId, callee: &AppId) -> Result<InternalInvokeRequest, Failure> {
    let unsupported = |what: String| Failure::new(Cause::Unsupported { what });
    let verb = verb(&head.method).ok_or_else(|| {
        unsupported(format!(
            "the HTTP method {} in a call of a stock sidecar, whose wire has none by that name",
            head.method
        ))
    })?;
    if head.headers.contains_key(http::header::UPGRADE) || head.headers.contains_key("sec-websocket-key") {
        return Err(unsupported(
            "an upgrade such as WebSocket to the app of a stock sidecar, whose wire cannot carry it".into(),
        ));
    }
    let mut metadata = metadata(&head.headers);
    for (name, value) in [
        (header::DESTINATION_APP_ID, callee.app_id()),
        (header::CALLEE_APP_ID, callee.app_id()),
        (header::CALLER_APP_ID, caller.app_id()),
        (header::CALLER_NAMESPACE, caller.namespace()),
    ] {
        metadata.insert(name.as_str().to_owned(), ListStringValue { values: vec![value.to_owned()] });
    }
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(InternalInvokeRequest {
        ver: ApiVersion::V1.into(),
        metadata,
        message: Some(InvokeRequest {
            method: method(head.uri.path())?,
            data: None,
            content_type: content_type.to_owned(),
            http_extension: Some(HttpExtension {
                verb: verb.into(),
                querystring: head.uri.query().unwrap_or_default().to_owned(),
            }),
        }),
    })
}

/// A path as stock's sidecars write it: decoded, without its first slash.
///
/// The callee's sidecar pastes it into a URL, so what would be read otherwise there cannot be sent.
fn method(path: &str) -> Result<String, Failure> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    if !relative.contains('%') {
        return Ok(relative.to_owned());
    }
    let changes = |segment: &str| segment.contains(['/', '%', '?', '#', '\\']) || segment.contains(char::is_control);
    let mut decoded = String::with_capacity(relative.len());
    for (number, segment) in relative.split('/').enumerate() {
        let segment = percent_decode_str(segment).decode_utf8().ok().filter(|segment| !changes(segment));
        let segment = segment.ok_or_else(|| {
            let what =
                format!("the path {path} in a call of a stock sidecar, whose wire would carry it decoded, as another");
            Failure::new(Cause::Unsupported { what })
        })?;
        if number > 0 {
            decoded.push('/');
        }
        decoded.push_str(&segment);
    }
    Ok(decoded)
}

/// A call's head, read: a request of HTTP without its body.
///
/// # Errors
/// `Protocol` where what a head must have is missing; `BadInput` for a path that is none;
/// `Limit` for more fields than may be.
pub(super) fn read_request(message: InternalInvokeRequest, limits: &Limits) -> Result<(Request<()>, Vec<u8>), Failure> {
    let InternalInvokeRequest { metadata, message, .. } = message;
    let call = message.ok_or_else(|| broken("a call without its message"))?;
    let extension = call.http_extension.unwrap_or_default();
    let verb =
        Verb::try_from(extension.verb).map_err(|_| broken(format!("the HTTP method number {}", extension.verb)))?;
    let data = call.data.unwrap_or_default();
    let mut request = Request::new(());
    *request.method_mut() = of_verb(verb);
    *request.uri_mut() = uri(&call.method, &extension.querystring)?;
    *request.headers_mut() = headers(metadata, limits)?;
    content_type(request.headers_mut(), call.content_type, &data.type_url);
    Ok((request, data.value))
}

/// The head of an answer, as its message.
pub(super) fn response<B>(response: &Response<B>) -> InternalInvokeResponse {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    InternalInvokeResponse {
        status: Some(Status {
            code: i32::from(response.status().as_u16()),
            message: response.status().canonical_reason().unwrap_or_default().to_owned(),
            details: Vec::new(),
        }),
        headers: metadata(response.headers()),
        trailers: HashMap::new(),
        message: Some(InvokeResponse { data: None, content_type: content_type.to_owned() }),
    }
}

/// An answer's head, read.
pub(super) struct Answer {
    pub(super) response: Response<()>,
    /// The whole body of an answer that is one message.
    pub(super) data: Vec<u8>,
    /// What to say in place of a body: an app that speaks gRPC failed.
    pub(super) instead: Option<Body>,
}

/// # Errors
/// `Protocol` where what a head must have is missing; `Limit` for more fields than may be.
pub(super) fn read_response(message: InternalInvokeResponse, limits: &Limits) -> Result<Answer, Failure> {
    let status = message.status.ok_or_else(|| broken("an answer without a status"))?;
    let answer = message.message.unwrap_or_default();
    let data = answer.data.unwrap_or_default();
    let mut response = Response::new(());
    *response.headers_mut() = headers(message.headers, limits)?;
    content_type(response.headers_mut(), answer.content_type, &data.type_url);
    let code = u16::try_from(status.code).map_err(|_| broken(format!("the status {}", status.code)))?;
    let mut instead = None;
    if code >= 100 {
        *response.status_mut() = StatusCode::from_u16(code).map_err(|_| broken(format!("the status {code}")))?;
        if response.status().is_informational() {
            return Err(broken(format!("the status {code}, which is not the end of a call")));
        }
    } else {
        *response.status_mut() = http_status(code);
        if code != 0 {
            instead = Some(Body::from(status_json(code, &status.message)));
            response.headers_mut().remove(CONTENT_LENGTH);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
    }
    Ok(Answer { response, data: data.value, instead })
}

/// The status of HTTP for a code of gRPC, as stock's sidecars map them.
fn http_status(code: u16) -> StatusCode {
    match code {
        0 => StatusCode::OK,
        1 => StatusCode::REQUEST_TIMEOUT,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_json(code: u16, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 32);
    for c in message.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if u32::from(c) < 0x20 => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    format!(r#"{{"code":{code},"message":"{text}"}}"#)
}

/// Fields by names written as Go writes them, which stock compares as they are.
fn metadata(headers: &HeaderMap) -> Metadata {
    let mut metadata = Metadata::with_capacity(headers.keys_len() + 4);
    for name in headers.keys().filter(|name| **name != http::header::HOST && **name != http::header::TE) {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        metadata.insert(as_go_writes(name.as_str()), ListStringValue { values: values.collect() });
    }
    metadata
}

fn as_go_writes(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|c| {
            let written = if begins { c.to_ascii_uppercase() } else { c };
            begins = c == '-';
            written
        })
        .collect()
}

/// Fields by names as HTTP/2 writes them; what cannot be a field of HTTP is left out.
fn headers(metadata: Metadata, limits: &Limits) -> Result<HeaderMap, Failure> {
    let fields: usize = metadata.values().map(|list| list.values.len()).sum();
    if fields as u64 > limits.http2_headers {
        return Err(Failure::limit(limits.http2_headers()));
    }
    let mut headers = HeaderMap::with_capacity(fields);
    for (name, list) in metadata {
        let Some(name) = field_name(&name) else { continue };
        for value in list.values {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    Ok(headers)
}

/// gRPC's own metadata goes to an app of HTTP by other names, its binary values not at all.
fn field_name(name: &str) -> Option<HeaderName> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with("-bin") {
        return None;
    }
    let name = match lower.strip_prefix(':') {
        Some(pseudo) => format!("dapr-{pseudo}"),
        None if lower.starts_with("grpc-") => format!("dapr-{lower}"),
        None => lower,
    };
    HeaderName::try_from(name).ok()
}

fn content_type(headers: &mut HeaderMap, said: String, type_url: &str) {
    headers.remove(CONTENT_TYPE);
    if !type_url.is_empty() {
        headers.insert(CONTENT_TYPE, PROTOBUF);
    } else if !said.is_empty()
        && let Ok(value) = HeaderValue::try_from(said)
    {
        headers.insert(CONTENT_TYPE, value);
    }
}

fn verb(method: &Method) -> Option<Verb> {
    Some(match method.as_str() {
        "GET" => Verb::Get,
        "HEAD" => Verb::Head,
        "POST" => Verb::Post,
        "PUT" => Verb::Put,
        "DELETE" => Verb::Delete,
        "CONNECT" => Verb::Connect,
        "OPTIONS" => Verb::Options,
        "TRACE" => Verb::Trace,
        "PATCH" => Verb::Patch,
        _ => return None,
    })
}

/// A call that came by gRPC names none; it is one that sends something.
fn of_verb(verb: Verb) -> Method {
    match verb {
        Verb::None | Verb::Post => Method::POST,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Connect => Method::CONNECT,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    }
}

/// The path that a decoded one stands for.
fn uri(method: &str, query: &str) -> Result<Uri, Failure> {
    /// What cannot stand in a path as it is (RFC 3986, section 3.3). Escapes stay: stock's callee decodes them too.
    const ESCAPED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let slash = if method.starts_with('/') { "" } else { "/" };
    let mut target = format!("{slash}{}", utf8_percent_encode(method, ESCAPED));
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    let path =
        PathAndQuery::try_from(target).map_err(|error| Failure::bad_input("method", method, error.to_string()))?;
    Ok(Uri::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, rows: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in rows {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn app(name: &str) -> AppId {
        AppId::new("default", name).unwrap()
    }

    #[test]
    fn a_request_survives_the_way_there() {
        let rows = [
            ("content-type", "text/plain"),
            ("x-two", "1"),
            ("x-two", "2"),
            ("accept", "*/*"),
            ("content-length", "3"),
        ];
        let sent = parts("PUT", "http://b.default/a%20b/c?q=%2F&r", &rows);
        let message = request(&sent, &app("a"), &app("b")).unwrap();
        assert_eq!(message.metadata["X-Two"].values, ["1", "2"]);
        assert_eq!(message.metadata["dapr-caller-app-id"].values, ["a"]);
        assert_eq!(message.metadata["destination-app-id"].values, ["b"]);
        assert_eq!(message.message.as_ref().unwrap().method, "a b/c");
        let (read, _) = read_request(message, &Limits::default()).unwrap();
        assert_eq!((read.method().as_str(), read.uri().to_string().as_str()), ("PUT", "/a%20b/c?q=%2F&r"));
        for (name, value) in rows.into_iter().filter(|(name, _)| *name != "x-two") {
            assert_eq!(read.headers()[name], value);
        }
        assert_eq!(read.headers().get_all("x-two").iter().count(), 2);
    }

    #[test]
    fn what_the_wire_would_carry_as_something_else_is_refused() {
        for (method, uri, rows) in [
            ("GET", "/a%2Fb", &[][..]),
            ("GET", "/a%5Cb", &[]),
            ("GET", "/100%25", &[]),
            ("GET", "/a%3Fb", &[]),
            ("GET", "/%ff", &[]),
            ("PURGE", "/", &[]),
            ("GET", "/", &[("upgrade", "websocket")]),
        ] {
            let failure = request(&parts(method, uri, rows), &app("a"), &app("b")).unwrap_err();
            assert_eq!(failure.name(), "unsupported", "{method} {uri}");
        }
    }

    #[test]
    fn a_peer_cannot_write_a_head_that_http_has_not() {
        let values = |text: &str| ListStringValue { values: vec![text.to_owned()] };
        let metadata = Metadata::from([
            ("X-A".to_owned(), values("1\r\nx-b: 2")),
            ("x c".to_owned(), values("1")),
            (":authority".to_owned(), values("evil")),
            ("grpc-timeout".to_owned(), values("1S")),
            ("x-bin".to_owned(), values("AA==")),
            ("Content-Type".to_owned(), values("a/b")),
        ]);
        let message = InvokeRequest { method: "x".into(), ..InvokeRequest::default() };
        let head = InternalInvokeRequest { ver: 1, metadata, message: Some(message) };
        let (read, _) = read_request(head, &Limits::default()).unwrap();
        let mut names: Vec<_> = read.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["dapr-authority", "dapr-grpc-timeout"]);
        assert_eq!(read.method(), Method::POST);
    }

    #[test]
    fn a_status_of_grpc_becomes_one_of_http() {
        for (code, status) in [(200, 200), (404, 404), (0, 200), (5, 404), (7, 403), (13, 500), (14, 503), (99, 500)] {
            let message = InternalInvokeResponse {
                status: Some(Status { code, message: "no \"x\"\n".into(), details: Vec::new() }),
                ..InternalInvokeResponse::default()
            };
            let answer = read_response(message, &Limits::default()).unwrap();
            assert_eq!(answer.response.status().as_u16(), status, "{code}");
            assert_eq!(answer.instead.is_some(), (1..100).contains(&code));
        }
        for code in [-1, 100, 101, 1_000, 70_000] {
            let status = Some(Status { code, ..Status::default() });
            let message = InternalInvokeResponse { status, ..InternalInvokeResponse::default() };
            assert!(read_response(message, &Limits::default()).is_err(), "{code}");
        }
        assert_eq!(status_json(5, "no \"x\"\n"), r#"{"code":5,"message":"no \"x\"\u000a"}"#);
    }
}
