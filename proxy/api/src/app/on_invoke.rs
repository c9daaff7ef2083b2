//! An HTTP invocation of a gRPC app: one call of `AppCallback/OnInvoke`, as in the stock runtime.
//!
//! The request is a message then, and so is the answer: both are held whole, within
//! `Limits::message_bytes`.

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use outrigger_proto::runtime::http_extension::Verb;
use outrigger_proto::runtime::{HttpExtension, InvokeRequest, InvokeResponse};
use outrigger_wire::{Body, Cause, Failure, Limits};
use prost::Message as _;
use prost_types::Any;

use crate::grpc::status;
use crate::named;

const PATH: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

/// Length prefix of a gRPC message: a flag and four bytes.
const PREFIX: usize = 5;

/// The call of `OnInvoke` that an HTTP request becomes.
///
/// # Errors
/// `Unsupported` for a verb that the message cannot name, `Limit` for a body past the
/// bound, and what breaks the body off.
pub(super) async fn request(request: Request<Body>, limits: &Limits) -> Result<Request<Body>, Failure> {
    let (head, body) = request.into_parts();
    let verb = verb(&head.method)?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let message = InvokeRequest {
        method: head.uri.path().trim_start_matches('/').to_owned(),
        content_type: content_type.to_owned(),
        data: Some(Any { type_url: String::new(), value: whole(body, limits).await?.into() }),
        http_extension: Some(HttpExtension {
            verb: verb.into(),
            querystring: head.uri.query().unwrap_or_default().to_owned(),
        }),
    };
    let mut headers = metadata(&head.headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut call = Request::new(Body::full(framed(&message)));
    *call.method_mut() = Method::POST;
    *call.uri_mut() = Uri::from_static(PATH);
    *call.headers_mut() = headers;
    Ok(call)
}

/// The HTTP answer that the app's answer to `OnInvoke` becomes.
///
/// # Errors
/// `Protocol` for what is no answer to a unary call, `Limit` for one past the bound.
pub(super) async fn response(answer: Response<Body>, limits: &Limits) -> Result<Response<Body>, Failure> {
    let (head, body) = answer.into_parts();
    let limit = limits.message_bytes();
    let body = Limited::new(body, Limits::size(limit.value).saturating_add(PREFIX)).collect().await;
    let body = body.map_err(|error| error.downcast::<Failure>().map_or_else(|_| Failure::limit(limit), |own| *own))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let code = status::read(&trailers).or_else(|| status::read(&head.headers));
    let code = code.ok_or_else(|| broken("its answer to OnInvoke has no grpc-status"))?;
    let mut headers = http_headers(&head.headers);
    let mut response = Response::new(Body::empty());
    if code == 0 {
        let message = unframed(body.to_bytes())?;
        if let Ok(value) = HeaderValue::try_from(message.content_type) {
            headers.insert(CONTENT_TYPE, value);
        }
        *response.body_mut() = Body::full(message.data.unwrap_or_default().value);
    } else {
        let said = if trailers.is_empty() { &head.headers } else { &trailers };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let error = serde_json::json!({ "code": code, "message": status::message(said), "details": [] });
        *response.body_mut() = Body::from(Bytes::from(error.to_string()));
        *response.status_mut() = http_status(code);
    }
    *response.headers_mut() = headers;
    Ok(response)
}

async fn whole(body: Body, limits: &Limits) -> Result<Bytes, Failure> {
    let limit = limits.message_bytes();
    match Limited::new(body, Limits::size(limit.value)).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(error.downcast::<Failure>().map_or_else(|_| Failure::limit(limit), |own| *own)),
    }
}

fn framed(message: &InvokeRequest) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    // Bounded by `message_bytes`, far below four bytes' worth.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn unframed(bytes: Bytes) -> Result<InvokeResponse, Failure> {
    let (Some([0, length @ ..]), Some(message)) = (bytes.first_chunk::<PREFIX>(), bytes.get(PREFIX..)) else {
        return Err(broken("its answer to OnInvoke is no uncompressed gRPC message"));
    };
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err(broken("its answer to OnInvoke is not one message"));
    }
    InvokeResponse::decode(message).map_err(|_| broken("its answer to OnInvoke is no InvokeResponse"))
}

fn broken(reason: &str) -> Failure {
    Cause::Protocol { peer: "the app".to_owned(), reason: reason.to_owned() }.into()
}

