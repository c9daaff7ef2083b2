//! A sidecar without its wire: both front ends on free ports, one app.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Request, Response};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use outrigger_api::app::Channel;
use outrigger_api::grpc::GrpcApi;
use outrigger_api::http::HttpApi;
use outrigger_api::{
    ApiRules, ApiToken, AppConnection, Browser, Cors, Labels, Metadata, Metrics, Readiness, Shutdown, grpc, http,
};
use outrigger_blocks::Forwarded;
use outrigger_blocks::app::{self, AppProtocol};
use outrigger_blocks::error::Manner;
use outrigger_blocks::invoke::{self, Invoke};
use outrigger_identity::{AppId, TrustDomain};
use outrigger_mesh::http::client::{self, Client, Version};
use outrigger_mesh::http::server::serve;
use outrigger_mesh::listener::Listener;
use outrigger_mesh::{Outbound, Parts, Peers, Resolver, drain};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Sampler, Tracer};
use outrigger_view::{Endpoint, View};
use outrigger_wire::path::Rules;
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;

/// What a case wants to be otherwise.
pub(crate) struct Settings {
    pub(crate) protocol: AppProtocol,
    pub(crate) token: Option<&'static str>,
    pub(crate) app_token: Option<&'static str>,
    pub(crate) origins: Option<&'static str>,
    pub(crate) manner: Manner,
    pub(crate) rules: Rules,
    pub(crate) app: AppPort,
}

/// Where the app is.
pub(crate) enum AppPort {
    Listening,
    Closed,
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: AppProtocol::Http,
            token: None,
            app_token: None,
            origins: None,
            manner: Manner::Plain,
            rules: Rules::Open,
            app: AppPort::Listening,
        }
    }
}

/// Both front ends, running until dropped.
pub(crate) struct Sidecar {
    pub(crate) app: App,
    pub(crate) app_address: String,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) shutdown: Arc<Shutdown>,
    registry: Registry,
    http: SocketAddr,
    grpc: SocketAddr,
    _running: JoinSet<()>,
    _drain: drain::Drain,
}

struct Nobody;

#[async_trait]
impl Resolver for Nobody {
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        Err(Cause::Unresolved { target: app.to_string() }.into())
    }
}

