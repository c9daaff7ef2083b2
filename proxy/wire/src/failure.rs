//! The one type for "it did not work", from the socket up to the API's edge.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// Why a call failed: what a caller or an operator tells apart.
///
/// Each variant says what failed, with what, and (where somebody can do
/// something about it) what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// A policy forbids the call.
    #[error("access denied by {policy}: {remedy}")]
    Denied {
        /// The policy that decided, as its owner named it.
        policy: Arc<str>,
        /// What would allow the call.
        remedy: String,
    },
    /// The caller proved no identity, or the wrong one.
    #[error("{what}")]
    Unauthenticated {
        /// What was missing or wrong.
        what: String,
    },
    /// Nothing is known by that name.
    #[error("cannot resolve {target}")]
    Unresolved {
        /// What was asked for, and what is known instead.
        target: String,
    },
    /// The name is known, but no replica of it can take the call.
    #[error("no endpoint of {target} can take the call: all are draining, failing or excluded")]
    NoEndpoint {
        /// What was asked for.
        target: String,
    },
    /// Every replica's circuit breaker is open.
    #[error("circuit breaker open for {target}")]
    BreakerOpen {
        /// What was asked for.
        target: String,
    },
    /// No connection could be made.
    #[error("connect to {endpoint}: {reason}")]
    Connect {
        /// The address dialled.
        endpoint: String,
        /// The system's words.
        reason: String,
    },
    /// The TLS handshake failed, or the peer is not who was asked for.
    #[error("mutual TLS with {endpoint}: {reason}")]
    Tls {
        /// The address dialled or accepted from.
        endpoint: String,
        /// What did not hold.
        reason: String,
    },
    /// The stream or connection was cut after the request may have been seen.
    #[error("the stream was reset: {reason}")]
    Reset {
        /// HTTP/2 reason or the system's words.
        reason: String,
    },
    /// The peer refused the stream before it did anything with it.
    #[error("the peer refused the stream before looking at it: {reason}")]
    Refused {
        /// HTTP/2 reason or the system's words.
        reason: String,
    },
    /// Something took longer than it may.
    #[error("{which} timed out after {after:?}")]
    Timeout {
        /// Which of the timeouts.
        which: &'static str,
        /// The limit that passed.
        after: Duration,
    },
    /// A bound of [`Limits`](crate::Limits) was met.
    #[error("limit {name} of {limit} exceeded")]
    Limit {
        /// Name in the table of limits.
        name: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The input cannot be understood.
    #[error("{field} {value:?} is not valid: {fix}")]
    BadInput {
        /// What part of the input.
        field: &'static str,
        /// The value, shortened and escaped for display.
        value: String,
        /// What would be valid.
        fix: String,
    },
    /// There is no such thing here.
    #[error("{what} not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Understood, but not done by this build.
    #[error("not supported: {what} (see docs/not-supported.md)")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// The app beside us does not answer.
    #[error("the app is not available: {reason}")]
    AppUnavailable {
        /// What was tried.
        reason: String,
    },
    /// This process takes no new work.
    #[error("this sidecar is shutting down and takes no new calls")]
    Draining,
    /// The caller went away.
    #[error("the caller cancelled the call")]
    Cancelled,
    /// The other side broke the protocol.
    #[error("{peer} broke the protocol: {reason}")]
    Protocol {
        /// Who.
        peer: String,
        /// How.
        reason: String,
    },
    /// A failure that the callee's sidecar reported over the wire.
    #[error("{text}")]
    Remote {
        /// The callee's own name for it, from the table of [`Failure::name`].
        name: &'static str,
        /// The callee's words.
        text: String,
    },
    /// Our own fault.
    #[error("internal error: {reason}")]
    Internal {
        /// What went wrong.
        reason: String,
    },
}

/// What a retry may assume about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The peer's app cannot have seen the request: any request may go again.
    NotSent,
    /// The app may have seen it: only an idempotent request may go again.
    MaybeSent,
    /// Another attempt would fail alike, or must not be made.
    Never,
}

/// A failed call: its [`Cause`], and where one exists the error below it.
///
/// One pointer wide and cheap to clone. Display is the whole text for a person.
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

