//! The HTTP API: decodes a request, calls the block, encodes its answer.

mod handlers;
mod public;
mod respond;
mod route;

use std::sync::Arc;

use ::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ::http::request::Parts;
use ::http::{HeaderMap, Request, Response};
use outrigger_blocks::error::{ApiError, Manner, Problem};
use outrigger_blocks::invoke::Invoke;
use outrigger_mesh::http::server::{Connection, Service, refusal_status};
use outrigger_telemetry::trace::{self, Span, SpanKind, TraceContext, Tracer, attribute};
use outrigger_wire::{Body, Failure, Limits, header};

use crate::browser::Browser;
use crate::call_log::{CallLog, LoggedCall};
use crate::cors::Cors;
use crate::metadata::Metadata;
use crate::metrics::{HttpRequest, Metrics};
use crate::named;
use crate::readiness::Readiness;
use crate::rules::ApiRules;
use crate::shutdown::Shutdown;
use crate::token::ApiToken;
pub use public::PublicApi;
use route::Route;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the HTTP API is made of.
pub struct Config {
    /// The token that callers must show; `None` asks for none.
    pub token: Option<ApiToken>,
    /// What is asked of requests that a browser may have sent.
    pub browser: Browser,
    /// The pages that may read what the API answers; `None` lets none.
    pub cors: Option<Cors>,
    /// Statuses for bad input.
    pub manner: Manner,
    /// The bounds of the data path.
    pub limits: Arc<Limits>,
    /// The way out to other apps.
    pub invoke: Arc<Invoke>,
    /// What the sidecar says of itself.
    pub metadata: Arc<Metadata>,
    /// Whether the sidecar can serve.
    pub readiness: Arc<Readiness>,
    /// Told of `POST /v1.0/shutdown`.
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

/// Why a request is not looked at.
enum Refused {
    /// It shows no token, or another one.
    Token,
    /// Anything else.
    Request(Failure),
}

/// The HTTP API as a service for [`serve`](outrigger_mesh::http::server::serve).
#[derive(Clone)]
pub struct HttpApi(Arc<Config>);

impl HttpApi {
    /// The API.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(config))
    }

    /// The part of it that is for the public port.
    #[must_use]
    pub fn public(&self) -> PublicApi {
        PublicApi(self.clone())
    }

    fn failed(&self, problem: Problem<'_>) -> Response<Body> {
        respond::error(&ApiError::new(problem, self.0.manner))
    }

    /// Whether the request may be looked at: browser, token, baggage.
    fn admit(&self, head: &mut Parts, route: &Route<'_>) -> Result<(), Refused> {
        self.0.browser.admit(head, self.0.cors.as_ref()).map_err(Refused::Request)?;
        if matches!(route, Route::Shutdown | Route::PutMetadata { .. }) {
            self.0.browser.admit_change(head).map_err(Refused::Request)?;
        }
        if let Some(token) = &self.0.token
            && !route.is_health()
        {
            token.check(&head.headers).map_err(|_| Refused::Token)?;
        }
        if !head.headers.contains_key(trace::BAGGAGE) {
            return Ok(());
        }
        match trace::baggage(&head.headers) {
            Ok(Some(baggage)) => drop(head.headers.insert(trace::BAGGAGE, baggage)),
            Ok(None) => drop(head.headers.remove(trace::BAGGAGE)),
            Err(error) => return Err(Refused::Request(Failure::bad_input("baggage", "", error.to_string()))),
        }
        Ok(())
    }

    fn refused(&self, refused: &Refused) -> Response<Body> {
        match refused {
            Refused::Token => respond::invalid_token(),
            Refused::Request(failure) => self.failed(Problem::Request { failure }),
        }
    }