impl Sidecar {
    /// The sidecar of the app `orders` in the namespace `shop`.
    pub(crate) async fn start(settings: Settings) -> Self {
        let (limits, registry, tracer) = (Arc::new(Limits::default()), Registry::new(), Tracer::new(Sampler::NEVER));
        let (drain, watch) = drain::channel();
        let mut running = JoinSet::new();
        let this = AppId::new("shop", "orders").unwrap();

        let app = App::default();
        let listener = listen();
        let app_port = listener.local_addr().port();
        match settings.app {
            AppPort::Listening => {
                drop(running.spawn(serve(listener, Arc::new(app.clone()), Arc::clone(&limits), watch.clone())));
            }
            AppPort::Closed | AppPort::None => drop(listener),
        }
        let metrics = Arc::new(Metrics::new(&registry, "orders", Labels::default()));
        let channel =
            Channel::new("127.0.0.1", app_port, settings.protocol, Arc::clone(&limits), Arc::clone(&metrics)).unwrap();
        let channel = (!matches!(settings.app, AppPort::None)).then_some(channel);
        let token = settings.app_token.map(HeaderValue::from_static);
        let gate = app::Config {
            app: this.clone(),
            protocol: settings.protocol,
            token,
            max_concurrency: None,
            limits: Arc::clone(&limits),
        };
        let outbound = Outbound::new(Parts {
            this: this.clone(),
            trust_domain: TrustDomain::parse("public").unwrap(),
            peers: Peers::MutualTls,
            identity: watch::channel(None).1,
            view: watch::channel(Arc::new(View::default())).1,
            resolver: Arc::new(Nobody),
            local: Arc::new(app::App::new(gate, channel, tracer.clone())),
            limits: Arc::clone(&limits),
            metrics: registry.clone(),
            tracer: tracer.clone(),
        });
        let invoke = Arc::new(Invoke::new(
            invoke::Config { app: this, rules: settings.rules, forwarded: Forwarded::new(None, "test") },
            outbound,
        ));
        let shutdown = Arc::new(Shutdown::new());
        let connection = AppConnection {
            port: Some(app_port),
            protocol: settings.protocol,
            channel_address: "127.0.0.1".into(),
            max_concurrency: 0,
            health: None,
        };
        let metadata = Arc::new(Metadata::new("orders", "1.18.3", Vec::new(), connection));
        let readiness = Arc::new(Readiness::new());
        let http = HttpApi::new(http::Config {
            token: settings.token.and_then(ApiToken::new),
            browser: Browser::Guarded,
            cors: settings.origins.and_then(Cors::parse),
            manner: settings.manner,
            limits: Arc::clone(&limits),
            invoke: Arc::clone(&invoke),
            metadata: Arc::clone(&metadata),
            readiness: Arc::clone(&readiness),
            shutdown: Arc::clone(&shutdown),
            tracer: tracer.clone(),
            metrics: Arc::clone(&metrics),
            rules: ApiRules::default(),
            call_log: None,
        });
        let token = settings.token.and_then(ApiToken::new);
        let grpc = GrpcApi::new(grpc::Config {
            token,
            limits: Arc::clone(&limits),
            invoke,
            metadata,
            readiness: Arc::clone(&readiness),
            shutdown: Arc::clone(&shutdown),
            tracer,
            metrics,
            rules: ApiRules::default(),
            call_log: None,
        });
        let (http_listener, grpc_listener) = (listen(), listen());
        let (http_address, grpc_address) = (http_listener.local_addr(), grpc_listener.local_addr());
        running.spawn(serve(http_listener, Arc::new(http), Arc::clone(&limits), watch.clone()));
        running.spawn(serve(grpc_listener, Arc::new(grpc), limits, watch));
        Self {
            app,
            app_address: format!("127.0.0.1:{app_port}"),
            readiness,
            shutdown,
            registry,
            http: http_address,
            grpc: grpc_address,
            _running: running,
            _drain: drain,
        }
    }

    /// Sends a request to the HTTP API, by HTTP/1.1.
    pub(crate) async fn http(&self, request: Request<Body>) -> Response<Bytes> {
        whole(self.http_client(Version::Http1).send(self.with_host(request)).await.unwrap()).await
    }

    /// A client of the HTTP API.
    pub(crate) fn http_client(&self, version: Version) -> Client {
        client(self.http, version)
    }

    /// A client of the gRPC API.
    pub(crate) fn grpc_client(&self) -> Client {
        client(self.grpc, Version::Http2)
    }

    /// A client of the gRPC API's port that speaks HTTP/1.1.
    pub(crate) fn grpc_client_http1(&self) -> Client {
        client(self.grpc, Version::Http1)
    }

    /// Everything measured so far.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        self.registry.encode(&mut text);
        text
    }

    /// The request with the `Host` of the API, unless it has another.
    fn with_host(&self, mut request: Request<Body>) -> Request<Body> {
        let host = HeaderValue::try_from(self.http.to_string()).unwrap();
        request.headers_mut().entry("host").or_insert(host);
        request
    }
}

/// The response with its body read to the end.
pub(crate) async fn whole(response: Response<Body>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.unwrap().unwrap();
    Response::from_parts(head, body.to_bytes())
}

fn listen() -> Listener {
    Listener::bind("test", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn client(address: SocketAddr, version: Version) -> Client {
    Client::new(client::Config {
        address: address.to_string().into(),
        version,
        idle_timeout: Duration::from_secs(5),
        limits: Arc::new(Limits::default()),
    })
}
