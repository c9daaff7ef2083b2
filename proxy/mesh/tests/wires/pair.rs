//! Two sidecars: `a` calls, `b` answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use outrigger_certs::{IdentityStore, IdentityWatch};
use outrigger_identity::AppId;
use outrigger_mesh::{Call, Local, Outbound, Parts, Peers, Resolver, Target, drain, listener::Listener};
use outrigger_policy::access::{AccessControl, AccessControlSpec, Action, CallProtocol};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Sampler, TraceContext, Tracer};
use outrigger_view::{Endpoint, Policies, View};
use outrigger_wire::{Body, Failure, Limits};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::TestApp;
use crate::ca::{Ca, trust_domain};
use crate::wait::within;

/// What discovery says: the replicas of an app.
pub(crate) type Endpoints = Arc<Vec<Endpoint>>;

/// Every name is at the same addresses: discovery is not to be trusted.
struct Everywhere(watch::Receiver<Endpoints>);

#[async_trait]
impl Resolver for Everywhere {
    async fn resolve(&self, _app: &AppId) -> Result<watch::Receiver<Endpoints>, Failure> {
        Ok(self.0.clone())
    }
}

/// The data paths of two sidecars that know each other.
pub(crate) struct Pair {
    /// The calls of `a`.
    pub(crate) out: Outbound,
    /// The app beside `b`.
    pub(crate) app: Arc<TestApp>,
    /// Where `b` listens.
    pub(crate) address: SocketAddr,
    /// What both know of the world.
    pub(crate) view: watch::Sender<Arc<View>>,
    /// Where discovery says that every app is; at first `b`'s own address.
    pub(crate) endpoints: watch::Sender<Endpoints>,
    pub(crate) a: IdentityStore,
    pub(crate) b: IdentityStore,
    /// Of `b`, as its serving is.
    pub(crate) drain: drain::Drain,
    pub(crate) serving: JoinHandle<()>,
    metrics: Registry,
}

impl Pair {
    /// Both have their identity from one authority.
    pub(crate) async fn start() -> Self {
        Self::of(&Ca::new(), Peers::MutualTls).await
    }

    /// Both are configured to have no mutual TLS.
    pub(crate) async fn in_clear() -> Self {
        Self::of(&Ca::new(), Peers::Clear).await
    }

    /// Both have their identity from this authority, for others to have theirs too.
    pub(crate) async fn of(ca: &Ca, peers: Peers) -> Self {
        Self::protected(ca.identity(&app("a")), ca.identity(&app("b")), peers).await
    }

    pub(crate) async fn with(a: IdentityStore, b: IdentityStore) -> Self {
        Self::protected(a, b, Peers::MutualTls).await
    }

    async fn protected(a: IdentityStore, b: IdentityStore, peers: Peers) -> Self {
        outrigger_certs::install_provider();
        let listener = Listener::bind("peer", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr();
        let (endpoints, at) = watch::channel(only(address));
        let (view, views) = watch::channel(Arc::new(View::default()));
        let (drain, watch) = drain::channel();
        let served = Arc::new(TestApp::default());
        let parts_of_b = parts("b", b.watch(), served.clone(), Everywhere(at.clone()), views.clone());
        let parts_of_b = Parts { peers, ..parts_of_b };
        let metrics = parts_of_b.metrics.clone();
        let serving = tokio::spawn(outrigger_mesh::serve(listener, parts_of_b, watch));
        let parts_of_a = parts("a", a.watch(), Arc::new(TestApp::default()), Everywhere(at), views);
        let out = Outbound::new(Parts { peers, ..parts_of_a });
        Self { out, app: served, address, view, endpoints, a, b, drain, serving, metrics }
    }

    /// Another data path of `a`'s, with another discovery and other bounds.
    pub(crate) fn another(&self, resolver: impl Resolver + 'static, limits: Limits) -> Outbound {
        let parts = parts("a", self.a.watch(), Arc::new(TestApp::default()), resolver, self.view.subscribe());
        Outbound::new(Parts { limits: Arc::new(limits), ..parts })
    }

    /// A call of `a`'s app.
    pub(crate) async fn call(&self, to: &str, request: Request<Body>) -> Result<Response<Body>, Failure> {
        call(&self.out, to, request).await
    }

    /// The same by a caller that waits no longer than `patience`.
    pub(crate) async fn call_for(&self, patience: Duration, to: &str, request: Request<Body>) -> Result<(), Failure> {
        let deadline = Some(Instant::now() + patience);
        self.out.send(Call { deadline, ..to_app(to) }, request).await.map(drop)
    }

    /// From now on `b` lets nobody call, by a policy named `lockdown`.
    pub(crate) fn deny_all(&self) {
        let spec =
            AccessControlSpec { name: "lockdown".into(), default_action: Some(Action::Deny), policies: Vec::new() };
        let policies = Policies { access: Arc::new(AccessControl::new(spec)), ..Policies::default() };
        let view = self.view.borrow().with_policies(policies);
        self.view.send_replace(Arc::new(view));
    }

    /// Whether `b` counts so, as one line of its metrics.
    pub(crate) fn counts(&self, line: &str) -> bool {
        let mut text = String::new();
        self.metrics.encode(&mut text);
        text.lines().any(|counted| counted == line)
    }
}

pub(crate) fn app(name: &str) -> AppId {
    AppId::new("default", name).unwrap()
}

/// One replica, at that address.
pub(crate) fn only(address: SocketAddr) -> Endpoints {
    Arc::new(vec![Endpoint { instance: "b-1".into(), address, draining: false }])
}

pub(crate) async fn call(out: &Outbound, to: &str, request: Request<Body>) -> Result<Response<Body>, Failure> {
    within("an answer", out.send(to_app(to), request)).await
}

fn to_app(name: &str) -> Call {
    Call {
        target: Target::App(app(name)),
        protocol: CallProtocol::Http,
        trace: TraceContext::new_root(&Sampler::NEVER),
        deadline: None,
    }
}

fn parts(
    this: &str,
    identity: IdentityWatch,
    local: Arc<dyn Local>,
    resolver: impl Resolver + 'static,
    view: watch::Receiver<Arc<View>>,
) -> Parts {
    Parts {
        this: app(this),
        trust_domain: trust_domain(),
        peers: Peers::MutualTls,
        identity,
        view,
        resolver: Arc::new(resolver),
        local,
        limits: Arc::default(),
        metrics: Registry::new(),
        tracer: Tracer::new(Sampler::NEVER),
    }
}
