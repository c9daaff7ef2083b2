//! The caller's end.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use outrigger_identity::AppId;
use outrigger_proto::internals::v1::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse, InternalInvokeResponseStream,
};
use outrigger_telemetry::trace::TraceContext;
use outrigger_wire::{Body, Cause, Failure, Limits, header};

use super::body::{Cut, Ends, Pieces};
use super::head::{self, Answer};
use super::message::{Messages, broken, decode, encode};
use super::{CALL_LOCAL, CALL_LOCAL_STREAM, status};
use crate::peer::http2::Connection;

/// Who calls whom.
#[derive(Debug, Clone)]
pub(crate) struct Apps {
    /// The app beside us.
    pub(crate) caller: AppId,
    /// The app asked for.
    pub(crate) callee: AppId,
}

/// Sends a call on a connection that speaks this wire; the request's URI names the callee.
///
/// # Errors
/// `Refused` once by a peer that knows only `CallLocal`: the next attempt goes that way.
/// Otherwise what kept the call from being answered by the app.
pub(crate) async fn call(
    connection: &Connection,
    sender: SendRequest<Bytes>,
    request: Request<Body>,
    apps: &Apps,
    limits: &Limits,
) -> Result<Response<Body>, Failure> {
    if header::is_grpc(request.headers()) {
        return connection.send(sender, proxied(request, apps)).await;
    }
    let (head, body) = request.into_parts();
    let message = head::request(&head, &apps.caller, &apps.callee)?;
    let bodyless = head.method == Method::HEAD;
    let whole = connection.takes_whole_calls_only.load(Ordering::Relaxed);
    let path = if whole { CALL_LOCAL } else { CALL_LOCAL_STREAM };
    let body = if whole {
        Body::full(encode(&with_data(message, body, limits).await?)?)
    } else {
        let head = encode(&InternalInvokeRequestStream { request: Some(message), payload: None })?;
        Cut::<InternalInvokeRequestStream>::body(head, body, Ends::Silent)
    };
    let response = connection.send(sender, outer(path, &head.uri, &head.headers, body)?).await?;
    let opened = status::opened(&response);
    let mut messages = Messages::new(response.into_body(), limits.message_bytes());
    let first = match opened {
        Ok(()) => match messages.next().await {
            Some(first) => first,
            None => Err(status::ended(messages.trailers()).err().unwrap_or_else(|| broken("an answer without a head"))),
        },
        Err(failure) => Err(failure),
    };
    match first {
        Ok(first) if whole => answer_of_one(first, bodyless, limits),
        Ok(first) => answer_in_pieces(first, messages, bodyless, limits),
        Err(failure) if !whole && failure.name() == "unsupported" => {
            connection.takes_whole_calls_only.store(true, Ordering::Relaxed);
            tracing::info!(app = %apps.callee, "a peer's sidecar takes calls only whole; it is an old one");
            let reason = "it takes no body in pieces; only a body that fits into memory can be sent to it".to_owned();
            Err(Failure::with_source(Cause::Refused { reason }, failure))
        }
        Err(failure) => Err(failure),
    }
}

/// A call of gRPC goes through as it is, with metadata that says between whom.
fn proxied(mut request: Request<Body>, apps: &Apps) -> Request<Body> {
    let headers = request.headers_mut();
    for (name, value) in [
        (header::APP_ID, apps.callee.app_id()),
        (header::CALLEE_APP_ID, apps.callee.app_id()),
        (header::CALLER_APP_ID, apps.caller.app_id()),
        (header::CALLER_NAMESPACE, apps.caller.namespace()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

/// The call of the service.
fn outer(path: &'static str, inner: &Uri, headers: &HeaderMap, body: Body) -> Result<Request<Body>, Failure> {
    let mut uri = http::uri::Parts::from(inner.clone());
    uri.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Failure::internal(error.to_string()))?;
    let outer = request.headers_mut();
    outer.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    outer.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(trace) = TraceContext::from_headers(headers) {
        trace.inject_grpc(outer);
    }
    Ok(request)
}

async fn with_data(
    mut message: InternalInvokeRequest,
    body: Body,
    limits: &Limits,
) -> Result<InternalInvokeRequest, Failure> {
    let data = collect(body, limits).await?;
    if let Some(message) = &mut message.message {
        message.data = Some(prost_types::Any { type_url: String::new(), value: data.to_vec() });
    }
    Ok(message)
}

/// A body in memory.
///
/// # Errors
/// Its own, and `Limit` past `message_bytes`.
pub(super) async fn collect(body: Body, limits: &Limits) -> Result<Bytes, Failure> {
    let most = Limits::size(limits.message_bytes);
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(_) => Failure::limit(limits.message_bytes()),
        }),
    }
}

fn answer_of_one(message: Bytes, bodyless: bool, limits: &Limits) -> Result<Response<Body>, Failure> {
    let Answer { response, data, instead } = head::read_response(decode::<InternalInvokeResponse>(message)?, limits)?;
    let (head, ()) = response.into_parts();
    let body = if bodyless { Body::empty() } else { instead.unwrap_or_else(|| Body::full(data)) };
    Ok(Response::from_parts(head, body))
}

fn answer_in_pieces(
    first: Bytes,
    messages: Messages,
    bodyless: bool,
    limits: &Limits,
) -> Result<Response<Body>, Failure> {
    let first = decode::<InternalInvokeResponseStream>(first)?;
    let head = first.response.ok_or_else(|| broken("an answer without a head"))?;
    let Answer { response, instead, .. } = head::read_response(head, limits)?;
    let (head, ()) = response.into_parts();
    // Such an answer may tell the length of what it does not have.
    let bodyless = bodyless || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length =
        header::content_length(&head.headers).filter(|_| head.headers.contains_key(CONTENT_LENGTH) && !bodyless);
    let body = match instead {
        Some(instead) => instead,
        None => Pieces::<InternalInvokeResponseStream>::body(messages, first.payload, length, Ends::WithStatus),
    };
    Ok(Response::from_parts(head, body))
}
