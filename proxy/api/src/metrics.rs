//! The API's own metrics, under the stock names.
//!
//! Labels are bounded by construction unless the Configuration asks for paths: a verb of
//! HTTP or `UNKNOWN`, the name of an endpoint or a pattern instead of a path, a status, and
//! of gRPC methods only those that an app has answered. A request is recorded once, when
//! its response body is gone.

mod app;
mod paths;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use outrigger_telemetry::metrics::{Counter, Family, Histogram, Registry, SIZE_BYTES};
use outrigger_wire::{Body, Cause, Failure, OnEnd};
use tokio::time::Instant;

use crate::grpc::status;
pub(crate) use app::AppCall;
pub use paths::{Otherwise, Paths, PatternError};

/// Most gRPC methods that have a label of their own; further ones are `other`.
const GRPC_METHODS: usize = 256;

/// How requests are told apart: `spec.metrics.http`.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// The label of a path.
    pub paths: Paths,
    /// Whether the label of the method stays empty.
    pub exclude_verbs: bool,
}

/// The metrics of both front ends, and of the calls of our app.
pub struct Metrics {
    app_id: String,
    labels: Labels,
    request_count: Family<Counter>,
    response_count: Option<Family<Counter>>,
    latency: Family<Histogram>,
    request_bytes: Histogram,
    response_bytes: Histogram,
    http: Mutex<HashMap<(&'static str, &'static str, u16), HttpSeries>>,
    grpc_completed: Family<Counter>,
    grpc_latency: Family<Histogram>,
    grpc_received: Family<Histogram>,
    grpc_sent: Family<Histogram>,
    grpc_methods: Mutex<BTreeSet<Box<str>>>,
    app: app::Families,
    limits: Family<Counter>,
}

/// The series of one (endpoint, verb, status).
#[derive(Clone)]
struct HttpSeries {
    requests: Counter,
    responses: Option<Counter>,
    latency: Histogram,
}

impl Metrics {
    /// The metrics in `registry`, of the sidecar of `app_id`.
    pub fn new(registry: &Registry, app_id: &str, labels: Labels) -> Self {
        const HTTP: &[&str] = &["app_id", "method", "path", "status"];
        const GRPC: &[&str] = &["app_id", "grpc_server_method", "grpc_server_status"];
        const GRPC_SIZE: &[&str] = &["app_id", "grpc_server_method"];
        let size = |name, help| registry.histogram(name, help, &["app_id"], SIZE_BYTES).with(&[app_id]);
        let grpc_size = |name, help| registry.histogram(name, help, GRPC_SIZE, SIZE_BYTES);
        Self {
            app_id: app_id.to_owned(),
            request_count: registry.counter("dapr_http_server_request_count", "HTTP requests served.", HTTP),
            // As in stock, not kept when it was asked for few series.
            response_count: labels
                .paths
                .counts_responses()
                .then(|| registry.counter("dapr_http_server_response_count", "HTTP responses given.", HTTP)),
            latency: registry.latency(
                "dapr_http_server_latency",
                "Time from a request's head to the end of its response, in milliseconds.",
                HTTP,
            ),
            request_bytes: size("dapr_http_server_request_bytes", "Size of HTTP request bodies, as declared."),
            response_bytes: size("dapr_http_server_response_bytes", "Size of HTTP response bodies."),
            http: Mutex::default(),
            grpc_completed: registry.counter("dapr_grpc_io_server_completed_rpcs", "gRPC calls ended.", GRPC),
            grpc_latency: registry.latency(
                "dapr_grpc_io_server_server_latency",
                "Time from a gRPC call's head to its end, in milliseconds.",
                GRPC,
            ),
            grpc_received: grpc_size("dapr_grpc_io_server_received_bytes_per_rpc", "Bytes of requests of one call."),
            grpc_sent: grpc_size("dapr_grpc_io_server_sent_bytes_per_rpc", "Bytes of responses of one gRPC call."),
            grpc_methods: Mutex::default(),
            app: app::Families::new(registry, app_id),
            limits: registry.counter(
                "outrigger_limit_exceeded_total",
                "Bounds met, by their name in the limits.",
                &["limit"],
            ),
            labels,
        }
    }

