//! The gRPC API: transparent proxying of every call that names an app in its metadata.
//!
//! It works on HTTP/2 messages as bytes: no message is decoded, so unary calls and all
//! kinds of streams are one thing.

mod ending;
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
use outrigger_telemetry::trace::{self, SpanKind, Tracer};
use outrigger_wire::{Body, Cause, Failure, header};

use crate::metrics::{GrpcCall, Metrics};
use crate::token::{ApiToken, Rejected};
use ending::{Deadline, Ending};

/// Services of the stock runtime that this build does not have; an app cannot be called by their names.
const UNIMPLEMENTED: [&str; 2] = ["/dapr.proto.runtime.v1.Dapr/", "/TaskHubSidecarService/"];

/// What the gRPC API is made of.
pub struct Config {
    /// The token that callers must show; `None` asks for none.
    pub token: Option<ApiToken>,
    /// The way out to other apps.
    pub invoke: Arc<Invoke>,
    /// Spans of API calls.
    pub tracer: Tracer,
    /// Metrics of API calls.
    pub metrics: Arc<Metrics>,
}

/// The gRPC API as a service for [`serve`](outrigger_mesh::http::server::serve).
pub struct GrpcApi(Config);

impl GrpcApi {
    /// The API.
    pub const fn new(config: Config) -> Self {
        Self(config)
    }

    /// Whether the call may be looked at: token, baggage.
    fn admit(&self, head: &mut Parts) -> Result<(), Failure> {
        if let Some(token) = &self.0.token {
            token.check(&head.headers).map_err(unauthenticated)?;
        }
        if head.headers.contains_key(trace::BAGGAGE) {
            trace::baggage(&head.headers).map_err(|error| Failure::bad_input("baggage", "", error.to_string()))?;
        }
        Ok(())
    }

    async fn proxy(&self, mut head: Parts, body: Body) -> Result<Response<Body>, Failure> {
        self.admit(&mut head)?;
        let timeout = timeout::read(&head.headers)?;
        let deadline = timeout.and_then(Deadline::new);
        if let Some(deadline) = deadline {
            timeout::write(&mut head.headers, deadline.left());
        }
        let path = head.uri.clone();
        let target = target(path.path(), &head.headers)?;
        let target = target.to_str().map_err(|_| Failure::bad_input("dapr-app-id", &target, "visible ASCII"))?;

        let trace = self.0.tracer.receive_grpc(&head.headers);
        let mut span = self.0.tracer.start_with(&trace, SpanKind::Client, || path.path().to_owned().into());
        let protocol = CallProtocol::Grpc;
        let invocation =
            Invocation { target, protocol, path: path.path(), deadline: deadline.map(|deadline| deadline.at), trace };
        let call = self.0.invoke.call(invocation, Request::from_parts(head, body));
        let answer = match deadline {
            None => call.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline.at, call).await.unwrap_or_else(|_| Err(deadline.passed()))
            }
        };
        if let Some(span) = &mut span {
            match &answer {
                Ok(response) => span.grpc_status(status::read(response.headers()).unwrap_or(0), ""),
                Err(failure) => span.grpc_status(failure.grpc(), failure.to_string()),
            }
        }
        Ok(answer?.map(|body| Ending::body(body, deadline)))
    }
}

impl Service for GrpcApi {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        if let Some(refused) = not_grpc(&request) {
            return refused;
        }
        let metered = GrpcCall::begin(&self.0.metrics, request.uri().path());
        let (head, body) = request.into_parts();
        let answer = self.proxy(head, body).await;
        metered.follow(answer.unwrap_or_else(|failure| failed(&failure)))
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        failed(failure)
    }

    fn limit_exceeded(&self, name: &'static str) {
        self.0.metrics.limit_exceeded(name);
    }
}

fn failed(failure: &Failure) -> Response<Body> {
    status::failed(&ApiError::new(Problem::Proxy { failure }, Manner::Plain))
}

/// The app that a call names: `dapr-callee-app-id` first, as the stock runtime.
fn target(path: &str, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
    if let Some(service) = UNIMPLEMENTED.into_iter().find(|service| path.starts_with(service)) {
        return Err(Cause::Unsupported { what: format!("the gRPC service {}", service.trim_matches('/')) }.into());
    }
    let named = headers.get(header::CALLEE_APP_ID).or_else(|| headers.get(header::APP_ID));
    named.cloned().ok_or_else(|| {
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
