//! Calling the app beside us over pooled connections in clear.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use outrigger_mesh::http::client::{Client, Config, Version};
use outrigger_wire::{Body, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::bodies::{data, get, pieces, read, with_trailers};
use crate::wait::within;

const IDLE: Duration = Duration::from_secs(4);

/// An app of which a case plays the other end of each connection.
struct App(TcpListener);

impl App {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn client(&self, version: Version, limits: Limits) -> Client {
        let address = self.0.local_addr().unwrap().to_string().into();
        Client::new(Config { address, version, idle_timeout: IDLE, limits: Arc::new(limits) })
    }

    async fn accept(&self) -> TcpStream {
        within("a connection", self.0.accept()).await.unwrap().0
    }
}

/// Reads one HTTP/1.1 request, to the end of its body when it says that it has one.
async fn read_request(connection: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !is_whole(&text) {
        let length = within("a request", connection.read(&mut buffer)).await.unwrap();
        assert!(length > 0, "the request ends in its midst: {text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    !head.contains("transfer-encoding: chunked") || body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n")
}

async fn answer(connection: &mut TcpStream) {
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
}

async fn fetch(client: Client, request: Request<Body>) -> Bytes {
    read(client.send(request).await.unwrap()).await
}

#[tokio::test]
async fn who_waits_for_a_connection_gets_the_one_that_became_idle() {
    let app = App::listen().await;
    let client = app.client(Version::Http1, Limits { app_connections: 1, ..Limits::default() });
    let first = tokio::spawn(fetch(client.clone(), get("/")));
    let mut connection = app.accept().await;
    read_request(&mut connection).await;
    let second = tokio::spawn(fetch(client, get("/")));
    // The second now comes to wait.
    tokio::task::yield_now().await;
    answer(&mut connection).await;
    assert_eq!(first.await.unwrap(), "ok");
    read_request(&mut connection).await;
    answer(&mut connection).await;
    assert_eq!(within("the second answer", second).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let app = App::listen().await;
    let mut request = get("/");
    *request.body_mut() = pieces([data("query")]);
    let call = tokio::spawn(fetch(app.client(Version::Http1, Limits::default()), request));
    let mut connection = app.accept().await;
    let seen = read_request(&mut connection).await;
    assert!(seen.contains("query"), "{seen}");
    answer(&mut connection).await;
    assert_eq!(call.await.unwrap(), "ok");
}

#[tokio::test]
async fn trailers_bring_no_control_header_to_an_http1_app() {
    let app = App::listen().await;
    let request = Request::builder()
        .method("POST")
        .uri("/")
        .header("trailer", "dapr-caller-app-id, x-kept")
        .body(with_trailers([("dapr-caller-app-id", "admin"), ("x-kept", "1")]))
        .unwrap();
    let call = tokio::spawn(fetch(app.client(Version::Http1, Limits::default()), request));
    let mut connection = app.accept().await;
    let seen = read_request(&mut connection).await;
    assert!(seen.contains("x-kept: 1"), "{seen}");
    assert!(!seen.contains("dapr-caller-app-id: admin"), "{seen}");
    answer(&mut connection).await;
    assert_eq!(call.await.unwrap(), "ok");
}

#[tokio::test]
async fn an_idle_connection_to_the_app_ends_though_no_call_follows() {
    let app = App::listen().await;
    let client = app.client(Version::Http1, Limits::default());
    let call = tokio::spawn(fetch(client.clone(), get("/")));
    let mut connection = app.accept().await;
    read_request(&mut connection).await;
    answer(&mut connection).await;
    call.await.unwrap();
    tokio::time::pause();
    let since = Instant::now();
    let closed = timeout(10 * IDLE, connection.read(&mut [0])).await;
    assert_eq!(closed.expect("we close what is idle").unwrap(), 0);
    let idle = since.elapsed();
    assert!(IDLE - Duration::from_secs(1) < idle && idle <= 2 * IDLE, "closed after {idle:?}");
    // Only now: a pool that is dropped closes what it has.
    drop(client);
}

#[tokio::test]
async fn responses_that_nobody_reads_do_not_stop_others_of_an_http2_app() {
    let (app, limits) = (App::listen().await, Limits::default());
    let client = app.client(Version::Http2, limits.clone());
    let (full, mut filled) = mpsc::channel(1);
    tokio::spawn(serve_http2(app, limits.http2_stream_window, full));
    let mut unread = Vec::new();
    for _ in 0..limits.http2_connection_window.div_ceil(limits.http2_stream_window) {
        unread.push(client.send(get("http://app/flood")).await.unwrap());
        within("a full window", filled.recv()).await.unwrap();
    }
    assert_eq!(within("a small answer", fetch(client, get("http://app/small"))).await, "small");
}

/// Fills the window of each stream that asks for `/flood` and says so; answers the others.
async fn serve_http2(app: App, window: u64, full: mpsc::Sender<()>) {
    let mut connection = h2::server::handshake(app.accept().await).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        if request.uri().path() == "/small" {
            stream.send_data(Bytes::from_static(b"small"), true).unwrap();
            continue;
        }
        let full = full.clone();
        tokio::spawn(async move {
            let mut left = Limits::size(window);
            while left > 0 {
                stream.reserve_capacity(left);
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                stream.send_data(vec![7; room].into(), false).unwrap();
                left -= room;
            }
            full.send(()).await.unwrap();
            // The stream stays open until its reader ends it.
            let _ended = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        });
    }
}