    /// Counts a bound of the limits that was met.
    pub(crate) fn limit_exceeded(&self, name: &'static str) {
        self.limits.with(&[name]).inc();
    }

    /// Counts the bound that a failure of ours names, if it names one.
    pub(crate) fn count_limit(&self, failure: &Failure) {
        if let Cause::Limit { name, .. } = failure.cause() {
            self.limit_exceeded(name);
        }
    }

    fn http(&self, path: Cow<'static, str>, verb: &'static str, status: StatusCode) -> HttpSeries {
        let make = |path: &str| {
            let labels = [self.app_id.as_str(), verb, path, status.as_str()];
            HttpSeries {
                requests: self.request_count.with(&labels),
                responses: self.response_count.as_ref().map(|family| family.with(&labels)),
                latency: self.latency.with(&labels),
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

    /// The method's label: itself once an app has answered it with OK.
    fn grpc_label<'a>(&self, method: &'a str, code: u32) -> &'a str {
        let mut known = self.grpc_methods.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(method) {
            return method;
        }
        if code == 0 && known.len() < GRPC_METHODS {
            known.insert(method.into());
            return method;
        }
        "other"
    }

    /// The verbs that the stock runtime gives a label.
    fn verb(&self, method: &Method) -> &'static str {
        const VERBS: [&str; 9] = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
        if self.labels.exclude_verbs {
            return "";
        }
        VERBS.into_iter().find(|verb| *verb == method.as_str()).unwrap_or("UNKNOWN")
    }
}

/// One HTTP request under way. Recorded when it, or the body of its response, is
/// dropped: with 499 when the client went away before there was a status.
pub(crate) struct HttpRequest {
    metrics: Arc<Metrics>,
    started: Instant,
    path: Cow<'static, str>,
    verb: &'static str,
    request_bytes: u64,
    response_bytes: u64,
    status: StatusCode,
}

impl HttpRequest {
    pub(crate) fn begin(
        metrics: &Arc<Metrics>,
        endpoint: &'static str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            started: Instant::now(),
            path: metrics.labels.paths.label(path, endpoint),
            verb: metrics.verb(method),
            request_bytes: outrigger_wire::header::content_length(headers).unwrap_or(0),
            response_bytes: 0,
            status: unanswered(),
        }
    }

    /// Follows the response to its end.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.status = response.status();
        response.map(|body| body.with_on_end(Box::new(self)))
    }
}

