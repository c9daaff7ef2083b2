//! The record of one call, written once when its response body has ended or was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use outrigger_identity::AppId;
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::access_record::{AccessRecord, Direction, Flag};
use outrigger_telemetry::trace::{Span, attribute};
use outrigger_wire::{Body, Failure, OnEnd};

/// A call under way: what will be told of it, and what must be kept until it ends.
pub(crate) struct CallRecord<K = ()> {
    pub(crate) access: AccessRecord,
    pub(crate) span: Option<Span>,
    uploaded: Option<Arc<AtomicU64>>,
    protocol: CallProtocol,
    ended: bool,
    kept: Option<K>,
}

impl<K: Send + 'static> CallRecord<K> {
    pub(crate) fn begin(direction: Direction, protocol: CallProtocol, span: Option<Span>) -> Self {
        let mut access = AccessRecord::begin(direction);
        access.protocol(match protocol {
            CallProtocol::Http => "http",
            CallProtocol::Grpc => "grpc",
        });
        Self { access, span, uploaded: None, protocol, ended: false, kept: None }
    }

    /// Gives the span, where there is one, what is known before the call: stock's keys
    /// and OpenTelemetry's.
    pub(crate) fn describe(&mut self, callee: &AppId, method: &http::Method) {
        let Some(span) = &mut self.span else { return };
        let (protocol, system) = match self.protocol {
            CallProtocol::Http => ("http", None),
            CallProtocol::Grpc => ("grpc", Some("grpc")),
        };
        span.set(attribute::DAPR_PROTOCOL, protocol);
        span.set(attribute::RPC_SERVICE, "ServiceInvocation");
        span.set(attribute::NET_PEER_NAME, callee.app_id().to_owned());
        span.set(attribute::HTTP_REQUEST_METHOD, method.as_str().to_owned());
        if let Some(system) = system {
            span.set(attribute::RPC_SYSTEM, system);
        }
    }

    /// Counts the request's bytes as they pass.
    pub(crate) fn count_upload(&mut self, request: Request<Body>) -> Request<Body> {
        if !self.access.is_on() || request.body().is_end_stream() {
            return request;
        }
        let uploaded = Arc::new(AtomicU64::new(0));
        self.uploaded = Some(Arc::clone(&uploaded));
        request.map(|body| body.with_on_end(Box::new(Upload(uploaded))))
    }

    /// The response, which carries the record and `kept` to the end of its body.
    pub(crate) fn answered(mut self, response: Response<Body>, kept: K) -> Response<Body> {
        let status = response.status().as_u16();
        self.access.first_byte();
        self.access.status(status);
        if let Some(span) = &mut self.span {
            span.http_status(response.status());
        }
        if self.protocol == CallProtocol::Grpc {
            self.grpc_status(response.headers());
        }
        self.kept = Some(kept);
        response.map(|body| body.with_on_end(Box::new(self)))
    }

    /// Ends the record of a call that failed.
    pub(crate) fn failed(mut self, failure: &Failure) {
        self.note(failure);
        self.ended = true;
    }

    fn note(&mut self, failure: &Failure) {
        self.access.failure(failure.name());
        match failure.name() {
            "timeout" => self.access.flag(Flag::TimedOut),
            "reset" | "refused" => self.access.flag(Flag::Reset),
            "cancelled" => self.access.flag(Flag::Cancelled),
            "limit" => self.access.flag(Flag::Limited),
            "breaker_open" => self.access.flag(Flag::BreakerOpen),
            "draining" => self.access.flag(Flag::Draining),
            _ => {}
        }
        if let Some(span) = &mut self.span {
            span.fail(failure.to_string());
        }
    }

    fn grpc_status(&mut self, headers: &HeaderMap) {
        let status =
            headers.get("grpc-status").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        if let Some(status) = status {
            self.access.grpc_status(status);
            if let Some(span) = &mut self.span {
                let message = headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
                span.grpc_status(status, message.to_owned());
            }
        }
    }
}

impl<K: Send + 'static> OnEnd for CallRecord<K> {
    fn data(&mut self, length: usize) {
        self.access.add_bytes_out(length as u64);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.protocol == CallProtocol::Grpc {
            self.grpc_status(trailers);
        }
    }

    fn end(mut self: Box<Self>, result: Result<(), &Failure>) {
        self.ended = true;
        if let Err(failure) = result {
            self.note(failure);
        }
    }
}

impl<K> Drop for CallRecord<K> {
    fn drop(&mut self) {
        if let Some(uploaded) = &self.uploaded {
            self.access.add_bytes_in(uploaded.load(Ordering::Relaxed));
        }
        if !self.ended {
            self.access.flag(Flag::Cancelled);
        }
    }
}

struct Upload(Arc<AtomicU64>);

impl OnEnd for Upload {
    fn data(&mut self, length: usize) {
        self.0.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}
