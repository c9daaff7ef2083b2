//! Two sidecars' data paths over real sockets and real handshakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use outrigger_certs::ca::signer::{Signer, SignerConfig};
use outrigger_certs::{
    CertificateRequest, IdentityStore, IdentityWatch, Key, KeyAlgorithm, Svid, system_clock, unix_now,
};
use outrigger_identity::{AppId, TrustDomain};
use outrigger_mesh::{Call, Inbound, Local, Outbound, Parts, Resolver, Target, drain, listener::Listener};
use outrigger_policy::access::{AccessControl, AccessControlSpec, Action, CallProtocol};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Sampler, TraceContext, Tracer};
use outrigger_view::{Endpoint, Policies, View};
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::sync::{mpsc, watch};

const WAIT: Duration = Duration::from_secs(5);

struct Ca(Signer);

impl Ca {
    fn new() -> Self {
        let config = SignerConfig::new(TrustDomain::parse("localhost").unwrap(), "default");
        Self(Signer::create(config, unix_now(&system_clock())).unwrap())
    }

    fn svid(&self, app: &AppId, algorithm: KeyAlgorithm) -> Svid {
        let key = Key::generate(algorithm).unwrap();
        let request = CertificateRequest::new(app.clone(), Some(trust_domain()), &key).unwrap();
        let id = app.spiffe_id(&trust_domain());
        let issued = self.0.sign(&id, request.pem.as_bytes(), unix_now(&system_clock())).unwrap();
        Svid::new(issued.chain, key.to_private_key()).unwrap()
    }

    fn identity(&self, app: &AppId) -> IdentityStore {
        let mut store = IdentityStore::new(system_clock());
        store.publish(Arc::new(self.svid(app, KeyAlgorithm::EcdsaP256)), Arc::clone(self.0.roots()));
        store
    }
}

fn trust_domain() -> TrustDomain {
    TrustDomain::parse("public").unwrap()
}

fn app(name: &str) -> AppId {
    AppId::new("default", name).unwrap()
}

/// Every name is at the same addresses: discovery is not to be trusted.
struct Everywhere(watch::Receiver<Arc<Vec<Endpoint>>>);

#[async_trait]
impl Resolver for Everywhere {
    async fn resolve(&self, _app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        Ok(self.0.clone())
    }
}

/// The app: answers `/echo`, `/trailers`, `/hang`, `/stream`; remembers who called.
#[derive(Default)]
struct TestApp {
    calls: Mutex<Vec<Inbound>>,
    dropped: Arc<Mutex<bool>>,
}

struct NoticeDrop(Arc<Mutex<bool>>);

impl Drop for NoticeDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

#[async_trait]
impl Local for TestApp {
    async fn deliver(&self, call: Inbound, request: Request<Body>) -> Result<Response<Body>, Failure> {
        self.calls.lock().unwrap().push(call);
        match request.uri().path() {
            "/hang" => {
                let _notice = NoticeDrop(Arc::clone(&self.dropped));
                std::future::pending().await
            }
            "/down" => Err(Failure::new(Cause::AppUnavailable { reason: "nothing listens on 127.0.0.1:1".into() })),
            "/trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
                Ok(Response::new(Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))))
            }
            _ => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = request.headers().clone();
                response.headers_mut().insert("outrigger-failure", "denied".parse().unwrap());
                let path = request.uri().to_string();
                response.headers_mut().insert("x-path", path.parse().unwrap());
                *response.body_mut() = request.into_body();
                Ok(response)
            }
        }
    }
}

struct Pair {
    out: Outbound,
    app: Arc<TestApp>,
    view: watch::Sender<Arc<View>>,
    endpoints: watch::Sender<Arc<Vec<Endpoint>>>,
    _a: IdentityStore,
    b: IdentityStore,
    drain: drain::Drain,
    serving: tokio::task::JoinHandle<()>,
    metrics: Registry,
}

