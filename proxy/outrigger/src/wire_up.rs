//! Puts a sidecar together, top to bottom, and takes it down again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderValue;
use outrigger_api::app::Channel;
use outrigger_api::grpc::{self as grpc_api, GrpcApi};
use outrigger_api::http::{self as http_api, HttpApi};
use outrigger_api::{ApiToken, AppConnection, Browser, Metadata, Metrics, Readiness};
use outrigger_blocks::app::{self, App, AppProtocol};
use outrigger_blocks::error::Manner;
use outrigger_blocks::invoke::{self, Invoke};
use outrigger_certs::{IdentityWatch, Rotation};
use outrigger_identity::TrustDomain;
use outrigger_mesh::discovery::registry::{Announced, RegistryResolver};
use outrigger_mesh::http::server::serve;
use outrigger_mesh::listener::Listener;
use outrigger_mesh::{Outbound, Parts, Resolver, drain};
use outrigger_policy::access::CallProtocol;
use outrigger_policy::call_policy::CallPolicy;
use outrigger_telemetry::log;
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Exporter, Sampler, Tracer};
use outrigger_view::{Policies, View};
use outrigger_wire::Limits;
use outrigger_wire::path::Rules;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::admin::{Admin, MetricsPage};
use crate::command::version;
use crate::config::sidecar::Sidecar;
use crate::config::table::Persona;
use crate::control_plane::{self, Embedded, NoRegistry};
use crate::shutdown::Stage;
use crate::supervise::Signals;

/// Trust domain of apps when no Configuration names another, as in stock.
const TRUST_DOMAIN: &str = "public";

/// Longest wait for the registry to store our entry before we call ourselves
/// ready without it.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// Longest wait for the last spans at the end.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Runs one sidecar on this thread until it is asked to end; the exit code.
///
/// # Errors
///
/// A listener, the log, a runtime or the control process that does not start.
pub(crate) fn run(config: Sidecar, warnings: &[String]) -> anyhow::Result<u8> {
    let metrics = Registry::with_max_series(Limits::size(config.limits.metric_series));
    let mut settings = log::Config::new(config.app.app_id(), version::RUNTIME);
    settings.level = config.log.level;
    settings.access = config.log.access;
    if config.log.json {
        settings.format = log::Format::Json;
    }
    // Dropped last, so that whatever is logged on the way out is written.
    let _log = log::init(settings, &metrics)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let admin = Admin::start()?;
    let data =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the data runtime")?;
    let ended = data.block_on(sidecar(config, &admin, metrics));
    if let Err(error) = &ended {
        tracing::error!("{error:#}");
    }
    ended
}

async fn sidecar(config: Sidecar, admin: &Admin, metrics: Registry) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let listeners = Listeners::bind(&config, admin)?;
    let embedded = tokio::select! {
        embedded = Embedded::of(&config) => embedded?,
        _ = signals.next() => return Ok(0),
    };
    let serving = Serving::start(&config, admin, &metrics, listeners, embedded.as_ref())?;
    serving.until_asked(&mut signals).await;
    serving.stop(config.graceful, &mut signals).await
}

/// Every listener, bound before anything is announced.
struct Listeners {
    http: Vec<Listener>,
    grpc: Vec<Listener>,
    peer: Option<Listener>,
    metrics: Option<Listener>,
}

impl Listeners {
    /// Binds all of them, and says of every one that cannot be bound.
    fn bind(config: &Sidecar, admin: &Admin) -> anyhow::Result<Listeners> {
        let mut refused = Vec::new();
        let mut bind = |name, address| match Listener::bind(name, address) {
            Ok(listener) => Some(listener),
            Err(error) => {
                refused.push(error.to_string());
                None
            }
        };
        let mut all = |name, addresses: &[SocketAddr]| -> Vec<Listener> {
            addresses.iter().filter_map(|address| bind(name, *address)).collect()
        };
        let http = all("http", &config.listen.http);
        let grpc = all("grpc", &config.listen.grpc);
        // Without an identity there is nothing to say to a peer.
        let peer = config.authority.as_ref().and_then(|_| bind("peer", config.listen.peer));
        let metrics = config.listen.metrics.filter(|_| config.configuration.metrics.enabled).and_then(|address| {
            // A socket belongs to the runtime in which it was made.
            let _there = admin.handle().enter();
            bind("metrics", address)
        });
        anyhow::ensure!(refused.is_empty(), "{}", refused.join("\n"));
        Ok(Listeners { http, grpc, peer, metrics })
    }

