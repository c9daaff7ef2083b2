//! The callee's end.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, Request, Response};
use outrigger_identity::AppId;
use outrigger_policy::access::CallProtocol;
use outrigger_proto::internals::v1::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse, InternalInvokeResponseStream,
};
use outrigger_wire::{Body, Cause, Failure, Limits, header};
use tokio::time::timeout;

use super::body::{Cut, Ends, Pieces};
use super::caller::collect;
use super::head;
use super::message::{Messages, broken, decode, encode};
use super::{CALL_LOCAL, CALL_LOCAL_STREAM, SERVICE, status};

/// How long the end of a request that has no body is waited for before it is taken to have one.
const PROBE: Duration = Duration::from_millis(200);

/// A call, read.
pub(crate) struct Called {
    /// As our app is to get it.
    pub(crate) request: Request<Body>,
    /// What it is to our app.
    pub(crate) protocol: CallProtocol,
    /// Metadata of the call of gRPC that it came as.
    pub(crate) outer: Option<HeaderMap>,
    /// The app that it names; `None` where such calls name none.
    pub(crate) meant: Option<String>,
    /// Who it says that it comes from.
    pub(crate) claimed: Option<AppId>,
}

/// A call that is not answered by the app, and stock's words for why, where it has some.
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    pub(crate) words: Option<String>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, words: None }
    }
}

/// How a call came, and so how its answer goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Whole,
    InPieces,
    Proxied,
}

