//! The parts of a sidecar: one function a concern, each told only what it needs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use outrigger_api::app::Channel;
use outrigger_api::grpc::{self as grpc_api, GrpcApi};
use outrigger_api::http::{self as http_api, HttpApi};
use outrigger_api::{Metrics, Readiness, Shutdown};
use outrigger_blocks::app::App;
use outrigger_blocks::invoke::{self, Invoke};
use outrigger_certs::{IdentityWatch, Rotation};
use outrigger_identity::TrustDomain;
use outrigger_mesh::discovery::registry::RegistryResolver;
use outrigger_mesh::{Outbound, Parts, Peers, Resolver};
use outrigger_policy::call_policy::CallPolicy;
use outrigger_resources::configuration::ApiProtocol;
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Exporter, Tracer};
use outrigger_view::{Policies, View};
use outrigger_wire::Limits;
use tokio::sync::watch;

use crate::admin::{Admin, MetricsPage};
use crate::body_limit::BodyLimit;
use crate::config::sidecar::Sidecar;
use crate::control_plane::{self, Embedded};
use crate::discovery::Discovery;
use crate::front::Front;
use crate::settings;

/// Trust domain of apps when no Configuration names another, as in stock.
const TRUST_DOMAIN: &str = "public";

/// What nearly every part is given.
pub(super) struct Shared<'a> {
    pub(super) config: &'a Sidecar,
    pub(super) admin: &'a Admin,
    pub(super) metrics: &'a Registry,
    pub(super) api_metrics: Arc<Metrics>,
    pub(super) limits: Arc<Limits>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) trust_domain: TrustDomain,
    pub(super) since: Instant,
}

impl<'a> Shared<'a> {
    pub(super) fn new(config: &'a Sidecar, admin: &'a Admin, metrics: &'a Registry) -> anyhow::Result<Self> {
        Ok(Shared {
            config,
            admin,
            metrics,
            api_metrics: Arc::new(Metrics::new(metrics, config.app.app_id(), config.metric_labels.clone())),
            limits: Arc::new(config.limits.clone()),
            readiness: Arc::new(Readiness::new()),
            shutdown: Arc::new(Shutdown::new()),
            since: Instant::now(),
            trust_domain: match &config.configuration.trust_domain {
                Some(domain) => domain.clone(),
                None => TrustDomain::parse(TRUST_DOMAIN).context("trust domain")?,
            },
        })
    }
}

/// Who we are, kept fresh on the admin runtime; `None` without mutual TLS.
pub(super) fn identity(shared: &Shared<'_>, embedded: Option<&Embedded>) -> anyhow::Result<Option<Rotation>> {
    let _there = shared.admin.handle().enter();
    let Some(authority) = &shared.config.authority else { return Ok(None) };
    control_plane::rotation(&shared.config.app, &shared.trust_domain, authority, embedded, shared.metrics).map(Some)
}

/// The client of the registry, on the admin runtime; `None` where no control process was named.
pub(super) fn registry(shared: &Shared<'_>, embedded: Option<&Embedded>) -> Option<RegistryResolver> {
    let _there = shared.admin.handle().enter();
    embedded.map(Embedded::registry)
}

/// How other apps are found and where this one is announced, on the admin runtime.
pub(super) fn discovery(shared: &Shared<'_>, registry: Option<RegistryResolver>) -> anyhow::Result<Discovery> {
    let _there = shared.admin.handle().enter();
    Discovery::start(shared.config, registry)
}

/// Spans, exported on the admin runtime.
pub(super) fn telemetry(shared: &Shared<'_>) -> anyhow::Result<(Tracer, Option<Exporter>)> {
    let _there = shared.admin.handle().enter();
    settings::tracer(shared.config, shared.admin, shared.metrics)
}

/// What scrapers see.
pub(super) fn metrics_page(shared: &Shared<'_>) -> Arc<Front> {
    Arc::new(Front::Metrics(MetricsPage::new(shared.metrics.clone(), Arc::clone(&shared.readiness))))
}

/// What the proxy knows of the world, and the end that changes it.
pub(super) fn view(config: &Sidecar) -> watch::Sender<Arc<View>> {
    watch::channel(Arc::new(View::new(Policies {
        access: Arc::new(config.configuration.access().decided_as(settings::called_by(config))),
        call: Arc::new(CallPolicy::default()),
    })))
    .0
}

/// The app behind its gate.
pub(super) fn app(shared: &Shared<'_>, tracer: &Tracer) -> anyhow::Result<Arc<App<Channel>>> {
    Ok(Arc::new(App::new(
        settings::app_config(shared.config, &shared.limits)?,
        settings::channel(shared.config, &shared.limits, &shared.api_metrics)?,
        tracer.clone(),
    )))
}

/// What calls between sidecars are made of.
pub(super) fn mesh(
    shared: &Shared<'_>,
    identity: Option<IdentityWatch>,
    view: &watch::Sender<Arc<View>>,
    resolver: Arc<dyn Resolver>,
    app: Arc<App<Channel>>,
    tracer: &Tracer,
) -> Parts {
    Parts {
        this: shared.config.app.clone(),
        trust_domain: shared.trust_domain.clone(),
        peers: match shared.config.authority {
            Some(_) => Peers::MutualTls,
            None => Peers::Clear,
        },
        identity: identity.unwrap_or_else(|| watch::channel(None).1),
        view: view.subscribe(),
        resolver,
        local: app,
        limits: Arc::clone(&shared.limits),
        metrics: shared.metrics.clone(),
        tracer: tracer.clone(),
    }
}

/// The APIs: HTTP, gRPC, and what the public port has of the first.
pub(super) fn apis(shared: &Shared<'_>, mesh: &Parts, tracer: Tracer) -> [Arc<Front>; 3] {
    let config = shared.config;
    let invoking = invoke::Config {
        app: config.app.clone(),
        rules: settings::rules(config),
        forwarded: settings::forwarded(config),
    };
    let invoke = Arc::new(Invoke::new(invoking, Outbound::new(mesh.clone())));
    let metrics = Arc::clone(&shared.api_metrics);
    let metadata = Arc::new(settings::metadata(config));
    let http = HttpApi::new(http_api::Config {
        token: settings::token(config),
        browser: settings::browser(config),
        cors: config.cors.clone(),
        manner: settings::manner(config),
        limits: Arc::clone(&shared.limits),
        invoke: Arc::clone(&invoke),
        metadata: Arc::clone(&metadata),
        readiness: Arc::clone(&shared.readiness),
        shutdown: Arc::clone(&shared.shutdown),
        tracer: tracer.clone(),
        metrics: Arc::clone(&metrics),
        rules: settings::api_rules(config, ApiProtocol::Http),
        call_log: settings::call_log(config),
    });
    let grpc = GrpcApi::new(grpc_api::Config {
        token: settings::token(config),
        limits: Arc::clone(&shared.limits),
        invoke,
        metadata,
        readiness: Arc::clone(&shared.readiness),
        shutdown: Arc::clone(&shared.shutdown),
        tracer,
        metrics,
        rules: settings::api_rules(config, ApiProtocol::Grpc),
        call_log: settings::call_log(config),
    });
    let public = Front::Public(http.public());
    let http = Front::Http(BodyLimit::new(http, config.max_body_bytes));
    [Arc::new(http), Arc::new(Front::Grpc(Box::new(grpc))), Arc::new(public)]
}
