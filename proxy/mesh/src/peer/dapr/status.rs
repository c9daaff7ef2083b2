//! How calls of the Dapr wire end: gRPC's status, and the failures that it stands for.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use outrigger_wire::{Body, Cause, Failure, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use super::message::broken;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// `UNIMPLEMENTED`.
pub(super) const UNIMPLEMENTED: u32 = 12;

/// Trailers of a call that went well.
pub(super) fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// Trailers of one that failed.
pub(super) fn trailers(failure: &Failure) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    write(&mut trailers, code(failure), &failure.to_string());
    trailers
}

/// An answer that says only that the call failed.
pub(super) fn failed(code: u32, message: &str) -> Response<Body> {
    let mut response = head();
    write(response.headers_mut(), code, message);
    response
}

/// An answer that is messages.
pub(super) fn head() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The code that tells a sidecar of such a failure. Stock's callers take `Unavailable` for a peer
/// that is gone, and dial it anew; an app that is gone is no word against its sidecar.
pub(super) fn code(failure: &Failure) -> u32 {
    const INTERNAL: u32 = 13;
    match failure.name() {
        "app_unavailable" => INTERNAL,
        _ => failure.grpc(),
    }
}

/// Whether an answer is gRPC's, and not its whole failure already.
///
/// # Errors
/// The failure that its head names; `Protocol` for what is no gRPC.
pub(super) fn opened(response: &Response<Body>) -> Result<(), Failure> {
    if response.status() != StatusCode::OK || !header::is_grpc(response.headers()) {
        return Err(broken(format!("it answered {} to a call of gRPC", response.status())));
    }
    if !response.headers().contains_key(GRPC_STATUS) {
        return Ok(());
    }
    ended(Some(response.headers()))
}

/// How the call ended, by its trailers.
///
/// # Errors
/// The failure that they name; `Protocol` where they name nothing.
pub(super) fn ended(trailers: Option<&HeaderMap>) -> Result<(), Failure> {
    let value = trailers.and_then(|trailers| trailers.get(GRPC_STATUS));
    let code = value.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u32>().ok());
    let message = trailers.and_then(|trailers| trailers.get(GRPC_MESSAGE));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(failure(code, message)),
        None => Err(broken("the stream ended without a status")),
    }
}

/// What a status of the peer's sidecar means here.
fn failure(code: u32, message: Option<&HeaderValue>) -> Failure {
    let said = message.map(|value| percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned());
    let text = match said {
        Some(said) if !said.is_empty() => said,
        _ => format!("the callee's sidecar answered with status {code} of gRPC and did not say why"),
    };
    let name = match code {
        1 => "cancelled",
        3 => "bad_input",
        4 => "timeout",
        5 => "not_found",
        7 => "denied",
        8 => "limit",
        UNIMPLEMENTED => "unsupported",
        // It may have gone away at any moment.
        14 => "reset",
        16 => "unauthenticated",
        _ => "internal",
    };
    Failure::new(Cause::Remote { name, text })
}

fn write(headers: &mut HeaderMap, code: u32, message: &str) {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    // What percent-encoding leaves is visible ASCII and spaces, so this cannot fail.
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(message, ESCAPED).to_string()) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_any_words() {
        for (cause, name) in [
            (Cause::Denied { policy: "é: 100%".into(), remedy: "a\nb".into() }, "denied"),
            (Cause::NotFound { what: "x".into() }, "not_found"),
            (Cause::AppUnavailable { reason: "x".into() }, "internal"),
            (Cause::Draining, "reset"),
        ] {
            let here = Failure::new(cause);
            let there = ended(Some(&trailers(&here))).unwrap_err();
            assert_eq!((there.name(), there.to_string()), (name, here.to_string()));
        }
        assert!(ended(Some(&ok())).is_ok());
        assert_eq!(ended(None).unwrap_err().name(), "protocol");
        assert_eq!(opened(&failed(7, "no")).unwrap_err().name(), "denied");
    }
}
