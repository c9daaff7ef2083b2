//! An HTTP request and response as messages of `InvokeService`.

use std::collections::HashMap;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use outrigger_proto::runtime::http_extension::Verb;
use outrigger_proto::runtime::{ErrorInfo, InvokeRequest, InvokeResponse};
use outrigger_wire::{Body, Failure};
use prost::Message as _;
use prost_types::Any;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::named;

/// The response's HTTP status, for callers that want it.
const HTTP_STATUS: HeaderName = HeaderName::from_static("dapr-http-status");
/// Bytes of an error's body that are told in its details; stock tells no more.
const DETAIL_BYTES: usize = 63;

/// The HTTP request that a message means; `metadata` become its headers.
///
/// # Errors
/// `BadInput` for a message without a verb, or with a method or query that cannot stand in a URL.
pub(super) fn request(message: InvokeRequest, mut metadata: HeaderMap) -> Result<Request<Body>, Failure> {
    let extension = message.http_extension.unwrap_or_default();
    let method = verb(extension.verb()).ok_or_else(|| {
        Failure::bad_input("http_extension.verb", "NONE", "say which HTTP verb the app is called with")
    })?;
    let mut target = format!("/{}", message.method.trim_start_matches('/'));
    if !extension.querystring.is_empty() {
        target.push('?');
        target.push_str(&extension.querystring);
    }
    let uri = Uri::try_from(target.as_str())
        .map_err(|_| Failure::bad_input("method", &target, "a path of visible ASCII, anything else percent-encoded"))?;
    strip_grpc(&mut metadata);
    if !message.content_type.is_empty() {
        let value = HeaderValue::try_from(message.content_type.as_str());
        let value = value.map_err(|_| Failure::bad_input("content_type", &message.content_type, "a media type"))?;
        metadata.insert(header::CONTENT_TYPE, value);
    }
    let mut request = Request::new(Body::full(message.data.unwrap_or_default().value));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = metadata;
    Ok(request)
}

/// The message that an HTTP response means: data for a status of 2xx, else an error with
/// the code that `code` gives. Headers become metadata either way.
pub(super) fn answer(
    response: Response<Bytes>,
    code: impl Fn(StatusCode) -> u32,
) -> Result<tonic::Response<InvokeResponse>, Status> {
    let (head, body) = response.into_parts();
    let metadata = MetadataMap::from_headers(metadata(&head.headers, head.status));
    let code = code(head.status);
    if code != 0 {
        let code = Code::from(i32::try_from(code).unwrap_or_default());
        let text = head.status.canonical_reason().unwrap_or("Unknown");
        return Err(Status::with_details_and_metadata(code, text, details(code, head.status, text, &body), metadata));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let message = InvokeResponse {
        data: Some(Any { type_url: String::new(), value: body.to_vec() }),
        content_type: content_type.unwrap_or("application/json").to_owned(),
    };
    Ok(tonic::Response::from_parts(metadata, message, ::http::Extensions::new()))
}

fn verb(verb: Verb) -> Option<Method> {
    Some(match verb {
        Verb::None => return None,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Connect => Method::CONNECT,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    })
}

/// Removes what is of the gRPC message and not of the HTTP one in it.
fn strip_grpc(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_of_grpc(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_of_grpc(name: &str) -> bool {
    matches!(name, "content-type" | "content-length" | "te") || name.starts_with("grpc-") || name.ends_with("-bin")
}

/// An HTTP response's headers as gRPC metadata: those that HTTP gives a meaning get the prefix `dapr-`.
fn metadata(headers: &HeaderMap, status: StatusCode) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let name = match name.as_str() {
            binary if binary.ends_with("-bin") => continue,
            http if named::is_of_http(http) => HeaderName::try_from(format!("dapr-{http}")).ok(),
            _ => Some(name.clone()),
        };
        if let Some(name) = name {
            metadata.append(name, value.clone());
        }
    }
    metadata.insert(HTTP_STATUS, HeaderValue::from(status.as_u16()));
    metadata
}

/// `google.rpc.Status` with one `google.rpc.ErrorInfo`, as the stock runtime gives it.
fn details(code: Code, status: StatusCode, text: &str, body: &[u8]) -> Bytes {
    let shown = body.get(..DETAIL_BYTES).unwrap_or(body);
    let info = ErrorInfo {
        reason: text.to_owned(),
        domain: "dapr.io".to_owned(),
        metadata: HashMap::from([
            ("http.code".to_owned(), status.as_str().to_owned()),
            ("http.error_message".to_owned(), String::from_utf8_lossy(shown).into_owned()),
        ]),
    };
    let info = Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: info.encode_to_vec() };
    let status = outrigger_proto::runtime::Status { code: code.into(), message: text.to_owned(), details: vec![info] };
    status.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use outrigger_blocks::error::grpc_code;
    use outrigger_proto::runtime::HttpExtension;

    use super::*;

    fn message(verb: Verb, method: &str, querystring: &str) -> InvokeRequest {
        InvokeRequest {
            method: method.into(),
            data: Some(Any { type_url: String::new(), value: b"hello".to_vec() }),
            content_type: "text/plain".into(),
            http_extension: Some(HttpExtension { verb: verb.into(), querystring: querystring.into() }),
        }
    }

    #[test]
    fn a_message_becomes_the_request_it_means() {
        let metadata =
            [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1S"), ("x-kept", "1")]
                .into_iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
                .collect();
        let request = request(message(Verb::Put, "new/order", "a=1"), metadata).unwrap();
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::PUT, "/new/order?a=1"));
        let mut names: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        names.sort_unstable();
        assert_eq!(names, [("content-type", "text/plain"), ("x-kept", "1")]);
        assert_eq!(request.body().as_full().unwrap(), "hello");
    }

    #[test]
    fn a_message_that_means_none_is_refused() {
        for bad in [
            message(Verb::None, "x", ""),
            message(Verb::Get, "a b", ""),
            message(Verb::Get, "a", "\n"),
            InvokeRequest::default(),
        ] {
            assert_eq!(request(bad, HeaderMap::new()).unwrap_err().name(), "bad_input");
        }
    }

    #[test]
    fn a_response_becomes_data_or_an_error_that_tells_its_status() {
        let response = |status: u16| {
            let builder = Response::builder().status(status).header("content-type", "text/plain").header("x-kept", "1");
            answer(builder.body(Bytes::from_static(b"words")).unwrap(), grpc_code)
        };
        let good = response(201).unwrap();
        assert_eq!(
            (&good.get_ref().data.as_ref().unwrap().value[..], good.get_ref().content_type.as_str()),
            (&b"words"[..], "text/plain")
        );
        let of = |metadata: &MetadataMap| {
            ["dapr-http-status", "dapr-content-type", "x-kept"]
                .map(|name| metadata.get(name).unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(of(good.metadata()), ["201", "text/plain", "1"]);
        let bad = response(404).unwrap_err();
        assert_eq!((bad.code(), bad.message()), (Code::NotFound, "Not Found"));
        assert_eq!(of(bad.metadata()), ["404", "text/plain", "1"]);
        let details = outrigger_proto::runtime::Status::decode(bad.details()).unwrap();
        let info = ErrorInfo::decode(&details.details[0].value[..]).unwrap();
        assert_eq!(
            (info.metadata["http.code"].as_str(), info.metadata["http.error_message"].as_str()),
            ("404", "words")
        );
    }
}
