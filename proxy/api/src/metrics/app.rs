//! What calls of our app count: `dapr_http_client_*`, or for gRPC `dapr_grpc_io_client_*`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Request, Response, StatusCode};
use outrigger_telemetry::metrics::{Counter, Family, Histogram, Registry, SIZE_BYTES};
use outrigger_wire::{Body, Failure, OnEnd, header};
use tokio::time::Instant;

use super::{Metrics, counted, counted_bytes, unanswered};
use crate::grpc::status;

/// The name of a call of the app where paths are no labels.
const ENDPOINT: &str = "CallLocal";

pub(super) struct Families {
    completed: Family<Counter>,
    latency: Family<Histogram>,
    sent: Family<Histogram>,
    received: Histogram,
    http: Mutex<HashMap<(&'static str, &'static str, u16), HttpSeries>>,
    grpc_completed: Family<Counter>,
    grpc_latency: Family<Histogram>,
    grpc_sent: Family<Histogram>,
    grpc_received: Family<Histogram>,
}

#[derive(Clone)]
struct HttpSeries {
    completed: Counter,
    latency: Histogram,
    sent: Histogram,
}

impl Families {
    pub(super) fn new(registry: &Registry, app_id: &str) -> Self {
        const HTTP: &[&str] = &["app_id", "method", "path", "status"];
        const GRPC: &[&str] = &["app_id", "grpc_client_method", "grpc_client_status"];
        const GRPC_SIZE: &[&str] = &["app_id", "grpc_client_method"];
        let grpc_size = |name, help| registry.histogram(name, help, GRPC_SIZE, SIZE_BYTES);
        Self {
            completed: registry.counter("dapr_http_client_completed_count", "HTTP calls of the app ended.", HTTP),
            latency: registry.latency(
                "dapr_http_client_roundtrip_latency",
                "Time from a call of the app to the end of its response, in milliseconds.",
                HTTP,
            ),
            sent: registry.histogram(
                "dapr_http_client_sent_bytes",
                "Size of request bodies sent to the app, as declared.",
                HTTP,
                SIZE_BYTES,
            ),
            received: registry
                .histogram(
                    "dapr_http_client_received_bytes",
                    "Size of the app's HTTP response bodies.",
                    &["app_id"],
                    SIZE_BYTES,
                )
                .with(&[app_id]),
            http: Mutex::default(),
            grpc_completed: registry.counter(
                "dapr_grpc_io_client_completed_rpcs",
                "gRPC calls of the app ended.",
                GRPC,
            ),
            grpc_latency: registry.latency(
                "dapr_grpc_io_client_roundtrip_latency",
                "Time from a gRPC call of the app to its end, in milliseconds.",
                GRPC,
            ),
            grpc_sent: grpc_size("dapr_grpc_io_client_sent_bytes_per_rpc", "Bytes sent to the app in one call."),
            grpc_received: grpc_size("dapr_grpc_io_client_received_bytes_per_rpc", "Bytes of the app in one call."),
        }
    }

    fn http(&self, app_id: &str, path: Cow<'static, str>, verb: &'static str, status: StatusCode) -> HttpSeries {
        let make = |path: &str| {
            let labels = [app_id, verb, path, status.as_str()];
            HttpSeries {
                completed: self.completed.with(&labels),
                latency: self.latency.with(&labels),
                // As in stock, whose record is made before there is a status.
                sent: self.sent.with(&[app_id, verb, path, ""]),
            }
        };
        match path {
            Cow::Owned(path) => make(&path),
            Cow::Borrowed(endpoint) => {
                let mut known = self.http.lock().unwrap_or_else(PoisonError::into_inner);
                known.entry((endpoint, verb, status.as_u16())).or_insert_with(|| make(endpoint)).clone()
            }
        }
    }
}

/// One call of the app under way. Recorded when it, or the body of its response, is dropped.
pub(crate) struct AppCall {
    metrics: Arc<Metrics>,
    started: Instant,
    received: u64,
    kind: Kind,
}

enum Kind {
    Http { path: Cow<'static, str>, verb: &'static str, sent: u64, status: StatusCode },
    Grpc { method: Box<str>, sent: Option<Arc<AtomicU64>>, code: u32 },
}

impl AppCall {
    /// The call, and its request with the bytes counted.
    pub(crate) fn begin(metrics: &Arc<Metrics>, request: Request<Body>) -> (Self, Request<Body>) {
        let (kind, request) = if header::is_grpc(request.headers()) {
            let method = request.uri().path().into();
            let (request, sent) = counted(request);
            (Kind::Grpc { method, sent, code: status::CANCELLED }, request)
        } else {
            let path = metrics.labels.paths.label(request.uri().path(), ENDPOINT);
            let verb = metrics.verb(request.method());
            let sent = header::content_length(request.headers()).unwrap_or(0);
            (Kind::Http { path, verb, sent, status: unanswered() }, request)
        };
        (Self { metrics: Arc::clone(metrics), started: Instant::now(), received: 0, kind }, request)
    }

    /// Follows the answer to its end. A failure has the status that it gives our caller.
    pub(crate) fn follow(mut self, answer: Result<Response<Body>, Failure>) -> Result<Response<Body>, Failure> {
        match (&mut self.kind, &answer) {
            (Kind::Http { status, .. }, Ok(response)) => *status = response.status(),
            (Kind::Http { status, .. }, Err(failure)) => *status = failure.http(),
            (Kind::Grpc { code, .. }, Ok(response)) => *code = status::read(response.headers()).unwrap_or(*code),
            (Kind::Grpc { code, .. }, Err(failure)) => *code = failure.grpc(),
        }
        Ok(answer?.map(|body| body.with_on_end(Box::new(self))))
    }
}

impl OnEnd for AppCall {
    fn data(&mut self, length: usize) {
        self.received += length as u64;
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Kind::Grpc { code, .. } = &mut self.kind {
            *code = status::read(trailers).unwrap_or(*code);
        }
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

impl Drop for AppCall {
    fn drop(&mut self) {
        let (families, app_id) = (&self.metrics.app, self.metrics.app_id.as_str());
        match &mut self.kind {
            Kind::Http { path, verb, sent, status } => {
                let series = families.http(app_id, std::mem::take(path), verb, *status);
                series.completed.inc();
                series.latency.observe_ms(self.started.elapsed());
                series.sent.observe_bytes(*sent);
                families.received.observe_bytes(self.received);
            }
            Kind::Grpc { method, sent, code } => {
                let method = self.metrics.grpc_label(method, *code);
                let labels = [app_id, method, status::name(*code)];
                families.grpc_completed.with(&labels).inc();
                families.grpc_latency.with(&labels).observe_ms(self.started.elapsed());
                families.grpc_sent.with(&[app_id, method]).observe_bytes(counted_bytes(sent.as_ref()));
                families.grpc_received.with(&[app_id, method]).observe_bytes(self.received);
            }
        }
    }
}
