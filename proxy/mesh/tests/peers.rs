//! Two sidecars' data paths over real sockets and real handshakes.

#![allow(clippy::all, missing_docs, dead_code, unused)]

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
            "/big" => Ok(Response::new(Body::full(vec![7u8; 1 << 20]))),
            "/small" => Ok(Response::new(Body::full("small"))),
            "/stuck-upload" => {
                let _keep = request;
                std::future::pending().await
            }
            "/forge-trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("outrigger-failure", "denied".parse().unwrap());
                trailers.insert("outrigger-policy", "forged".parse().unwrap());
                let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
                Ok(Response::new(Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))))
            }
            "/see-trailers" => {
                let all = request.into_body().collect().await?;
                let t = all.trailers().cloned().unwrap_or_default();
                Ok(Response::new(Body::full(format!("{t:?}"))))
            }
            "/101" => {
                let mut r = Response::new(Body::empty());
                *r.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                Ok(r)
            }
            "/early" => Ok(Response::builder().status(413).body(Body::full("too big")).unwrap()),
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
        limits: Arc::new(Limits { peer_idle_timeout_ms: 1_000, ..Limits::default() }),
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
async fn unread_responses_do_not_stop_others() {
    let pair = Pair::start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pair.call("b", get("/big")).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let r = tokio::time::timeout(WAIT, async {
        pair.call("b", get("/small")).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    })
    .await;
    assert!(r.is_ok(), "a small response is stuck behind four that nobody reads");
}

