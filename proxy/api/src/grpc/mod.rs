//! The gRPC API: transparent proxying of every call that names an app in its metadata,
//! and what the sidecar serves itself (`runtime`, `health`, `reflection`).
//!
//! Proxying works on HTTP/2 messages as bytes: no message is decoded, so unary calls and
//! all kinds of streams are one thing.

mod ending;
mod health;
mod http_message;
mod reflection;
mod runtime;
pub(crate) mod status;
mod timeout;

use std::sync::Arc;

use ::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode, Version};
use outrigger_blocks::error::{ApiError, Manner, Problem};
use outrigger_blocks::invoke::{Invocation, Invoke};
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::trace::{self, SpanKind, Tracer, attribute};
use outrigger_wire::{Body, Cause, Failure, Limits, header};

use crate::call_log::{CallLog, LoggedCall};
use crate::metadata::Metadata;
use crate::metrics::{GrpcCall, Metrics};
use crate::named;
use crate::readiness::Readiness;
use crate::rules::{self, ApiRules};
use crate::shutdown::Shutdown;
use crate::token::{ApiToken, Rejected};
use ending::{Deadline, Ending};
use health::HealthService;
use reflection::Reflection;
use runtime::Runtime;

/// Services of the stock runtime; an app cannot be called by their names.
const OWN: [&str; 3] = [runtime::SERVICE, "/TaskHubSidecarService/", "/dapr.proto.internals.v1.ServiceInvocation/"];

/// Stock's words for a method that the Configuration has closed.
const CLOSED: &str = "requested endpoint is not available";

/// What the gRPC API is made of.
pub struct Config {
    /// The token that callers must show; `None` asks for none.
    pub token: Option<ApiToken>,
    /// The bounds of the data path.
    pub limits: Arc<Limits>,
    /// The way out to other apps.
    pub invoke: Arc<Invoke>,
    /// What the sidecar says of itself.
    pub metadata: Arc<Metadata>,
    /// Whether the sidecar can serve.
    pub readiness: Arc<Readiness>,
    /// Notified once by `Shutdown`.
    pub shutdown: Arc<Shutdown>,
    /// Spans of API calls.
    pub tracer: Tracer,
    /// Metrics of API calls.
    pub metrics: Arc<Metrics>,
    /// Which groups of the API are served.
    pub rules: ApiRules,
    /// How calls are logged; `None` when they are not.
    pub call_log: Option<CallLog>,
}

/// The gRPC API as a service for [`serve`](outrigger_mesh::http::server::serve).
pub struct GrpcApi {
    token: Option<ApiToken>,
    invoke: Arc<Invoke>,
    tracer: Tracer,
    metrics: Arc<Metrics>,
    rules: ApiRules,
    call_log: Option<CallLog>,
    runtime: Runtime,
    health: HealthService,
    /// `None` if the descriptors that were built in could not be read.
    reflection: Option<Reflection>,
}

impl GrpcApi {
    /// The API.
    pub fn new(config: Config) -> Self {
        let Config { token, limits, invoke, metadata, readiness, shutdown, tracer, metrics, rules, call_log } = config;
        let parts = runtime::Parts {
            invoke: Arc::clone(&invoke),
            metadata,
            shutdown,
            limits,
            tracer: tracer.clone(),
            metrics: Arc::clone(&metrics),
        };
        let (health, reflection) = (HealthService::new(readiness), Reflection::new().ok());
        Self { token, invoke, tracer, metrics, rules, call_log, runtime: Runtime::new(parts), health, reflection }
    }

    /// Whether the call may be looked at: token, baggage.
    fn admit(&self, head: &Parts) -> Result<(), Failure> {
        if let Some(token) = &self.token {
            token.check(&head.headers).map_err(unauthenticated)?;
        }
        if head.headers.contains_key(trace::BAGGAGE) {
            trace::baggage(&head.headers).map_err(|error| Failure::bad_input("baggage", "", error.to_string()))?;
        }
        Ok(())
    }

    /// The answer of an app or our own, within the caller's deadline.
    async fn answer(&self, mut head: Parts, body: Body) -> Result<Response<Body>, Failure> {
        self.admit(&head)?;
        if let Some(method) = head.uri.path().strip_prefix(runtime::SERVICE)
            && !self.rules.allow(rules::of_grpc(method).as_ref())
        {
            return Err(Cause::Unsupported { what: CLOSED.into() }.into());
        }
        let deadline = timeout::read(&head.headers)?.and_then(Deadline::new);
        if let Some(deadline) = deadline {
            timeout::write(&mut head.headers, deadline.left());
        }
        let answering = async {
            let path = head.uri.path();
            if Runtime::has(path) {
                return Ok(self.runtime.call(Request::from_parts(head, body)).await);
            }
            if let Some(reflection) = self.reflection.as_ref().filter(|_| Reflection::has(path)) {
                return Ok(reflection.call(Request::from_parts(head, body)).await);
            }
            if HealthService::has(path) && !names_an_app(&head.headers) {
                return Ok(self.health.call(Request::from_parts(head, body)).await);
            }
            self.proxy(head, body, deadline).await
        };
        let answer = match deadline {
            None => answering.await?,
            Some(deadline) => {
                tokio::time::timeout_at(deadline.at, answering).await.map_err(|_| deadline.passed())??
            }
        };
        Ok(answer.map(|body| Ending::body(body, deadline)))
    }

