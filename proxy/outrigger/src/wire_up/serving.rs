//! A sidecar that takes calls: its start in order, and its end.

use std::sync::Arc;
use std::time::Duration;

use outrigger_api::{Asked, Readiness, Shutdown};
use outrigger_certs::Rotation;
use outrigger_mesh::http::server::serve;
use outrigger_mesh::listener::Listener;
use outrigger_mesh::{Parts, drain};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::Exporter;
use outrigger_view::View;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listeners::Listeners;
use super::parts::{self, Shared};
use crate::admin::Admin;
use crate::command::version;
use crate::config::sidecar::Sidecar;
use crate::control_plane::{self, Embedded};
use crate::discovery::{self, Announcements, Places};
use crate::front::Front;
use crate::ready::{Becoming, become_ready};
use crate::shutdown::{Ended, Stage, go};
use crate::supervise::Signals;

/// Longest wait for the last spans at the end.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// How long a forced end leaves for the answer to the call that forced it, as in stock.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// A sidecar that takes calls.
pub(super) struct Serving {
    readiness: Arc<Readiness>,
    shutdown: Arc<Shutdown>,
    announced: watch::Receiver<Option<Arc<Announcements>>>,
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
    /// Builds the parts and starts them: first what runs on the admin side, then the
    /// data path, then whatever makes the sidecar ready.
    pub(super) fn start(
        config: &Sidecar,
        admin: &Admin,
        metrics: &Registry,
        mut listeners: Listeners,
        embedded: Option<&Embedded>,
    ) -> anyhow::Result<Serving> {
        let shared = Shared::new(config, admin, metrics)?;
        let rotation = parts::identity(&shared, embedded)?;
        let discovery = parts::discovery(&shared, parts::registry(&shared, embedded))?;
        let (tracer, exporter) = parts::telemetry(&shared)?;
        let ports = listeners.ports();
        let admin_drain = serve_metrics(&shared, listeners.metrics.take());

        let view = parts::view(config);
        let app = parts::app(&shared, &tracer)?;
        let resolver = Arc::clone(&discovery.resolver);
        let mesh = parts::mesh(&shared, rotation.as_ref().map(Rotation::watch), &view, resolver, app, &tracer);
        let apis = parts::apis(&shared, &mesh, tracer);

        let peer = listeners.peer.as_ref().map(Listener::local_addr);
        tracing::info!(
            http_port = ports[0],
            grpc_port = ports[1],
            metrics_port = ports[2],
            peer_port = peer.map_or(0, |peer| peer.port()),
            version = version::OUTRIGGER,
            "listening"
        );
        let mut tasks = JoinSet::new();
        let drain = serve_calls(&shared, &mut tasks, listeners, apis, mesh);
        shared.readiness.api_is_listening();
        let announced = announce(&shared, &mut tasks, rotation.as_ref(), discovery.places, peer, ports);
        Ok(Serving {
            readiness: shared.readiness,
            shutdown: shared.shutdown,
            announced,
            drain,
            tasks,
            exporter,
            _held: Held { _rotation: rotation, _view: view, _admin_drain: admin_drain },
        })
    }

    /// Waits for a signal or the shutdown API. After a signal everything is served as before
    /// for `block`, or until the app is unhealthy or another signal comes.
    pub(super) async fn until_asked(&self, signals: &mut Signals, block: Option<Duration>) -> Asked {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            asked = self.shutdown.asked(Asked::Graceful) => return by_api(asked),
        };
        tracing::info!(signal, "asked to end");
        let Some(block) = block else { return Asked::Graceful };
        tracing::info!("Blocking graceful shutdown for {} or until app reports unhealthy...", go(block));
        tokio::select! {
            () = tokio::time::sleep(block) => tracing::info!("Block shutdown period expired, entering shutdown..."),
            () = self.readiness.app_is_unhealthy() => tracing::info!("App reported unhealthy, entering shutdown..."),
            asked = self.shutdown.asked(Asked::Graceful) => return by_api(asked),
            _ = signals.next() => return Asked::Forced,
        }
        Asked::Graceful
    }

    /// Tells everybody, finishes the calls in flight, and ends. Another signal or a forced
    /// shutdown cuts it short.
    pub(super) async fn stop(mut self, asked: Asked, graceful: Duration, signals: &mut Signals) -> Ended {
        let ended = match asked {
            Asked::Graceful => {
                let shutdown = Arc::clone(&self.shutdown);
                tokio::select! {
                    ended = orderly(&self.readiness, &self.announced, self.drain, graceful) => ended,
                    _ = signals.next() => Ended::Forced,
                    asked = shutdown.asked(Asked::Forced) => {
                        by_api(asked);
                        Ended::Forced
                    }
                }
            }
            Asked::Forced => Ended::Forced,
        };
        if ended == Ended::Forced {
            // The answer to whoever forced it still goes out.
            tokio::time::sleep(LAST_ANSWER).await;
            return ended;
        }
        self.tasks.shutdown().await;
        if let Some(exporter) = self.exporter.take() {
            let outcome = exporter.shutdown(LAST_SPANS).await;
            tracing::debug!(?outcome, "last spans");
        }
        ended
    }
}

