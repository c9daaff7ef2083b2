//! Puts a sidecar together, top to bottom, and takes it down again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_api::grpc::{self as grpc_api, GrpcApi};
use outrigger_api::http::{self as http_api, HttpApi};
use outrigger_api::{Metrics, Readiness};
use outrigger_blocks::app::App;
use outrigger_blocks::invoke::{self, Invoke};
use outrigger_certs::Rotation;
use outrigger_identity::TrustDomain;
use outrigger_mesh::discovery::registry::Announced;
use outrigger_mesh::http::server::serve;
use outrigger_mesh::listener::Listener;
use outrigger_mesh::{Outbound, Parts, Resolver, drain};
use outrigger_policy::call_policy::CallPolicy;
use outrigger_telemetry::log;
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::Exporter;
use outrigger_view::{Policies, View};
use outrigger_wire::Limits;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::admin::{Admin, MetricsPage};
use crate::body_limit::BodyLimit;
use crate::command::version;
use crate::config::sidecar::Sidecar;
use crate::control_plane::{self, Embedded, NoRegistry};
use crate::front::Front;
use crate::ready::{Becoming, become_ready};
use crate::settings;
use crate::shutdown::Stage;
use crate::supervise::Signals;

/// Trust domain of apps when no Configuration names another, as in stock.
const TRUST_DOMAIN: &str = "public";

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
        let (tracer, exporter) = settings::tracer(config, admin, metrics)?;
        let ports = listeners.ports();
        if let Some(listener) = listeners.metrics {
            let page = Arc::new(Front::Metrics(MetricsPage::new(metrics.clone(), Arc::clone(&readiness))));
            admin.handle().spawn(serve(listener, page, Arc::clone(&limits), admin_draining));
        }
        drop(there);

        // The data path.
        let identity = match &rotation {
            Some(rotation) => rotation.watch(),
            None => watch::channel(None).1,
        };
        let (view, viewed) = watch::channel(Arc::new(View::new(Policies {
            access: Arc::new(config.configuration.access().decided_as(settings::called_by(config))),
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
            local: Arc::new(App::new(
                settings::app_config(config)?,
                settings::channel(config, &limits)?,
                tracer.clone(),
            )),
            limits: Arc::clone(&limits),
            metrics: metrics.clone(),
            tracer: tracer.clone(),
        };
        let invoking = invoke::Config { app: config.app.clone(), rules: settings::rules(config) };
        let invoke = Arc::new(Invoke::new(invoking, Outbound::new(parts.clone())));
        let api_metrics = Arc::new(Metrics::new(metrics, config.app.app_id()));
        let metadata = Arc::new(settings::metadata(config));
        let http = HttpApi::new(http_api::Config {
            token: settings::token(config),
            browser: settings::browser(config),
            manner: settings::manner(config),
            limits: Arc::clone(&limits),
            invoke: Arc::clone(&invoke),
            metadata: Arc::clone(&metadata),
            readiness: Arc::clone(&readiness),
            shutdown: Arc::clone(&shutdown),
            tracer: tracer.clone(),
            metrics: Arc::clone(&api_metrics),
        });
        let http = Arc::new(Front::Http(BodyLimit::new(http, config.max_body_bytes)));
        let grpc = Arc::new(Front::Grpc(GrpcApi::new(grpc_api::Config {
            token: settings::token(config),
            limits: Arc::clone(&limits),
            invoke,
            metadata,
            shutdown: Arc::clone(&shutdown),
            tracer,
            metrics: api_metrics,
        })));

        // Listening begins.
        let peer = listeners.peer.as_ref().map(Listener::local_addr);
        tracing::info!(
            http_port = ports[0],
            grpc_port = ports[1],
            metrics_port = ports[2],
            peer_port = peer.map_or(0, |peer| peer.port()),
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