    async fn dispatch(&self, route: Route<'_>, context: &TraceContext, request: Request<Body>) -> Response<Body> {
        match route {
            Route::Healthz => self.healthz(request.uri().query()),
            Route::HealthzOutbound => self.healthz_outbound(),
            Route::GetMetadata => self.get_metadata(),
            Route::PutMetadata { key } => self.put_metadata(key, request.into_body()).await,
            Route::Shutdown => self.shutdown(request.headers()),
            Route::Invoke { target, path } => self.invoke(target, path, context, request).await,
            Route::Unimplemented { api } => self.unimplemented(api),
            Route::Unknown => self.failed(Problem::NoAppId { path: request.uri().path() }),
        }
    }
}

impl HttpApi {
    async fn answer(&self, mut head: Parts, body: Body, connection: &Connection) -> Response<Body> {
        // Clones share their bytes: the route borrows from these while the request moves on.
        let uri = head.uri.clone();
        let app_id = app_id(&mut head.headers);
        // What is no text is no app ID: as an empty name it is refused where names are.
        let app_id = app_id.as_ref().map(|id| id.to_str().unwrap_or("\u{fffd}"));
        let route = Route::of(&head.method, uri.path(), app_id).within(&self.0.rules, uri.path(), app_id);

        let metered = Followed {
            metered: HttpRequest::begin(&self.0.metrics, route.name(), uri.path(), &head.method, &head.headers),
            logged: self.0.call_log.and_then(|log| logged(log, &route, &head)),
        };
        if let Err(refused) = self.admit(&mut head, &route) {
            return metered.follow(self.refused(&refused));
        }
        if route.is_health() {
            let context = TraceContext::new_root(self.0.tracer.sampler());
            return metered.follow(self.dispatch(route, &context, Request::from_parts(head, body)).await);
        }
        let context = self.0.tracer.receive(&head.headers);
        let mut span = self.0.tracer.start_with(&context, SpanKind::Client, || span_name(&route, uri.path()));
        if let Some(span) = &mut span {
            describe(span, &route, &head, connection);
        }
        let baggage = head.headers.get(trace::BAGGAGE).cloned();
        let mut response = self.dispatch(route, &context, Request::from_parts(head, body)).await;
        if let Some(span) = &mut span {
            span.http_status(response.status());
        }
        mark(response.headers_mut(), &context, baggage);
        metered.follow(response)
    }
}

impl Service for HttpApi {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let Some(cors) = &self.0.cors else { return self.answer(head, body, connection).await };
        if let Some(response) = cors.preflight(&head) {
            return response;
        }
        let reading = cors.reading(&head);
        let mut response = self.answer(head, body, connection).await;
        reading.mark(response.headers_mut());
        response
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        let mut response = self.failed(Problem::Request { failure });
        *response.status_mut() = refusal_status(failure);
        response
    }

    fn limit_exceeded(&self, name: &'static str) {
        self.0.metrics.limit_exceeded(name);
    }
}

/// The app that the headers name: `dapr-app-id` first, then basic authentication, which was meant
/// for us and ends here.
fn app_id(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if let Some(app) = named::app(headers, &header::APP_ID).filter(|app| !app.is_empty()) {
        return Some(app);
    }
    let app = named::app_by_basic_authentication(headers)?;
    headers.remove(AUTHORIZATION);
    Some(app)
}

/// What is told of a call when it has ended.
struct Followed {
    metered: HttpRequest,
    logged: Option<LoggedCall>,
}

impl Followed {
    fn follow(self, response: Response<Body>) -> Response<Body> {
        let response = self.metered.follow(response);
        match self.logged {
            Some(logged) => logged.follow(response),
            None => response,
        }
    }
}

fn logged(log: CallLog, route: &Route<'_>, head: &Parts) -> Option<LoggedCall> {
    if log.omit_health_checks && route.is_health() {
        return None;
    }
    let method = match route {
        Route::Invoke { target, .. } if log.obfuscate_urls => format!("{}/{target}", route.name()),
        _ if log.obfuscate_urls => route.name().to_owned(),
        _ => format!("{} {}", head.method, head.uri.path()),
    };
    Some(LoggedCall::http(method, &head.headers))
}