/// Answers one stream, by what `deliver` makes of the call that it carries.
pub(crate) async fn answer<F>(
    request: Request<Body>,
    limits: &Arc<Limits>,
    deliver: impl FnOnce(Called) -> F + Send,
) -> Response<Body>
where
    F: Future<Output = Result<Response<Body>, Refused>> + Send,
{
    let came = match request.uri().path() {
        CALL_LOCAL_STREAM => Came::InPieces,
        CALL_LOCAL => Came::Whole,
        path if path.starts_with(SERVICE) => {
            let what = format!("not supported: {path}, as actors are (see docs/not-supported.md)");
            return status::failed(status::UNIMPLEMENTED, &what);
        }
        _ => Came::Proxied,
    };
    if request.method() != Method::POST || !header::is_grpc(request.headers()) {
        let mut response = Response::new(Body::from("a call between sidecars is one of gRPC\n"));
        *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let answered = async {
        let called = match came {
            Came::InPieces => in_time(limits, in_pieces(request, limits)).await,
            Came::Whole => in_time(limits, whole(request, limits)).await,
            Came::Proxied => proxied(request),
        }?;
        let response = deliver(called).await?;
        Ok(match came {
            Came::Proxied => response,
            Came::InPieces => send_in_pieces(response)?,
            Came::Whole => send_whole(response, limits).await?,
        })
    };
    match answered.await {
        Ok(response) => response,
        Err(Refused { failure, words }) => {
            status::failed(status::code(&failure), &words.unwrap_or_else(|| told(&failure)))
        }
    }
}

/// Stock's words before ours, where its callers may look for them.
fn told(failure: &Failure) -> String {
    match failure.cause() {
        Cause::AppUnavailable { .. } => format!("error invoking app channel: {failure}"),
        _ => failure.to_string(),
    }
}

async fn in_pieces(request: Request<Body>, limits: &Limits) -> Result<Called, Refused> {
    let (outer, body) = request.into_parts();
    let mut messages = Messages::new(body, limits.message_bytes());
    let first = messages.next().await.ok_or_else(|| broken("a call without its first message"))??;
    let first = decode::<InternalInvokeRequestStream>(first)?;
    let head = first.request.ok_or_else(|| broken("a call whose first message is no head"))?;
    let claimed = claimed(&head);
    let (inner, _) = head::read_request(head, limits)?;
    let length = header::content_length(inner.headers());
    let mut payload = first.payload;
    let mut bodyless = length == Some(0);
    if length.is_none() && payload.is_none() && usually_bodyless(inner.method()) {
        // Nothing says whether a body comes but the end of the stream, which is near if it has none.
        match timeout(PROBE, messages.next()).await {
            Ok(None) => bodyless = true,
            Ok(Some(next)) => payload = decode::<InternalInvokeRequestStream>(next?)?.payload,
            Err(_) => {}
        }
    }
    // What has no body must not look to the app as if one might come.
    let body = if bodyless {
        Body::empty()
    } else {
        Pieces::<InternalInvokeRequestStream>::body(messages, payload, length, Ends::Silent)
    };
    Ok(called(outer.headers, inner.map(|()| body), claimed))
}

/// What is held until it is whole is waited for as long as a stalled reader is.
async fn in_time(limits: &Limits, reading: impl Future<Output = Result<Called, Refused>>) -> Result<Called, Refused> {
    let wait = Limits::millis(limits.stall_timeout_ms);
    match timeout(wait, reading).await {
        Ok(called) => called,
        Err(_) => Err(Failure::timeout("request message", wait).into()),
    }
}

fn usually_bodyless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

async fn whole(request: Request<Body>, limits: &Limits) -> Result<Called, Refused> {
    let (outer, body) = request.into_parts();
    let mut messages = Messages::new(body, limits.message_bytes());
    let first = messages.next().await.ok_or_else(|| broken("a call without its message"))??;
    if messages.next().await.is_some() {
        return Err(broken("a second message in a call of one").into());
    }
    let head = decode::<InternalInvokeRequest>(first)?;
    let claimed = claimed(&head);
    let (mut inner, data) = head::read_request(head, limits)?;
    // What was said of the length may be of another encoding of the same.
    inner.headers_mut().remove(http::header::CONTENT_LENGTH);
    Ok(called(outer.headers, inner.map(|()| Body::full(data)), claimed))
}

fn called(outer: HeaderMap, request: Request<Body>, claimed: Option<AppId>) -> Called {
    Called { request, protocol: CallProtocol::Http, outer: Some(outer), meant: None, claimed }
}

fn proxied(request: Request<Body>) -> Result<Called, Refused> {
    let text = |name| request.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let meant = text(header::CALLEE_APP_ID).or_else(|| text(header::APP_ID)).map(str::to_owned);
    let meant = meant.ok_or_else(|| {
        let what = format!("{} by this sidecar itself; name an app in the metadata dapr-app-id", request.uri().path());
        Failure::new(Cause::Unsupported { what })
    })?;
    let namespace = text(header::CALLER_NAMESPACE).unwrap_or("default");
    let claimed = text(header::CALLER_APP_ID).and_then(|app| AppId::new(namespace, app).ok());
    Ok(Called { request, protocol: CallProtocol::Grpc, outer: None, meant: Some(meant), claimed })
}

/// Who the metadata says that it comes from.
fn claimed(head: &InternalInvokeRequest) -> Option<AppId> {
    let said = |name: http::HeaderName| head.metadata.get(name.as_str())?.values.first().map(String::as_str);
    AppId::new(said(header::CALLER_NAMESPACE).unwrap_or("default"), said(header::CALLER_APP_ID)?).ok()
}

fn send_in_pieces(response: Response<Body>) -> Result<Response<Body>, Failure> {
    let head = encode(&InternalInvokeResponseStream { response: Some(head::response(&response)), payload: None })?;
    let body = response.into_body();
    Ok(status::head().map(|_| Cut::<InternalInvokeResponseStream>::body(head, body, Ends::WithStatus)))
}

async fn send_whole(response: Response<Body>, limits: &Limits) -> Result<Response<Body>, Failure> {
    let mut message: InternalInvokeResponse = head::response(&response);
    let data = collect(response.into_body(), limits).await?;
    if let Some(message) = &mut message.message {
        message.data = Some(prost_types::Any { type_url: String::new(), value: data.to_vec() });
    }
    let message = encode(&message)?;
    Ok(status::head().map(|_| {
        let frames = [Ok(http_body::Frame::data(message)), Ok(http_body::Frame::trailers(status::ok()))];
        Body::boxed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }))
}
