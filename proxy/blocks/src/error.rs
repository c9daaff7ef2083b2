//! What Dapr's API says when something fails: one table from (what was tried, why it
//! failed) to error code, HTTP status and gRPC status.
//!
//! Codes and statuses are those of the stock runtime, so that an SDK reads them as it
//! always did. The message of a failed call ends with the failure's own words, which
//! say what would help.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;
use outrigger_wire::Failure;

/// Which statuses bad input gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// The honest status: 400 for what cannot be understood, 501 for what is not done.
    #[default]
    Plain,
    /// As the stock runtime: 500 for every invocation that did not reach its app, but
    /// for one that policy denied.
    Stock,
}

/// Something that the API answers with an error of its own.
#[derive(Debug, Clone, Copy)]
pub enum Problem<'a> {
    /// A path that no route knows, and no app ID to pass it on to.
    NoAppId {
        /// The path, as sent.
        path: &'a str,
    },
    /// An invocation failed before its app answered.
    Invoke {
        /// The app called, as the caller wrote it.
        target: &'a str,
        /// Why.
        failure: &'a Failure,
    },
    /// A proxied gRPC call failed before its app answered.
    Proxy {
        /// Why.
        failure: &'a Failure,
    },
    /// The API refuses the request itself: a limit, a method, a foreign origin.
    Request {
        /// Why.
        failure: &'a Failure,
    },
    /// The sidecar cannot serve its app yet, or no more.
    NotReady {
        /// What it waits for.
        waiting_for: &'a [&'static str],
    },
    /// The sidecar cannot call out yet, or no more.
    OutboundNotReady {
        /// What it waits for.
        waiting_for: &'a [&'static str],
    },
    /// A health check asked for another app than ours.
    AppIdMismatch,
}

/// An error as the API gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Dapr's code: `ERR_…`.
    pub code: &'static str,
    /// Status over HTTP.
    pub http: StatusCode,
    /// `google.rpc.Code` over gRPC.
    pub grpc: u32,
    /// For a person.
    pub message: String,
}

impl ApiError {
    /// The row of the table for this problem.
    pub fn new(problem: Problem<'_>, manner: Manner) -> Self {
        let (code, http, grpc) = row(problem, manner);
        Self { code, http, grpc, message: message(problem) }
    }

    /// The body over HTTP: `{"errorCode":"…","message":"…"}`.
    pub fn json(&self) -> Bytes {
        let mut json = String::with_capacity(self.message.len() + 64);
        json.push_str("{\"errorCode\":\"");
        json.push_str(self.code);
        json.push_str("\",\"message\":");
        json.push_str(&serde_json::Value::from(self.message.as_str()).to_string());
        json.push('}');
        json.into()
    }
}

/// The table.
fn row(problem: Problem<'_>, manner: Manner) -> (&'static str, StatusCode, u32) {
    const INTERNAL: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
    match problem {
        Problem::NoAppId { .. } => ("ERR_DIRECT_INVOKE", StatusCode::NOT_FOUND, 5),
        Problem::Invoke { failure, .. } => match (failure.name(), manner) {
            ("denied", _) => ("ERR_DIRECT_INVOKE", StatusCode::FORBIDDEN, 7),
            ("bad_input" | "unsupported", Manner::Plain) => ("ERR_DIRECT_INVOKE", failure.http(), failure.grpc()),
            _ => ("ERR_DIRECT_INVOKE", INTERNAL, 13),
        },
        Problem::Proxy { failure } => ("ERR_DIRECT_INVOKE", failure.http(), failure.grpc()),
        Problem::Request { failure } => match failure.name() {
            "denied" => ("ERR_PERMISSION_DENIED", StatusCode::FORBIDDEN, 7),
            "unauthenticated" => ("ERR_PERMISSION_DENIED", StatusCode::UNAUTHORIZED, 16),
            "bad_input" => ("ERR_BAD_REQUEST", StatusCode::BAD_REQUEST, 3),
            "limit" => ("ERR_BAD_REQUEST", StatusCode::PAYLOAD_TOO_LARGE, 8),
            "unsupported" => ("ERR_API_UNIMPLEMENTED", StatusCode::NOT_IMPLEMENTED, 12),
            "reset" | "cancelled" | "timeout" | "protocol" => ("ERR_BODY_READ", StatusCode::BAD_REQUEST, 3),
            _ => ("ERR_INTERNAL", failure.http(), failure.grpc()),
        },
        Problem::NotReady { .. } => ("ERR_HEALTH_NOT_READY", INTERNAL, 13),
        Problem::OutboundNotReady { .. } => ("ERR_OUTBOUND_HEALTH_NOT_READY", INTERNAL, 13),
        Problem::AppIdMismatch => ("ERR_HEALTH_APPID_NOT_MATCH", INTERNAL, 13),
    }
}

