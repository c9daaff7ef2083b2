//! The log of API calls, in stock's words: `HTTP API Called` and `gRPC API Called`.

use std::time::Instant;

use http::header::{HeaderMap, USER_AGENT};
use http::{HeaderValue, Response};
use outrigger_wire::{Body, Failure, OnEnd};

use crate::grpc::status;

/// How calls are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLog {
    /// The route is named and not the path.
    pub obfuscate_urls: bool,
    /// Health checks are left out.
    pub omit_health_checks: bool,
}

/// One call under way. Its line is written when it, or the body of its response, is dropped.
pub(crate) struct LoggedCall {
    started: Instant,
    method: String,
    user_agent: Option<HeaderValue>,
    outcome: Outcome,
}

enum Outcome {
    Http { code: u16, size: u64 },
    Grpc { code: u32 },
}

impl LoggedCall {
    /// A call of the HTTP API; cancelled (499) until it is answered.
    pub(crate) fn http(method: String, headers: &HeaderMap) -> Self {
        Self::new(method, headers, Outcome::Http { code: 499, size: 0 })
    }

    /// A call of the gRPC API; cancelled until a status is seen.
    pub(crate) fn grpc(method: &str, headers: &HeaderMap) -> Self {
        Self::new(method.to_owned(), headers, Outcome::Grpc { code: status::CANCELLED })
    }

    fn new(method: String, headers: &HeaderMap, outcome: Outcome) -> Self {
        Self { started: Instant::now(), method, user_agent: headers.get(USER_AGENT).cloned(), outcome }
    }

    /// Follows the response to its end.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        match &mut self.outcome {
            Outcome::Http { code, .. } => *code = response.status().as_u16(),
            Outcome::Grpc { code } => *code = status::read(response.headers()).unwrap_or(*code),
        }
        response.map(|body| body.with_on_end(Box::new(self)))
    }
}

impl OnEnd for LoggedCall {
    fn data(&mut self, length: usize) {
        if let Outcome::Http { size, .. } = &mut self.outcome {
            *size += length as u64;
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Outcome::Grpc { code } = &mut self.outcome {
            *code = status::read(trailers).unwrap_or(*code);
        }
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

impl Drop for LoggedCall {
    fn drop(&mut self) {
        let duration = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let useragent = self.user_agent.as_ref().and_then(|value| value.to_str().ok());
        let method = self.method.as_str();
        match self.outcome {
            Outcome::Http { code, size } => tracing::info!(
                target: "dapr.runtime.http-info", method, code, duration, size, useragent, "HTTP API Called"
            ),
            Outcome::Grpc { code } => tracing::info!(
                target: "dapr.runtime.grpc.api-info", method, code, duration, useragent, "gRPC API Called"
            ),
        }
    }
}