    /// Ports of HTTP API, gRPC API and metrics; 0 for one that is not there.
    fn ports(&self) -> [u16; 3] {
        let port = |listener: Option<&Listener>| listener.map_or(0, |listener| listener.local_addr().port());
        [port(self.http.first()), port(self.grpc.first()), port(self.metrics.as_ref())]
    }
}

/// A sidecar that takes calls.
struct Serving {
    readiness: Arc<Readiness>,
    shutdown: Arc<Notify>,
    announced: watch::Receiver<Option<Arc<Announced>>>,
    drain: drain::Drain,
    tasks: JoinSet<()>,
    exporter: Option<Exporter>,
    _held: Held,
}

/// What lives as long as the sidecar and is never asked again.
struct Held {
    _rotation: Option<Rotation>,
    _view: watch::Sender<Arc<View>>,
    _admin_drain: drain::Drain,
}

impl Serving {
    fn start(
        config: &Sidecar,
        admin: &Admin,
        metrics: &Registry,
        listeners: Listeners,
        embedded: Option<&Embedded>,
    ) -> anyhow::Result<Serving> {
        let limits = Arc::new(config.limits.clone());
        let readiness = Arc::new(Readiness::new());
        let shutdown = Arc::new(Notify::new());
        let (drain, draining) = drain::channel();
        let (admin_drain, admin_draining) = drain::channel();
        let mut tasks = JoinSet::new();

        // On the admin runtime: metrics, identity, registry, spans.
        let there = admin.handle().enter();
        let trust_domain = match &config.configuration.trust_domain {
            Some(domain) => domain.clone(),
            None => TrustDomain::parse(TRUST_DOMAIN).context("trust domain")?,
        };
        let rotation = match &config.authority {
            Some(authority) => Some(control_plane::rotation(&config.app, &trust_domain, authority, embedded, metrics)?),
            None => None,
        };
        let registry = embedded.map(Embedded::registry);
        let (tracer, exporter) = tracer(config, admin, metrics)?;
        let ports = listeners.ports();
        if let Some(listener) = listeners.metrics {
            let page = Arc::new(MetricsPage::new(metrics.clone(), Arc::clone(&readiness)));
            admin.handle().spawn(serve(listener, page, Arc::clone(&limits), admin_draining));
        }
        drop(there);

        // The data path.
        let identity = match &rotation {
            Some(rotation) => rotation.watch(),
            None => watch::channel(None).1,
        };
        let (view, viewed) = watch::channel(Arc::new(View::new(Policies {
            access: Arc::new(config.configuration.access().decided_as(called_by(config))),
            call: Arc::new(CallPolicy::default()),
        })));
        let parts = Parts {
            this: config.app.clone(),
            trust_domain,
            identity: identity.clone(),
            view: viewed,
            resolver: match &registry {
                Some(registry) => Arc::new(registry.clone()) as Arc<dyn Resolver>,
                None => Arc::new(NoRegistry),
            },
            local: Arc::new(App::new(app_config(config)?, channel(config, &limits)?, tracer.clone())),
            limits: Arc::clone(&limits),
            metrics: metrics.clone(),
            tracer: tracer.clone(),
        };
        let rules = match config.persona {
            Persona::Daprd => Rules::Stock,
            Persona::Outrigger => Rules::Open,
        };
        let app = config.app.clone();
        let invoke = Arc::new(Invoke::new(invoke::Config { app, rules }, Outbound::new(parts.clone())));
        let api_metrics = Arc::new(Metrics::new(metrics, config.app.app_id()));
        let metadata = Arc::new(metadata(config));
        let http = Arc::new(HttpApi::new(http_api::Config {
            token: token(config),
            browser: browser(config),
            manner: manner(config),
            limits: Arc::clone(&limits),
            invoke: Arc::clone(&invoke),
            metadata: Arc::clone(&metadata),
            readiness: Arc::clone(&readiness),
            shutdown: Arc::clone(&shutdown),
            tracer: tracer.clone(),
            metrics: Arc::clone(&api_metrics),
        }));
        let grpc = Arc::new(GrpcApi::new(grpc_api::Config {
            token: token(config),
            limits: Arc::clone(&limits),
            invoke,
            metadata,
            shutdown: Arc::clone(&shutdown),
            tracer,
            metrics: api_metrics,
        }));

        // Listening begins.
        let peer = listeners.peer.as_ref().map(Listener::local_addr);
        tracing::info!(
            http = ports[0],
            grpc = ports[1],
            metrics = ports[2],
            peer = peer.map_or(0, |peer| peer.port()),
            version = version::OUTRIGGER,
            "listening"
        );
        for listener in listeners.http {
            tasks.spawn(serve(listener, Arc::clone(&http), Arc::clone(&limits), draining.clone()));
        }
        for listener in listeners.grpc {
            tasks.spawn(serve(listener, Arc::clone(&grpc), Arc::clone(&limits), draining.clone()));
        }
        if let Some(listener) = listeners.peer {
            tasks.spawn(outrigger_mesh::serve(listener, parts, draining));
        }
        readiness.api_is_listening();

        // Readiness comes with identity, app and registry.
        let (announce, announced) = watch::channel(None);
        tasks.spawn(become_ready(Becoming {
            readiness: Arc::clone(&readiness),
            identity: rotation.as_ref().map(Rotation::watch),
            app: config.channel.as_ref().map(|channel| (channel.host.clone(), channel.port)),
            registry: registry
                .zip(peer)
                .map(|(registry, peer)| (registry, control_plane::announcement(config, peer, ports))),
            admin: admin.handle().clone(),
            announced: announce,
        }));
        Ok(Serving {
            readiness,
            shutdown,
            announced,
            drain,
            tasks,
            exporter,
            _held: Held { _rotation: rotation, _view: view, _admin_drain: admin_drain },
        })
    }