    async fn proxy(&self, head: Parts, body: Body, deadline: Option<Deadline>) -> Result<Response<Body>, Failure> {
        let path = head.uri.clone();
        let target = target(path.path(), &head.headers)?;
        let target = target.to_str().map_err(|_| Failure::bad_input("dapr-app-id", &target, "visible ASCII"))?;

        let trace = self.tracer.receive_grpc(&head.headers);
        let mut span = self.tracer.start_with(&trace, SpanKind::Client, || path.path().to_owned().into());
        if let Some(span) = &mut span {
            span.set(attribute::DAPR_PROTOCOL, "grpc");
            span.set(attribute::DAPR_API, path.path().to_owned());
            span.set(attribute::RPC_SYSTEM, "grpc");
            span.set(attribute::RPC_SERVICE, "ServiceInvocation");
            span.set(attribute::NET_PEER_NAME, target.to_owned());
            span.set(attribute::DAPR_INVOKE_METHOD, path.path().to_owned());
            span.headers(&head.headers);
        }
        let protocol = CallProtocol::Grpc;
        let invocation =
            Invocation { target, protocol, path: path.path(), deadline: deadline.map(|deadline| deadline.at), trace };
        let answer = self.invoke.call(invocation, Request::from_parts(head, body)).await;
        if let Some(span) = &mut span {
            match &answer {
                Ok(response) => span.grpc_status(status::read(response.headers()).unwrap_or(0), ""),
                Err(failure) => span.grpc_status(failure.grpc(), failure.to_string()),
            }
        }
        answer
    }
}

impl Service for GrpcApi {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        if let Some(refused) = not_grpc(&request) {
            return refused;
        }
        let logged = self.call_log.map(|_| LoggedCall::grpc(request.uri().path(), request.headers()));
        let (metered, request) = GrpcCall::begin(&self.metrics, request);
        let (head, body) = request.into_parts();
        let answer = self.answer(head, body).await;
        let response = metered.follow(answer.unwrap_or_else(|failure| failed(&failure)));
        match logged {
            Some(logged) => logged.follow(response),
            None => response,
        }
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        failed(failure)
    }

    fn limit_exceeded(&self, name: &'static str) {
        self.metrics.limit_exceeded(name);
    }
}

fn failed(failure: &Failure) -> Response<Body> {
    status::failed(&ApiError::new(Problem::Proxy { failure }, Manner::Plain))
}

/// Health is the one service of ours that apps have too: named in the metadata, the app is asked.
fn names_an_app(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CALLEE_APP_ID) || headers.contains_key(header::APP_ID)
}

/// The app that a call names: `dapr-callee-app-id` first, as the stock runtime.
fn target(path: &str, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
    if OWN.into_iter().any(|service| path.starts_with(service)) {
        return Err(runtime::unimplemented(path));
    }
    let named = named::app(headers, &header::CALLEE_APP_ID).or_else(|| named::app(headers, &header::APP_ID));
    named.ok_or_else(|| {
        let what = format!(
            "the method {path} by this sidecar itself; to call it on an app, send its ID as metadata dapr-app-id"
        );
        Cause::Unsupported { what }.into()
    })
}

fn unauthenticated(rejected: Rejected) -> Failure {
    let what = match rejected {
        Rejected::Missing => "missing api token in request metadata: send DAPR_API_TOKEN as dapr-api-token",
        Rejected::Mismatch => "authentication error: api token mismatch",
    };
    Cause::Unauthenticated { what: what.into() }.into()
}

/// The HTTP answer to what is no gRPC at all, and could not read trailers.
fn not_grpc(request: &Request<Body>) -> Option<Response<Body>> {
    let (status, text) = if request.version() != Version::HTTP_2 {
        (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this port speaks gRPC over HTTP/2; the HTTP API has its own port\n")
    } else if request.method() != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, "a gRPC call is a POST\n")
    } else if !header::is_grpc(request.headers()) {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "a gRPC call has the content-type application/grpc\n")
    } else {
        return None;
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    Some(response)
}