struct Inner {
    cause: Cause,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of this cause.
    pub fn new(cause: Cause) -> Self {
        Self(Arc::new(Inner { cause, source: None }))
    }

    /// A failure of this cause, brought about by `source`.
    pub fn with_source(cause: Cause, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::new(Inner { cause, source: Some(source.into()) }))
    }

    /// Input that cannot be understood; `value` is shortened and escaped.
    pub fn bad_input(field: &'static str, value: impl AsRef<[u8]>, fix: impl Into<String>) -> Self {
        Self::new(Cause::BadInput { field, value: displayable(value.as_ref()), fix: fix.into() })
    }

    /// A bound of [`Limits`](crate::Limits) that was met.
    pub fn limit(limit: crate::Limit) -> Self {
        Self::new(Cause::Limit { name: limit.name, limit: limit.value })
    }

    /// The caller's or policy's deadline, `within` after the call began; told in whole milliseconds.
    pub fn deadline(within: Duration) -> Self {
        let millis = within.as_nanos().div_ceil(1_000_000);
        Self::timeout("deadline", Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// A wait that took too long.
    pub fn timeout(which: &'static str, after: Duration) -> Self {
        Self::new(Cause::Timeout { which, after })
    }

    /// Our own fault.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(Cause::Internal { reason: reason.into() })
    }

    /// A failure of an HTTP/2 stream or connection, as the `h2` crate reports it.
    ///
    /// `REFUSED_STREAM` and a graceful `GOAWAY` mean that the peer did nothing
    /// (RFC 9113, section 8.7).
    pub fn from_h2(error: h2::Error) -> Self {
        let reason = error.to_string();
        let unprocessed = error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR));
        let cause = match error.reason() {
            _ if unprocessed => Cause::Refused { reason },
            Some(h2::Reason::CANCEL) if error.is_remote() => Cause::Cancelled,
            _ => Cause::Reset { reason },
        };
        Self::with_source(cause, error)
    }

    /// A failure of a hyper connection or body.
    pub fn from_hyper(error: hyper::Error) -> Self {
        if let Some(h2) = find_h2(&error) {
            let reason = h2.reason().unwrap_or(h2::Reason::INTERNAL_ERROR);
            let text = h2.to_string();
            let cause = match reason {
                h2::Reason::REFUSED_STREAM => Cause::Refused { reason: text },
                h2::Reason::CANCEL => Cause::Cancelled,
                _ => Cause::Reset { reason: text },
            };
            return Self::with_source(cause, h2::Error::from(reason));
        }
        let reason = chain(&error);
        let cause = if error.is_parse() {
            Cause::Protocol { peer: "the peer".into(), reason }
        } else if error.is_timeout() {
            Cause::Timeout { which: "header read", after: Duration::ZERO }
        } else {
            Cause::Reset { reason }
        };
        Self::with_source(cause, error)
    }

    /// A failure that the callee's sidecar named on the wire; an unknown name
    /// becomes `internal`.
    pub fn from_wire(name: &str, policy: Option<&str>, text: String) -> Self {
        let name = NAMES.iter().find(|known| **known == name).copied().unwrap_or("internal");
        Self::new(match (name, policy) {
            ("denied", Some(policy)) => {
                // A policy's name may hold a colon itself.
                let said = format!("access denied by {policy}: ");
                let remedy = text.strip_prefix(&said).unwrap_or(&text).to_owned();
                Cause::Denied { policy: policy.into(), remedy }
            }
            ("draining", _) => Cause::Draining,
            _ => Cause::Remote { name, text },
        })
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The cause's name: a metric label, an access-record field, a wire word.
    pub fn name(&self) -> &'static str {
        match &self.0.cause {
            Cause::Denied { .. } => "denied",
            Cause::Unauthenticated { .. } => "unauthenticated",
            Cause::Unresolved { .. } => "unresolved",
            Cause::NoEndpoint { .. } => "no_endpoint",
            Cause::BreakerOpen { .. } => "breaker_open",
            Cause::Connect { .. } => "connect",
            Cause::Tls { .. } => "tls",
            Cause::Reset { .. } => "reset",
            Cause::Refused { .. } => "refused",
            Cause::Timeout { .. } => "timeout",
            Cause::Limit { .. } => "limit",
            Cause::BadInput { .. } => "bad_input",
            Cause::NotFound { .. } => "not_found",
            Cause::Unsupported { .. } => "unsupported",
            Cause::AppUnavailable { .. } => "app_unavailable",
            Cause::Draining => "draining",
            Cause::Cancelled => "cancelled",
            Cause::Protocol { .. } => "protocol",
            Cause::Remote { name, .. } => name,
            Cause::Internal { .. } => "internal",
        }
    }

    /// What another attempt may assume.
    pub fn retry_class(&self) -> RetryClass {
        match self.name() {
            "connect" | "tls" | "refused" | "draining" => RetryClass::NotSent,
            // The callee's sidecar could not reach its app: the app has not seen it.
            "app_unavailable" => RetryClass::NotSent,
            "reset" | "protocol" | "timeout" => RetryClass::MaybeSent,
            _ => RetryClass::Never,
        }
    }

    /// Status for an HTTP caller, where no block has a row of its own.
    pub fn http(&self) -> StatusCode {
        match self.name() {
            "denied" => StatusCode::FORBIDDEN,
            "unauthenticated" => StatusCode::UNAUTHORIZED,
            "bad_input" => StatusCode::BAD_REQUEST,
            "not_found" => StatusCode::NOT_FOUND,
            "unsupported" => StatusCode::NOT_IMPLEMENTED,
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            "unresolved" | "connect" | "tls" | "reset" | "refused" | "protocol" => StatusCode::BAD_GATEWAY,
            "no_endpoint" | "breaker_open" | "app_unavailable" | "draining" | "limit" => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            "cancelled" => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// gRPC status code (`google.rpc.Code`) for a gRPC caller.
    pub fn grpc(&self) -> u32 {
        match self.name() {
            "cancelled" => 1,
            "bad_input" => 3,
            "timeout" => 4,
            "not_found" => 5,
            "denied" => 7,
            "limit" => 8,
            "unsupported" => 12,
            "internal" | "protocol" => 13,
            "unauthenticated" => 16,
            _ => 14,
        }
    }
}

/// Every name that [`Failure::name`] gives; a wire word is one of them.
const NAMES: [&str; 19] = [
    "denied",
    "unauthenticated",
    "unresolved",
    "no_endpoint",
    "breaker_open",
    "connect",
    "tls",
    "reset",
    "refused",
    "timeout",
    "limit",
    "bad_input",
    "not_found",
    "unsupported",
    "app_unavailable",
    "draining",
    "cancelled",
    "protocol",
    "internal",
];

fn find_h2<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<h2::Error>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// At most 64 bytes of the value, controls and non-ASCII escaped.
fn displayable(value: &[u8]) -> String {
    const SHOWN: usize = 64;
    let head = value.get(..SHOWN).unwrap_or(value);
    let mut text = head.escape_ascii().to_string();
    if value.len() > SHOWN {
        text.push('…');
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cause.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failure").field(&self.0.cause).finish()
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::new(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_name_and_class_over_the_wire() {
        for name in NAMES {
            let there = Failure::from_wire(name, None, "text".into());
            assert_eq!(there.name(), name);
        }
        assert_eq!(Failure::from_wire("made-up", None, String::new()).name(), "internal");
    }

    #[test]
    fn a_denial_over_the_wire_still_names_its_policy() {
        for policy in ["orders", "orders-access: web.default /order"] {
            let here = Failure::new(Cause::Denied { policy: policy.into(), remedy: "to allow it: …".into() });
            let there = Failure::from_wire(here.name(), Some(policy), here.to_string());
            assert_eq!(there.cause(), here.cause());
        }
    }

    #[test]
    fn a_refused_stream_may_go_again_and_a_reset_one_only_when_idempotent() {
        assert_eq!(Failure::from_h2(h2::Reason::REFUSED_STREAM.into()).retry_class(), RetryClass::NotSent);
        assert_eq!(Failure::from_h2(h2::Reason::INTERNAL_ERROR.into()).retry_class(), RetryClass::MaybeSent);
    }

    #[test]
    fn a_bad_value_is_shown_shortened_and_escaped() {
        let failure = Failure::bad_input("path", "a\r\n\u{1b}[31m".repeat(20), "no controls");
        let text = failure.to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}') && text.len() < 250, "{text}");
    }
}
