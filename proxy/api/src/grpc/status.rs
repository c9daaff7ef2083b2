//! gRPC status: its codes, their names, and how a failure is written.

use ::http::Response;
use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use outrigger_blocks::error::ApiError;
use outrigger_wire::Body;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// `CANCELLED`.
pub(crate) const CANCELLED: u32 = 1;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Code names as metrics show them, by number.
const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Name of a code; `Unknown` for a number that is none.
pub(crate) fn name(code: u32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("Unknown")
}

/// The status in headers or trailers, if it is there and a number.
pub(crate) fn read(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// The message in headers or trailers, decoded; empty when there is none.
pub(crate) fn message(headers: &HeaderMap) -> String {
    let message = headers.get(GRPC_MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    percent_decode(message).decode_utf8_lossy().into_owned()
}

/// A whole response that says only that the call failed (trailers-only).
pub(super) fn failed(error: &ApiError) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    write(error, headers);
    response
}

/// Trailers that end a response with a failure.
pub(super) fn trailers(error: &ApiError) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    write(error, &mut trailers);
    trailers
}

fn write(error: &ApiError, headers: &mut HeaderMap) {
    headers.insert(GRPC_STATUS, HeaderValue::from(error.grpc));
    // What percent-encoding leaves is visible ASCII and spaces, so this cannot fail.
    if let Ok(message) = HeaderValue::try_from(encode(&error.message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

/// Percent-encoding of `grpc-message` (gRPC over HTTP/2, "Status-Message").
fn encode(message: &str) -> String {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    utf8_percent_encode(message, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_so_that_any_text_survives() {
        for (message, written) in
            [("plain words: ok", "plain words: ok"), ("50%", "50%25"), ("a\r\nb", "a%0D%0Ab"), ("é", "%C3%A9")]
        {
            assert_eq!(encode(message), written);
        }
    }

    #[test]
    fn a_code_has_the_name_that_dashboards_know() {
        assert_eq!(
            [name(0), name(4), name(16), name(17), name(u32::MAX)],
            ["OK", "DeadlineExceeded", "Unauthenticated", "Unknown", "Unknown"]
        );
    }
}