#[tokio::test]
async fn unread_uploads_do_not_stop_others() {
    let pair = Arc::new(Pair::start().await);
    let mut held = Vec::new();
    for _ in 0..4 {
        let pair = pair.clone();
        held.push(tokio::spawn(async move {
            let r =
                Request::builder().method("POST").uri("/stuck-upload").body(Body::full(vec![7u8; 1 << 20])).unwrap();
            let call = Call {
                target: Target::App(app("b")),
                protocol: CallProtocol::Http,
                trace: TraceContext::new_root(&Sampler::NEVER),
                deadline: None,
            };
            let _ = pair.out.send(call, r).await;
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let r = tokio::time::timeout(WAIT, async {
        let r = Request::builder().method("POST").uri("/echo").body(Body::full("hello")).unwrap();
        pair.call("b", r).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    })
    .await;
    assert!(r.is_ok(), "a small upload is stuck behind four that nobody reads");
}

#[tokio::test]
async fn trailers_of_a_request_carry_no_control_header() {
    let pair = Pair::start().await;
    let mut t = HeaderMap::new();
    t.insert("dapr-caller-app-id", "admin".parse().unwrap());
    t.insert("outrigger-caller-id", "spiffe://evil".parse().unwrap());
    let frames: Vec<Result<Frame<Bytes>, Failure>> =
        vec![Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(t))];
    let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
    let r = Request::builder().method("POST").uri("/see-trailers").body(body).unwrap();
    let text = pair.call("b", r).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains("admin") && !text.contains("evil"), "{text}");
}

#[tokio::test]
async fn trailers_of_a_response_carry_no_control_header() {
    let pair = Pair::start().await;
    let all = pair.call("b", get("/forge-trailers")).await.unwrap().into_body().collect().await.unwrap();
    assert!(!all.trailers().unwrap().contains_key("outrigger-policy"), "{:?}", all.trailers());
}

#[tokio::test]
async fn a_response_of_101_is_a_protocol_failure() {
    let pair = Pair::start().await;
    let r = pair.call("b", get("/101")).await;
    eprintln!("{r:?}");
    assert_eq!(r.unwrap_err().name(), "protocol");
}

#[tokio::test]
async fn early_answer_to_big_upload() {
    for _ in 0..20 {
        let pair = Pair::start().await;
        let r = Request::builder().method("POST").uri("/early").body(Body::full(vec![7u8; 10 << 20])).unwrap();
        let r = pair.call("b", r).await.unwrap();
        assert_eq!(r.status(), 413);
        let b = r.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(b, "too big");
    }
}

#[tokio::test]
async fn a_callers_broken_upload_is_not_the_replicas_fault() {
    let pair = Pair::start().await;
    for _ in 0..8 {
        let frames: Vec<Result<Frame<Bytes>, Failure>> = vec![
            Ok(Frame::data(Bytes::from_static(b"x"))),
            Err(Failure::new(Cause::Reset { reason: "client went away".into() })),
        ];
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let r = Request::builder().method("POST").uri("/see-trailers").body(body).unwrap();
        let f = pair.call("b", r).await.unwrap_err();
        eprintln!("{}", f.name());
    }
    assert!(pair.call("b", get("/small")).await.is_ok());
}

#[tokio::test]
async fn the_last_set_of_a_source_that_went_away_is_used() {
    let pair = Pair::start().await;
    let Pair { out, endpoints, .. } = pair;
    drop(endpoints);
    let call = Call {
        target: Target::App(app("b")),
        protocol: CallProtocol::Http,
        trace: TraceContext::new_root(&Sampler::NEVER),
        deadline: None,
    };
    let r = tokio::time::timeout(WAIT, out.send(call, get("/small"))).await.unwrap();
    assert!(r.is_ok(), "{r:?}");
}

#[tokio::test]
async fn a_connection_to_a_replica_that_is_gone_ends() {
    let pair = Pair::start().await;
    pair.call("b", get("/small")).await.unwrap().into_body().collect().await.unwrap();
    pair.endpoints.send_replace(Arc::new(vec![]));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(pair.metric("outrigger_peer_connections{direction=\"inbound\"} 0"), "still connected");
}

#[tokio::test]
async fn a_second_target_takes_the_place_of_the_oldest() {
    // as the registry does: no more watches than targets
    struct Bounded(Mutex<Vec<watch::Sender<Arc<Vec<Endpoint>>>>>, Arc<Vec<Endpoint>>);
    #[async_trait]
    impl Resolver for Bounded {
        async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
            let mut w = self.0.lock().unwrap();
            w.retain(|s| s.receiver_count() > 0);
            if w.len() >= 1 {
                return Err(Failure::new(Cause::Limit { name: "registry_watches", limit: 1 }));
            }
            let (s, r) = watch::channel(self.1.clone());
            w.push(s);
            Ok(r)
        }
    }
    let pair = Pair::start().await;
    let at = pair.endpoints.subscribe();
    let mut p = parts(app("a"), pair._a.watch(), Arc::new(TestApp::default()), at.clone(), pair.view.subscribe());
    let mut limits = Limits::default();
    limits.targets = 1;
    p.limits = Arc::new(limits);
    let eps = at.borrow().clone();
    p.resolver = Arc::new(Bounded(Mutex::default(), eps));
    let out = Outbound::new(p);
    let call = |to: &str| Call {
        target: Target::App(app(to)),
        protocol: CallProtocol::Http,
        trace: TraceContext::new_root(&Sampler::NEVER),
        deadline: None,
    };
    assert!(out.send(call("b"), get("/small")).await.is_ok());
    // c is not b, so tls is what it should say; limit says that the target could not be had
    assert_eq!(out.send(call("c"), get("/small")).await.unwrap_err().name(), "tls");
}

#[tokio::test]
async fn a_head_request_that_fails_in_the_callees_sidecar_says_why() {
    let pair = Pair::start().await;
    let r = Request::builder().method("HEAD").uri("/down").body(Body::empty()).unwrap();
    let f = pair.call("b", r).await.unwrap_err();
    eprintln!("HEAD: {f}");
    assert_eq!(f.name(), "app_unavailable");
}

#[tokio::test]
async fn connect_is_not_delivered() {
    let pair = Pair::start().await;
    let r = Request::builder().method("CONNECT").uri("/x").body(Body::empty()).unwrap();
    let f = pair.call("b", r).await;
    eprintln!("CONNECT: {f:?}");
    assert!(pair.app.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn silent_strangers_do_not_keep_peers_out() {
    let pair = Pair::start().await;
    let at = pair.endpoints.subscribe().borrow()[0].address;
    let mut strangers = Vec::new();
    for _ in 0..256 {
        strangers.push(tokio::net::TcpStream::connect(at).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let r = tokio::time::timeout(Duration::from_secs(3), pair.call("b", get("/small"))).await;
    assert!(r.is_ok(), "256 silent TCP connections keep every peer out");
}

#[tokio::test]
async fn impatient_calls_still_get_a_connection_made() {
    let pair = Pair::start().await;
    let at = pair.endpoints.subscribe().borrow()[0].address;
    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = Endpoint { instance: "slow".into(), address: l.local_addr().unwrap(), draining: false };
    tokio::spawn(async move {
        loop {
            let (mut s, _) = l.accept().await.unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let mut up = tokio::net::TcpStream::connect(at).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut s, &mut up).await;
            });
        }
    });
    pair.endpoints.send_replace(Arc::new(vec![slow]));
    let mut ok = 0;
    for _ in 0..20 {
        let call = Call {
            target: Target::App(app("b")),
            protocol: CallProtocol::Http,
            trace: TraceContext::new_root(&Sampler::NEVER),
            deadline: Some(tokio::time::Instant::now() + Duration::from_millis(150)),
        };
        ok += u32::from(pair.out.send(call, get("/small")).await.is_ok());
    }
    assert!(ok > 10, "{ok} of 20 calls, and no connection was ever made");
}

#[tokio::test]
async fn a_body_that_ended_with_its_last_piece_says_so() {
    struct Seen(Arc<Mutex<Option<bool>>>);
    impl outrigger_wire::OnEnd for Seen {
        fn data(&mut self, _l: usize) {}
        fn end(self: Box<Self>, r: Result<(), &Failure>) {
            *self.0.lock().unwrap() = Some(r.is_ok());
        }
    }
    use http_body::Body as _;
    let (a, b) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut c = h2::server::handshake(b).await.unwrap();
        while let Some(Ok((_req, mut respond))) = c.accept().await {
            let mut st = respond.send_response(Response::new(()), false).unwrap();
            st.send_data(Bytes::from_static(b"all"), true).unwrap();
        }
    });
    let (mut send, conn) = h2::client::handshake(a).await.unwrap();
    tokio::spawn(conn);
    let (resp, _) = send.send_request(Request::builder().uri("http://x/").body(()).unwrap(), true).unwrap();
    let stream = resp.await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seen = Arc::new(Mutex::new(None));
    let mut body = Body::h2(stream, None).with_on_end(Box::new(Seen(seen.clone())));
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());
    drop(body); // as every writer does at is_end_stream
    assert_eq!(*seen.lock().unwrap(), Some(true), "the record will say `cancelled`");
}