/// As the stock runtime: the trace that the call was part of, unless the app has said so.
fn mark(headers: &mut HeaderMap, context: &TraceContext, baggage: Option<HeaderValue>) {
    if !headers.contains_key(TRACEPARENT) {
        context.inject(headers);
    }
    if let Some(baggage) = baggage {
        headers.insert(trace::BAGGAGE, baggage);
    }
}

/// What is known of an API call before it is answered: stock's keys and OpenTelemetry's.
fn describe(span: &mut Span, route: &Route<'_>, head: &Parts, connection: &Connection) {
    let path = head.uri.path();
    span.set(attribute::DAPR_PROTOCOL, "http");
    span.set(attribute::DAPR_API, format!("{} {path}", head.method));
    span.set(attribute::HTTP_REQUEST_METHOD, head.method.as_str().to_owned());
    span.set(attribute::URL_FULL, path.to_owned());
    span.set(attribute::SERVER_ADDRESS, connection.peer.ip().to_string());
    span.set(attribute::SERVER_PORT, i64::from(connection.peer.port()));
    if let Route::Invoke { target, path } = route {
        span.set(attribute::RPC_SERVICE, "ServiceInvocation");
        span.set(attribute::NET_PEER_NAME, (*target).to_owned());
        span.set(attribute::DAPR_INVOKE_METHOD, path.trim_start_matches('/').to_owned());
    }
    span.headers(&head.headers);
}

fn span_name(route: &Route<'_>, path: &str) -> std::borrow::Cow<'static, str> {
    match route {
        Route::Invoke { target, path } => trace::call_local(target, path),
        _ => path.to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_telemetry::metrics::Registry;
    use outrigger_telemetry::trace::{Config, Endpoint, Exporter, Sampler};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_span_says_what_was_called_and_neither_query_nor_token() {
        const LONG: Duration = Duration::from_secs(10);
        let zipkin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", zipkin.local_addr().unwrap());
        let mut config = Config::new("caller", Endpoint::Zipkin { url, timeout: LONG });
        config.sampler = Sampler::ALWAYS;
        let (tracer, exporter) = Exporter::start(config, &Registry::new(), &tokio::runtime::Handle::current()).unwrap();
        let (head, ()) = Request::get("/v1.0/invoke/orders/method/new?a=hidden")
            .header("dapr-api-token", "hidden")
            .header("dapr-custom", "shown")
            .body(())
            .unwrap()
            .into_parts();
        let connection = Connection { peer: ([127, 0, 0, 1], 7).into(), listener: "api" };

        let context = tracer.receive(&head.headers);
        let mut span = tracer.start(&context, SpanKind::Client, "x").unwrap();
        describe(&mut span, &Route::of(&head.method, head.uri.path(), None), &head, &connection);
        drop(span);
        let shutdown = tokio::spawn(exporter.shutdown(LONG));

        let (mut stream, _) = zipkin.accept().await.unwrap();
        let mut sent = Vec::new();
        while !sent.ends_with(b"}]") {
            assert!(stream.read_buf(&mut sent).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        shutdown.await.unwrap();
        let sent = String::from_utf8(sent).unwrap();
        for tag in [
            r#""dapr.api":"GET /v1.0/invoke/orders/method/new""#,
            r#""dapr.invoke_method":"new""#,
            r#""dapr.protocol":"http""#,
            r#""dapr-custom":"shown""#,
            r#""http.request.method":"GET""#,
            r#""net.peer.name":"orders""#,
            r#""rpc.service":"ServiceInvocation""#,
            r#""server.address":"127.0.0.1""#,
            r#""server.port":"7""#,
            r#""url.full":"/v1.0/invoke/orders/method/new""#,
        ] {
            assert!(sent.contains(tag), "{tag} in {sent}");
        }
        assert!(!sent.contains("hidden"), "{sent}");
    }
}