fn verb(method: &Method) -> Result<Verb, Failure> {
    Verb::from_str_name(method.as_str()).filter(|verb| *verb != Verb::None).ok_or_else(|| {
        let what =
            format!("the verb {method} towards an app that speaks gRPC; OnInvoke knows those of RFC 9110 and PATCH");
        Cause::Unsupported { what }.into()
    })
}

/// HTTP headers as metadata: those that HTTP gives a meaning with the prefix `dapr-`.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        let name = match name.as_str() {
            // What it says is in the message, or is the connection's own.
            "content-type" | "content-length" | "te" => continue,
            binary if binary.ends_with("-bin") && binary != "grpc-trace-bin" => continue,
            http if named::is_of_http(http) && http != "grpc-trace-bin" => {
                HeaderName::try_from(format!("dapr-{http}")).ok()
            }
            _ => Some(name.clone()),
        };
        if let Some(name) = name {
            metadata.append(name, value.clone());
        }
    }
    metadata
}

/// An answer's metadata as headers, without what is of gRPC.
fn http_headers(metadata: &HeaderMap) -> HeaderMap {
    let of_grpc = |name: &str| {
        matches!(name, "content-type" | "content-length" | "date")
            || name.starts_with("grpc-")
            || name.ends_with("-bin")
    };
    metadata
        .iter()
        .filter(|(name, _)| !of_grpc(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The HTTP status that a gRPC code becomes, as the stock runtime has it.
fn http_status(code: u32) -> StatusCode {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_becomes_the_message_that_stock_sends() {
        let sent =
            Request::put("/new/order?a=1").header("content-type", "text/plain").header("host", "x").header("x-a", "1");
        let call = request(sent.body(Body::full("hello")).unwrap(), &Limits::default()).await.unwrap();
        assert_eq!((call.method(), call.uri().path()), (&Method::POST, PATH));
        assert_eq!(
            (&call.headers()["x-a"], &call.headers()["dapr-host"]),
            (&"1".parse().unwrap(), &"x".parse().unwrap())
        );
        let bytes = call.body().as_full().unwrap();
        let message = InvokeRequest::decode(&bytes[PREFIX..]).unwrap();
        assert_eq!((message.method.as_str(), message.content_type.as_str()), ("new/order", "text/plain"));
        assert_eq!(message.data.unwrap().value, b"hello");
        let extension = message.http_extension.unwrap();
        assert_eq!((extension.verb(), extension.querystring.as_str()), (Verb::Put, "a=1"));
    }

    #[tokio::test]
    async fn a_verb_that_has_no_number_and_a_body_past_the_bound_are_refused() {
        let brew = Request::builder().method("BREW").uri("/x").body(Body::empty()).unwrap();
        assert_eq!(request(brew, &Limits::default()).await.unwrap_err().name(), "unsupported");
        let limits = Limits { message_bytes: 4, ..Limits::default() };
        let large = Request::post("/x").body(Body::full("hello")).unwrap();
        assert_eq!(request(large, &limits).await.unwrap_err().name(), "limit");
    }

    #[tokio::test]
    async fn an_answer_becomes_its_data_or_its_error() {
        let message = InvokeResponse {
            data: Some(Any { type_url: String::new(), value: b"words".to_vec() }),
            content_type: "text/plain".into(),
        };
        let mut bytes = vec![0, 0, 0, 0, u8::try_from(message.encoded_len()).unwrap()];
        bytes.extend(message.encode_to_vec());
        let answer = |code: &'static str, body: Vec<u8>| {
            Response::builder()
                .header("x-kept", "1")
                .header("grpc-status", code)
                .header("grpc-message", "no%20such")
                .body(Body::from(Bytes::from(body)))
                .unwrap()
        };
        let good = response(answer("0", bytes), &Limits::default()).await.unwrap();
        assert_eq!((good.status().as_u16(), &good.headers()["content-type"]), (200, &"text/plain".parse().unwrap()));
        assert_eq!(good.body().as_full().unwrap(), "words");
        let bad = response(answer("5", Vec::new()), &Limits::default()).await.unwrap();
        assert_eq!((bad.status().as_u16(), &bad.headers()["x-kept"]), (404, &"1".parse().unwrap()));
        assert_eq!(bad.body().as_full().unwrap(), r#"{"code":5,"details":[],"message":"no such"}"#);
        for broken in [vec![], vec![1, 0, 0, 0, 0], vec![0, 0, 0, 0, 9]] {
            assert_eq!(response(answer("0", broken), &Limits::default()).await.unwrap_err().name(), "protocol");
        }
    }
}
