#![allow(clippy::all, missing_docs)]
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use outrigger_mesh::http::{client, server};
use outrigger_mesh::{drain, listener::Listener};
use outrigger_wire::{Body, Failure, Limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const WAIT: Duration = Duration::from_secs(5);

struct Slow;
impl server::Service for Slow {
    async fn call(&self, _c: &server::Connection, req: Request<Body>) -> Response<Body> {
        if req.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if req.uri().path() == "/yield" {
            tokio::task::yield_now().await;
        }
        Response::new(Body::full("ok"))
    }
}

async fn serve_slow() -> (std::net::SocketAddr, drain::Drain, tokio::task::JoinHandle<()>) {
    let l = Listener::bind("api", "127.0.0.1:0".parse().unwrap()).unwrap();
    let a = l.local_addr();
    let (d, w) = drain::channel();
    let mut limits = Limits::default();
    limits.idle_timeout_ms = 1500;
    limits.header_timeout_ms = 700;
    let h = tokio::spawn(server::serve(l, Arc::new(Slow), Arc::new(limits), w));
    (a, d, h)
}

async fn idle_closes(path: &str) {
    let (a, _d, _h) = serve_slow().await;
    let mut s = TcpStream::connect(a).await.unwrap();
    s.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut buf = vec![0; 4096];
    let n = s.read(&mut buf).await.unwrap();
    assert!(n > 0);
    let t = std::time::Instant::now();
    let r = tokio::time::timeout(WAIT, s.read(&mut buf)).await;
    eprintln!("{path}: {:?} after {:?}", r.as_ref().map(|r| r.as_ref().map_err(|e| e.to_string())), t.elapsed());
    assert!(r.is_ok(), "idle keep-alive connection is never closed");
    assert!(t.elapsed() > Duration::from_millis(1200), "closed too early");
}
#[tokio::test]
async fn h1_idle_sync() {
    idle_closes("/x").await
}
#[tokio::test]
async fn h1_idle_slow() {
    idle_closes("/slow").await
}
#[tokio::test]
async fn h1_idle_yield() {
    idle_closes("/yield").await
}

#[tokio::test]
async fn h2_idle_closes() {
    let (a, _d, _h) = serve_slow().await;
    let s = TcpStream::connect(a).await.unwrap();
    let (mut send, conn) = h2::client::handshake(s).await.unwrap();
    let c = tokio::spawn(conn);
    let (resp, _) = send.send_request(Request::builder().uri("http://x/slow").body(()).unwrap(), true).unwrap();
    let mut b = resp.await.unwrap().into_body();
    while b.data().await.is_some() {}
    drop(b);
    let r = tokio::time::timeout(WAIT, c).await;
    assert!(r.is_ok(), "idle h2 connection is never closed");
    drop(send);
}

// app_connections = 1: the second call must get the first one's connection.
#[tokio::test]
async fn a_waiter_gets_the_connection_that_became_idle() {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut s, _) = l.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buf = vec![0; 4096];
                loop {
                    let n = s.read(&mut buf).await.unwrap_or(0);
                    if n == 0 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    let mut limits = Limits::default();
    limits.app_connections = 1;
    let c = client::Client::new(client::Config {
        address: addr.to_string().into(),
        version: client::Version::Http1,
        idle_timeout: Duration::from_secs(4),
        limits: Arc::new(limits),
    });
    let get = || Request::builder().uri("/").header("host", "x").body(Body::empty()).unwrap();
    let one = {
        let c = c.clone();
        tokio::spawn(async move {
            c.send(get()).await.unwrap().into_body().collect().await.unwrap();
        })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let two = {
        let c = c.clone();
        tokio::spawn(async move {
            c.send(get()).await.unwrap().into_body().collect().await.unwrap();
        })
    };
    one.await.unwrap();
    tokio::time::timeout(WAIT, two).await.expect("the waiter must get a connection").unwrap();
}

// GET with a body of unknown length towards an HTTP/1.1 app.
#[tokio::test]
async fn a_get_with_a_chunked_body_keeps_its_body() {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        let mut all = Vec::new();
        let mut buf = vec![0; 4096];
        while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(500), s.read(&mut buf)).await {
            if n == 0 {
                break;
            }
            all.extend_from_slice(&buf[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let c = client::Client::new(client::Config {
        address: addr.to_string().into(),
        version: client::Version::Http1,
        idle_timeout: Duration::from_secs(4),
        limits: Arc::new(Limits::default()),
    });
    let frames: Vec<Result<Frame<Bytes>, Failure>> = vec![Ok(Frame::data(Bytes::from_static(b"query")))];
    let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
    let call = tokio::spawn(async move {
        let _ = c.send(Request::builder().uri("/").header("host", "x").body(body).unwrap()).await;
    });
    let text = seen.await.unwrap();
    call.abort();
    assert!(text.contains("query"), "{text}");
}

// One slow reader of four big responses must not stop everybody else's calls to an h2c app.
#[tokio::test]
async fn unread_responses_of_some_do_not_stop_the_responses_of_others_h2_app() {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    tokio::spawn(async move {
        let (s, _) = l.accept().await.unwrap();
        let mut c = h2::server::handshake(s).await.unwrap();
        while let Some(Ok((req, mut respond))) = c.accept().await {
            tokio::spawn(async move {
                let size = if req.uri().path() == "/big" { 1 << 20 } else { 5 };
                let mut st = respond.send_response(Response::new(()), false).unwrap();
                st.send_data(vec![7u8; size].into(), true).unwrap();
                futures_util::future::poll_fn(|cx| st.poll_reset(cx)).await.ok();
            });
        }
    });
    let c = client::Client::new(client::Config {
        address: addr.to_string().into(),
        version: client::Version::Http2,
        idle_timeout: Duration::from_secs(4),
        limits: Arc::new(Limits::default()),
    });
    let get = |p: &str| Request::builder().uri(format!("http://x{p}")).body(Body::empty()).unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(c.send(get("/big")).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let r = tokio::time::timeout(WAIT, async {
        c.send(get("/small")).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    })
    .await;
    assert!(r.is_ok(), "a small response is stuck behind four that nobody reads");
}

// A trailer must not bring a control header to the app.
#[tokio::test]
async fn trailers_are_sent_to_an_http1_app() {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        let mut all = Vec::new();
        let mut buf = vec![0; 4096];
        while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(500), s.read(&mut buf)).await {
            if n == 0 {
                break;
            }
            all.extend_from_slice(&buf[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let c = client::Client::new(client::Config {
        address: addr.to_string().into(),
        version: client::Version::Http1,
        idle_timeout: Duration::from_secs(4),
        limits: Arc::new(Limits::default()),
    });
    let mut t = HeaderMap::new();
    t.insert("dapr-caller-app-id", "admin".parse().unwrap());
    let frames: Vec<Result<Frame<Bytes>, Failure>> =
        vec![Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(t))];
    let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
    let call = tokio::spawn(async move {
        let _ = c
            .send(
                Request::builder()
                    .method("POST")
                    .uri("/")
                    .header("host", "x")
                    .header("trailer", "dapr-caller-app-id")
                    .body(body)
                    .unwrap(),
            )
            .await;
    });
    let text = seen.await.unwrap();
    call.abort();
    eprintln!("{text}");
    assert!(!text.contains("dapr-caller-app-id: admin"), "{text}");
}

// An idle connection of ours must be closed by us when its time is over, and not kept half closed for ever.
#[tokio::test]
async fn an_idle_connection_to_the_app_ends_though_no_call_follows() {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    let ended = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        let mut buf = vec![0; 4096];
        s.read(&mut buf).await.unwrap();
        s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        tokio::time::timeout(WAIT, s.read(&mut buf)).await.is_ok()
    });
    let c = client::Client::new(client::Config {
        address: addr.to_string().into(),
        version: client::Version::Http1,
        idle_timeout: Duration::from_millis(300),
        limits: Arc::new(Limits::default()),
    });
    c.send(Request::builder().uri("/").header("host", "x").body(Body::empty()).unwrap())
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert!(ended.await.unwrap(), "we never close it");
    drop(c);
}