// h2 allows 1,024 resets for the peer's errors in a connection's life: each refused HEAD is one.
#[tokio::test]
async fn refused_heads_do_not_end_the_connection_of_others() {
    let pair = Pair::start().await;
    let (_pieces, body) = mpsc::channel::<Result<Frame<Bytes>, Failure>>(1);
    let body = Body::boxed(StreamBody::new(futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|frame| (frame, body))
    })));
    let mut open = pair.call("b", Request::builder().method("POST").uri("/echo").body(body).unwrap()).await.unwrap();
    let deny = AccessControl::new(AccessControlSpec {
        name: "lockdown".into(),
        default_action: Some(Action::Deny),
        policies: vec![],
    });
    let view = Arc::clone(&pair.view.borrow());
    pair.view.send_replace(Arc::new(view.with_policies(Policies { access: Arc::new(deny), ..Policies::default() })));
    for n in 0..1_100 {
        let r = Request::builder().method("HEAD").uri("/x").body(Body::empty()).unwrap();
        let f = pair.call("b", r).await.unwrap_err();
        assert_eq!(f.name(), "denied", "{n}: {f}");
    }
    let r = tokio::time::timeout(Duration::from_millis(200), open.body_mut().frame()).await;
    assert!(r.is_err(), "the open stream was cut: {r:?}");
}