    /// Waits for a signal or `POST /v1.0/shutdown`.
    async fn until_asked(&self, signals: &mut Signals) {
        tokio::select! {
            signal = signals.next() => tracing::info!(signal, "asked to end"),
            () = self.shutdown.notified() => tracing::info!("asked to end by the shutdown API"),
        }
    }

    /// Tells everybody, finishes the calls in flight, and ends. Another signal
    /// cuts it short. The exit code.
    async fn stop(mut self, graceful: Duration, signals: &mut Signals) -> anyhow::Result<u8> {
        let orderly = async {
            let mut stage = Stage::Serving.next();
            self.readiness.is_draining();
            if let Some(announced) = &*self.announced.borrow() {
                announced.drain();
            }
            tracing::debug!(?stage, "calls are still taken; nobody new should come");
            tokio::time::sleep(stage.longest(graceful).unwrap_or_default()).await;
            stage = stage.next();
            tracing::debug!(?stage, "calls in flight finish");
            self.drain.start();
            let finished = self.drain.finished(stage.longest(graceful).unwrap_or_default()).await;
            stage = stage.next();
            if finished {
                tracing::info!(?stage, "every call has finished");
            } else {
                tracing::warn!(?stage, ?graceful, "calls that did not finish in time are cut");
            }
        };
        let forced = tokio::select! {
            () = orderly => None,
            signal = signals.next() => Some(signal),
        };
        if let Some(signal) = forced {
            tracing::warn!(signal, "ended at once by a second signal");
            return Ok(u8::try_from(128 + signal).unwrap_or(1));
        }
        self.tasks.shutdown().await;
        if let Some(exporter) = self.exporter.take() {
            let outcome = exporter.shutdown(LAST_SPANS).await;
            tracing::debug!(?outcome, "last spans");
        }
        Ok(0)
    }
}

/// What readiness waits for.
struct Becoming {
    readiness: Arc<Readiness>,
    identity: Option<IdentityWatch>,
    app: Option<(String, u16)>,
    registry: Option<(RegistryResolver, outrigger_mesh::discovery::registry::Announcement)>,
    admin: tokio::runtime::Handle,
    announced: watch::Sender<Option<Arc<Announced>>>,
}