fn parts(
    this: AppId,
    identity: IdentityWatch,
    local: Arc<dyn Local>,
    at: watch::Receiver<Arc<Vec<Endpoint>>>,
    view: watch::Receiver<Arc<View>>,
) -> Parts {
    Parts {
        this,
        trust_domain: trust_domain(),
        identity,
        view,
        resolver: Arc::new(Everywhere(at)),
        local,
        limits: Arc::new(Limits::default()),
        metrics: Registry::new(),
        tracer: Tracer::new(Sampler::NEVER),
    }
}

impl Pair {
    async fn start() -> Self {
        let ca = Ca::new();
        Self::with(ca.identity(&app("a")), ca.identity(&app("b"))).await
    }

    async fn with(a: IdentityStore, b: IdentityStore) -> Self {
        outrigger_certs::install_provider();
        let listener = Listener::bind("peer", "127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = Endpoint { instance: "b-1".into(), address: listener.local_addr(), draining: false };
        let (endpoints, at) = watch::channel(Arc::new(vec![endpoint]));
        let (view, views) = watch::channel(Arc::new(View::default()));
        let (drain, watch) = drain::channel();
        let served = Arc::new(TestApp::default());
        let b_parts = parts(app("b"), b.watch(), served.clone(), at.clone(), views.clone());
        let metrics = b_parts.metrics.clone();
        let serving = tokio::spawn(outrigger_mesh::serve(listener, b_parts, watch));
        let out = Outbound::new(parts(app("a"), a.watch(), Arc::new(TestApp::default()), at, views));
        Self { out, app: served, view, endpoints, _a: a, b, drain, serving, metrics }
    }

    async fn call(&self, to: &str, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let call = Call {
            target: Target::App(app(to)),
            protocol: CallProtocol::Http,
            trace: TraceContext::new_root(&Sampler::NEVER),
            deadline: None,
        };
        tokio::time::timeout(WAIT, self.out.send(call, request)).await.expect("an answer in time")
    }

    fn metric(&self, line: &str) -> bool {
        let mut text = String::new();
        self.metrics.encode(&mut text);
        text.contains(line)
    }
}

fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_callee_sees_who_calls_and_how() {
    let pair = Pair::start().await;
    let request = Request::builder()
        .method("POST")
        .uri("/echo/%2F?q=1")
        .header("x-kept", "1")
        .header("dapr-caller-app-id", "admin");
    let response = pair.call("b", request.body(Body::full("hello")).unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-kept"], "1");
    assert_eq!(response.headers()["x-path"], "/echo/%2F?q=1");
    assert!(!response.headers().contains_key("dapr-caller-app-id"), "a forged caller never reaches the app");
    assert!(!response.headers().contains_key("outrigger-failure"), "an app cannot speak for its sidecar");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let calls = pair.app.calls.lock().unwrap();
    assert_eq!(calls[0].caller.as_str(), "spiffe://public/ns/default/a");
    assert_eq!(calls[0].tls.as_deref(), Some("TLSv1.3 X25519MLKEM768"));
    assert_eq!(calls[0].wire.name(), "native");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let pair = Pair::start().await;
    let (pieces, body) = mpsc::channel::<Result<Frame<Bytes>, Failure>>(1);
    let body = Body::boxed(StreamBody::new(futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|frame| (frame, body))
    })));
    let mut response =
        pair.call("b", Request::builder().method("POST").uri("/echo").body(body).unwrap()).await.unwrap();
    for piece in ["one", "two", "three"] {
        pieces.send(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).await.unwrap();
        let frame = tokio::time::timeout(WAIT, response.body_mut().frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece, "a piece comes back before the next is sent");
    }
    drop(pieces);
    assert!(response.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn ten_megabytes_go_there_and_back() {
    let pair = Pair::start().await;
    let sent: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let request = Request::builder().method("POST").uri("/echo").body(Body::full(sent.clone())).unwrap();
    let response = pair.call("b", request).await.unwrap();
    let back = tokio::time::timeout(WAIT, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    assert!(back == sent);
}

#[tokio::test]
async fn trailers_arrive() {
    let pair = Pair::start().await;
    let response = pair.call("b", get("/trailers")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_policy_that_denies_is_named_to_the_caller_and_one_that_allows_again_is_followed() {
    let pair = Pair::start().await;
    assert!(pair.call("b", get("/x")).await.is_ok());
    let deny = AccessControl::new(AccessControlSpec {
        name: "lockdown".into(),
        default_action: Some(Action::Deny),
        policies: vec![],
    });
    let open = Arc::clone(&pair.view.borrow());
    pair.view.send_replace(Arc::new(open.with_policies(Policies { access: Arc::new(deny), ..Policies::default() })));
    let failure = pair.call("b", get("/x")).await.unwrap_err();
    let Cause::Denied { policy, remedy } = failure.cause() else { panic!("{failure}") };
    assert!(policy.contains("lockdown"), "{policy}");
    assert!(!remedy.is_empty());
    assert!(pair.metric("outrigger_call_failures_total{app_id=\"b\",direction=\"inbound\",failure=\"denied\"} 1"));
    pair.view.send_replace(open);
    assert!(pair.call("b", get("/x")).await.is_ok());
}

#[tokio::test]
async fn a_replica_that_is_not_whom_we_asked_for_gets_nothing() {
    let pair = Pair::start().await;
    let failure = pair.call("c", get("/x")).await.unwrap_err();
    assert_eq!(failure.name(), "tls", "{failure}");
    assert!(failure.to_string().contains("spiffe://public/ns/default/b"), "{failure}");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_peer_of_other_roots_is_refused_by_both() {
    let pair = Pair::with(Ca::new().identity(&app("a")), Ca::new().identity(&app("b"))).await;
    assert_eq!(pair.call("b", get("/x")).await.unwrap_err().name(), "tls");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_in_the_callees_sidecar_keeps_its_name() {
    let pair = Pair::start().await;
    let failure = pair.call("b", get("/down")).await.unwrap_err();
    assert_eq!(failure.name(), "app_unavailable");
    assert!(failure.to_string().contains("127.0.0.1:1"), "{failure}");
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_call_in_the_app() {
    let pair = Pair::start().await;
    let call = tokio::time::timeout(Duration::from_millis(300), pair.call("b", get("/hang")));
    assert!(call.await.is_err());
    let dropped = Arc::clone(&pair.app.dropped);
    tokio::time::timeout(WAIT, async {
        while !*dropped.lock().unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the app's side was told");
}

#[tokio::test]
async fn a_renewed_identity_is_used_without_a_failed_call() {
    let ca = Ca::new();
    let mut pair = Pair::with(ca.identity(&app("a")), ca.identity(&app("b"))).await;
    assert!(pair.call("b", get("/x")).await.is_ok());
    pair.b.publish(Arc::new(ca.svid(&app("b"), KeyAlgorithm::Ed25519)), Arc::clone(ca.0.roots()));
    pair._a.publish(Arc::new(ca.svid(&app("a"), KeyAlgorithm::Ed25519)), Arc::clone(ca.0.roots()));
    assert!(pair.call("b", get("/x")).await.is_ok());
    assert!(
        pair.metric("outrigger_peer_connections{direction=\"inbound\"} 2")
            || pair.metric("outrigger_peer_connections{direction=\"inbound\"} 1")
    );
}

#[tokio::test]
async fn a_drain_lets_the_open_call_finish_and_takes_no_new_connection() {
    let pair = Pair::start().await;
    let (pieces, body) = mpsc::channel::<Result<Frame<Bytes>, Failure>>(1);
    let body = Body::boxed(StreamBody::new(futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|frame| (frame, body))
    })));
    let mut open = pair.call("b", Request::builder().method("POST").uri("/echo").body(body).unwrap()).await.unwrap();
    pair.drain.start();
    pieces.send(Ok(Frame::data(Bytes::from_static(b"late")))).await.unwrap();
    assert_eq!(open.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "late");
    drop(pieces);
    assert!(open.body_mut().frame().await.is_none());
    assert!(pair.drain.finished(WAIT).await);
    tokio::time::timeout(WAIT, pair.serving).await.unwrap().unwrap();
    drop(pair.endpoints);
}

#[tokio::test]
async fn our_own_app_is_called_without_a_wire() {
    let pair = Pair::start().await;
    let response = pair.call("a", get("/x")).await.unwrap();
    assert_eq!(response.headers()["x-path"], "/x");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}