/// Says in the words of stock what the shutdown API was asked for.
fn by_api(asked: Asked) -> Asked {
    match asked {
        Asked::Graceful => tracing::info!("Shutdown requested via API"),
        Asked::Forced => {
            tracing::warn!("Force shutdown requested, exiting immediately without graceful shutdown");
        }
    }
    asked
}

/// Serving → Lame → Draining → Stopped, within `graceful`.
async fn orderly(
    readiness: &Readiness,
    announced: &watch::Receiver<Option<Arc<Announcements>>>,
    drain: drain::Drain,
    graceful: Duration,
) -> Ended {
    let mut stage = Stage::Serving.next();
    readiness.is_draining();
    if let Some(announced) = &*announced.borrow() {
        announced.drain();
    }
    tracing::debug!(?stage, "calls are still taken; nobody new should come");
    tokio::time::sleep(stage.longest(graceful).unwrap_or_default()).await;
    stage = stage.next();
    tracing::debug!(?stage, "calls in flight finish");
    drain.start();
    if drain.finished(stage.longest(graceful).unwrap_or_default()).await {
        tracing::info!("every call has finished");
        Ended::InTime
    } else {
        Ended::Late
    }
}

/// Serves metrics on the admin runtime, for as long as the drain is held.
fn serve_metrics(shared: &Shared<'_>, listener: Option<Listener>) -> drain::Drain {
    let (drain, draining) = drain::channel();
    if let Some(listener) = listener {
        let page = parts::metrics_page(shared);
        shared.admin.handle().spawn(serve(listener, page, Arc::clone(&shared.limits), draining));
    }
    drain
}

/// Begins to take calls, of the app and of peers; the drain ends that.
fn serve_calls(
    shared: &Shared<'_>,
    tasks: &mut JoinSet<()>,
    listeners: Listeners,
    [http, grpc, public]: [Arc<Front>; 3],
    mesh: Parts,
) -> drain::Drain {
    let (drain, draining) = drain::channel();
    for listener in listeners.http {
        tasks.spawn(serve(listener, Arc::clone(&http), Arc::clone(&shared.limits), draining.clone()));
    }
    for listener in listeners.grpc {
        tasks.spawn(serve(listener, Arc::clone(&grpc), Arc::clone(&shared.limits), draining.clone()));
    }
    if let Some(listener) = listeners.public {
        tasks.spawn(serve(listener, public, Arc::clone(&shared.limits), draining.clone()));
    }
    if let Some(listener) = listeners.peer {
        tasks.spawn(outrigger_mesh::serve(listener, mesh, draining));
    }
    drain
}

/// Readiness comes with identity, app and discovery.
fn announce(
    shared: &Shared<'_>,
    tasks: &mut JoinSet<()>,
    rotation: Option<&Rotation>,
    places: Places,
    peer: Option<std::net::SocketAddr>,
    ports: [u16; 3],
) -> watch::Receiver<Option<Arc<Announcements>>> {
    let (announce, announced) = watch::channel(None);
    tasks.spawn(become_ready(Becoming {
        readiness: Arc::clone(&shared.readiness),
        identity: rotation.map(Rotation::watch),
        app: shared.config.channel.as_ref().map(|channel| (channel.host.clone(), channel.port)),
        announce: peer.map(|peer| {
            let announcement = control_plane::announcement(shared.config, peer, ports);
            let (app, reached) = (shared.config.app.clone(), discovery::reached(peer, shared.config.host_ip));
            Box::new(move || places.announce(announcement, &app, reached)) as Box<_>
        }),
        admin: shared.admin.handle().clone(),
        since: shared.since,
        announced: announce,
    }));
    announced
}