/// Waits for the identity, then for the app, then announces the sidecar: a
/// peer that finds us can call us.
async fn become_ready(waiting: Becoming) {
    if let Some(mut identity) = waiting.identity
        && identity.wait_for(Option::is_some).await.is_err()
    {
        // The rotation is gone, so the sidecar is on its way out.
        return;
    }
    waiting.readiness.identity_is_held();
    if let Some((host, port)) = &waiting.app {
        app_answers(host, *port).await;
    }
    if let Some((registry, announcement)) = waiting.registry {
        let announced = {
            let _there = waiting.admin.enter();
            Arc::new(registry.announce(announcement))
        };
        let stored = tokio::time::timeout(ANNOUNCED, announced.stored()).await;
        if stored.is_err() {
            tracing::warn!(
                "the registry has not stored our entry within {ANNOUNCED:?}; other apps cannot find this one yet"
            );
        }
        waiting.announced.send_replace(Some(announced));
    }
    waiting.readiness.app_has_answered();
    tracing::info!("ready");
    // Keeps the announcement for as long as the task is not ended.
    waiting.announced.closed().await;
}

/// Waits until the app's port takes a connection.
async fn app_answers(host: &str, port: u16) {
    const ATTEMPT: Duration = Duration::from_millis(500);
    const OFTEN: u32 = 100;
    let mut attempts = 0_u32;
    loop {
        let connecting = TcpStream::connect((host, port));
        if matches!(tokio::time::timeout(ATTEMPT, connecting).await, Ok(Ok(_))) {
            return;
        }
        if attempts == 0 {
            tracing::info!(host, port, "waiting for the app to listen");
        }
        attempts = attempts.saturating_add(1);
        let pause = if attempts < OFTEN { 10 } else { 50 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn tracer(config: &Sidecar, admin: &Admin, metrics: &Registry) -> anyhow::Result<(Tracer, Option<Exporter>)> {
    match &config.spans {
        Some(spans) => {
            let (tracer, exporter) = Exporter::start(spans.clone(), metrics, admin.handle())?;
            Ok((tracer, Some(exporter)))
        }
        None => {
            let rate = config.configuration.tracing.effective_sampling_rate();
            Ok((Tracer::new(Sampler::ratio(rate)), None))
        }
    }
}

fn app_config(config: &Sidecar) -> anyhow::Result<app::Config> {
    let token = config.app_token.as_ref().map(|token| -> anyhow::Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&token.0).context("APP_API_TOKEN cannot stand in a header")?;
        value.set_sensitive(true);
        Ok(value)
    });
    Ok(app::Config { app: config.app.clone(), protocol: protocol(config), token: token.transpose()? })
}

fn channel(config: &Sidecar, limits: &Arc<Limits>) -> anyhow::Result<Option<Channel>> {
    let channel = config
        .channel
        .as_ref()
        .map(|channel| Channel::new(&channel.host, channel.port, channel.protocol, Arc::clone(limits)));
    Ok(channel.transpose()?)
}

/// By which protocol's rules calls of our app are decided: a caller must not choose.
fn called_by(config: &Sidecar) -> CallProtocol {
    match protocol(config) {
        AppProtocol::Grpc => CallProtocol::Grpc,
        AppProtocol::Http | AppProtocol::H2c => CallProtocol::Http,
    }
}

fn protocol(config: &Sidecar) -> AppProtocol {
    config.channel.as_ref().map_or(AppProtocol::Http, |channel| channel.protocol)
}

fn token(config: &Sidecar) -> Option<ApiToken> {
    config.api_token.as_ref().and_then(|token| ApiToken::new(&token.0))
}

/// An API that only this machine reaches is guarded from its browsers; one that
/// others reach has names that we do not know.
fn browser(config: &Sidecar) -> Browser {
    let local = config.listen.http.iter().all(|address| address.ip().is_loopback());
    match config.persona {
        Persona::Outrigger if local => Browser::Guarded,
        _ => Browser::Stock,
    }
}

fn manner(config: &Sidecar) -> Manner {
    match config.persona {
        Persona::Daprd => Manner::Stock,
        Persona::Outrigger => Manner::Plain,
    }
}

fn metadata(config: &Sidecar) -> Metadata {
    let connection = AppConnection {
        port: config.channel.as_ref().map(|channel| channel.port),
        protocol: protocol(config),
        channel_address: config.channel.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |channel| channel.host.clone()),
        max_concurrency: 0,
    };
    Metadata::new(config.app.app_id(), version::RUNTIME, Vec::new(), connection)
}