impl OnEnd for HttpRequest {
    fn data(&mut self, length: usize) {
        self.response_bytes += length as u64;
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

impl Drop for HttpRequest {
    fn drop(&mut self) {
        let series = self.metrics.http(std::mem::take(&mut self.path), self.verb, self.status);
        series.requests.inc();
        if let Some(responses) = &series.responses {
            responses.inc();
        }
        series.latency.observe_ms(self.started.elapsed());
        self.metrics.request_bytes.observe_bytes(self.request_bytes);
        self.metrics.response_bytes.observe_bytes(self.response_bytes);
    }
}

/// The status of a request whose client did not wait for one.
fn unanswered() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The request, and where the bytes of its body are counted as they pass; nowhere when there are none.
fn counted(request: Request<Body>) -> (Request<Body>, Option<Arc<AtomicU64>>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let counting = Box::new(Passing(Arc::clone(&bytes)));
    (request.map(|body| body.with_on_end(counting)), Some(bytes))
}

fn counted_bytes(bytes: Option<&Arc<AtomicU64>>) -> u64 {
    bytes.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
}

struct Passing(Arc<AtomicU64>);

impl OnEnd for Passing {
    fn data(&mut self, length: usize) {
        self.0.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

/// One gRPC call under way. Recorded when it, or the body of its response, is
/// dropped: as cancelled unless a status was seen by then.
pub(crate) struct GrpcCall {
    metrics: Arc<Metrics>,
    started: Instant,
    method: Box<str>,
    received_bytes: Option<Arc<AtomicU64>>,
    sent_bytes: u64,
    code: u32,
}

impl GrpcCall {
    /// The call, and its request with the bytes counted.
    pub(crate) fn begin(metrics: &Arc<Metrics>, request: Request<Body>) -> (Self, Request<Body>) {
        let method = request.uri().path().into();
        let (request, received_bytes) = counted(request);
        let metrics = Arc::clone(metrics);
        let started = Instant::now();
        (Self { metrics, started, method, received_bytes, sent_bytes: 0, code: status::CANCELLED }, request)
    }

    /// Follows the response to its end.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(code) = status::read(response.headers()) {
            self.code = code;
        }
        response.map(|body| body.with_on_end(Box::new(self)))
    }
}

impl OnEnd for GrpcCall {
    fn data(&mut self, length: usize) {
        self.sent_bytes += length as u64;
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(code) = status::read(trailers) {
            self.code = code;
        }
    }

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

impl Drop for GrpcCall {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        let method = metrics.grpc_label(&self.method, self.code);
        let labels = [metrics.app_id.as_str(), method, status::name(self.code)];
        metrics.grpc_completed.with(&labels).inc();
        metrics.grpc_latency.with(&labels).observe_ms(self.started.elapsed());
        let received = counted_bytes(self.received_bytes.as_ref());
        metrics.grpc_received.with(&[metrics.app_id.as_str(), method]).observe_bytes(received);
        metrics.grpc_sent.with(&[metrics.app_id.as_str(), method]).observe_bytes(self.sent_bytes);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn metrics() -> (Registry, Arc<Metrics>) {
        let registry = Registry::new();
        let metrics = Arc::new(Metrics::new(&registry, "orders", Labels::default()));
        (registry, metrics)
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        registry.encode(&mut text);
        text
    }

    #[tokio::test]
    async fn a_request_is_recorded_once_when_its_body_has_passed() {
        let (registry, metrics) = metrics();
        let request =
            HttpRequest::begin(&metrics, "InvokeService", "/v1.0/invoke/a/method/b", &Method::POST, &HeaderMap::new());
        let response = request.follow(Response::new(Body::full("hello")));
        let row =
            r#"dapr_http_server_request_count{app_id="orders",method="POST",path="InvokeService",status="200"} 1"#;
        assert!(!text(&registry).contains(row));
        response.into_body().collect().await.unwrap();
        assert!(text(&registry).contains(row), "{}", text(&registry));
        assert!(text(&registry).contains(r#"dapr_http_server_response_bytes_sum{app_id="orders"} 5"#));
    }

    #[test]
    fn a_client_that_went_away_is_recorded_as_499() {
        let (registry, metrics) = metrics();
        drop(HttpRequest::begin(
            &metrics,
            "InvokeService",
            "/v1.0/invoke/a/method/b",
            &Method::from_bytes(b"BREW").unwrap(),
            &HeaderMap::new(),
        ));
        let row =
            r#"dapr_http_server_request_count{app_id="orders",method="UNKNOWN",path="InvokeService",status="499"} 1"#;
        assert!(text(&registry).contains(row), "{}", text(&registry));
    }

    #[test]
    fn a_grpc_method_that_nobody_answered_gets_no_label() {
        let (registry, metrics) = metrics();
        let answer = |code: &'static str| Response::builder().header("grpc-status", code).body(Body::empty()).unwrap();
        let begin = |path: &'static str| {
            GrpcCall::begin(&metrics, Request::builder().uri(path).body(Body::full("four")).unwrap()).0
        };
        drop(begin("/made.Up/Name").follow(answer("12")));
        drop(begin("/shop.Orders/Get").follow(answer("0")));
        drop(begin("/shop.Orders/Get").follow(answer("7")));
        let text = text(&registry);
        for (method, status) in
            [("other", "Unimplemented"), ("/shop.Orders/Get", "OK"), ("/shop.Orders/Get", "PermissionDenied")]
        {
            let row = format!(
                r#"dapr_grpc_io_server_completed_rpcs{{app_id="orders",grpc_server_method="{method}",grpc_server_status="{status}"}} 1"#
            );
            assert!(text.contains(&row), "{row}\n{text}");
        }
        assert!(!text.contains("made.Up"));
    }
}
