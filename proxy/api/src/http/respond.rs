//! What the API itself answers with; an app's answers pass by here untouched.

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use outrigger_blocks::error::ApiError;
use outrigger_wire::Body;

/// Done, nothing to say.
pub(super) fn empty() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: Bytes) -> Response<Body> {
    with_type(status, "application/json", Body::from(document))
}

/// The one writer of errors.
pub(super) fn error(error: &ApiError) -> Response<Body> {
    json(error.http, error.json())
}

/// The stock runtime's answer to a wrong token, word for word.
pub(super) fn invalid_token() -> Response<Body> {
    with_type(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", Body::from("invalid api token\n"))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