/// The gRPC code that an app's HTTP status becomes where an HTTP answer is told over
/// gRPC, as the stock runtime has it; 0 (OK) for 2xx.
pub fn grpc_code(status: StatusCode) -> u32 {
    match status.as_u16() {
        200..=299 => 0,
        408 => 1,
        504 => 4,
        404 => 5,
        409 => 6,
        403 => 7,
        429 => 8,
        501 => 12,
        400 => 13,
        503 => 14,
        401 => 16,
        _ => 2,
    }
}

fn message(problem: Problem<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = match problem {
        Problem::NoAppId { path } => write!(
            text,
            "failed getting app id either from the URL path or the header dapr-app-id: no API has the path {:?}; \
             to call an app use /v1.0/invoke/<app>/method/<path>, or send the header dapr-app-id",
            shortened(path)
        ),
        Problem::Invoke { target, failure } => {
            write!(text, "failed to invoke, id: {}, err: {failure}", shortened(target))
        }
        Problem::Proxy { failure } | Problem::Request { failure } => write!(text, "{failure}"),
        Problem::NotReady { waiting_for } => write!(text, "dapr is not ready: {waiting_for:?}"),
        Problem::OutboundNotReady { waiting_for } => write!(text, "dapr outbound is not ready: {waiting_for:?}"),
        Problem::AppIdMismatch => write!(text, "dapr app-id does not match"),
    };
    text
}

/// What a client wrote, no longer than a person reads.
fn shortened(text: &str) -> &str {
    const SHOWN: usize = 128;
    let end = (0..=SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_wire::Cause;

    use super::*;

    fn denied() -> Failure {
        Cause::Denied { policy: "orders/default".into(), remedy: "allow POST /new for app web".into() }.into()
    }

    #[test]
    fn every_problem_has_its_code_and_statuses() {
        let refused: Failure = Cause::Refused { reason: "r".into() }.into();
        let bad = Failure::bad_input("path", "/%", "escape it");
        let unsupported: Failure = Cause::Unsupported { what: "x".into() }.into();
        let late = Failure::timeout("deadline", Duration::from_secs(1));
        let (denied, app) = (denied(), "orders");
        let invoke = |failure| Problem::Invoke { target: app, failure };
        for (problem, manner, code, http, grpc) in [
            (Problem::NoAppId { path: "/x" }, Manner::Stock, "ERR_DIRECT_INVOKE", 404, 5),
            (invoke(&denied), Manner::Stock, "ERR_DIRECT_INVOKE", 403, 7),
            (invoke(&denied), Manner::Plain, "ERR_DIRECT_INVOKE", 403, 7),
            (invoke(&refused), Manner::Plain, "ERR_DIRECT_INVOKE", 500, 13),
            (invoke(&late), Manner::Plain, "ERR_DIRECT_INVOKE", 500, 13),
            (invoke(&bad), Manner::Stock, "ERR_DIRECT_INVOKE", 500, 13),
            (invoke(&bad), Manner::Plain, "ERR_DIRECT_INVOKE", 400, 3),
            (invoke(&unsupported), Manner::Plain, "ERR_DIRECT_INVOKE", 501, 12),
            (Problem::Proxy { failure: &late }, Manner::Stock, "ERR_DIRECT_INVOKE", 504, 4),
            (Problem::Request { failure: &denied }, Manner::Plain, "ERR_PERMISSION_DENIED", 403, 7),
            (Problem::NotReady { waiting_for: &[] }, Manner::Plain, "ERR_HEALTH_NOT_READY", 500, 13),
            (Problem::OutboundNotReady { waiting_for: &[] }, Manner::Plain, "ERR_OUTBOUND_HEALTH_NOT_READY", 500, 13),
            (Problem::AppIdMismatch, Manner::Plain, "ERR_HEALTH_APPID_NOT_MATCH", 500, 13),
        ] {
            let error = ApiError::new(problem, manner);
            assert_eq!((error.code, error.http.as_u16(), error.grpc), (code, http, grpc), "{problem:?}");
        }
    }

    #[test]
    fn a_refused_call_ends_with_the_policy_and_what_would_allow_it() {
        let failure = denied();
        let error = ApiError::new(Problem::Invoke { target: "orders", failure: &failure }, Manner::Stock);
        assert_eq!(
            error.message,
            "failed to invoke, id: orders, err: access denied by orders/default: allow POST /new for app web"
        );
    }

    #[test]
    fn the_body_is_json_whatever_the_client_wrote() {
        let path = format!("/\"\\\n\u{1}é{}", "x".repeat(10_000));
        let error = ApiError::new(Problem::NoAppId { path: &path }, Manner::Plain);
        let json: serde_json::Value = serde_json::from_slice(&error.json()).unwrap();
        assert_eq!(json["errorCode"], "ERR_DIRECT_INVOKE");
        assert_eq!(json["message"], error.message);
        assert!(error.message.len() < 500, "{}", error.message.len());
    }
}
