//! Clients of the API that have asked and go on to say nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use outrigger_mesh::http::server::{self, Connection, serve};
use outrigger_mesh::{drain, listener::Listener};
use outrigger_wire::{Body, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Longer than the wait for a header section, shorter than the time between two pings.
const IDLE: Duration = Duration::from_secs(20);

/// Answers at once, `/slow` after a while, `/yield` after one turn of the runtime.
struct Api;

impl server::Service for Api {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        match request.uri().path() {
            "/slow" => sleep(Duration::from_millis(50)).await,
            "/yield" => tokio::task::yield_now().await,
            _ => {}
        }
        Response::new(Body::full("ok"))
    }
}

fn start_api() -> SocketAddr {
    let listener = Listener::bind("api", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr();
    let limits = Limits { idle_timeout_ms: 20_000, ..Limits::default() };
    assert_eq!(Limits::millis(limits.idle_timeout_ms), IDLE);
    let (_drain, watch) = drain::channel();
    tokio::spawn(serve(listener, Arc::new(Api), Arc::new(limits), watch));
    address
}

/// Waits for `closed`: it must come when the idle time is over, and not before.
async fn assert_closed_when_idle(closed: impl Future) {
    let since = Instant::now();
    assert!(timeout(2 * IDLE, closed).await.is_ok(), "an idle connection is never closed");
    let idle = since.elapsed();
    assert!((IDLE..IDLE + Duration::from_secs(1)).contains(&idle), "closed after {idle:?}");
}

async fn http1_client_idles_after(path: &str) {
    let mut client = TcpStream::connect(start_api()).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: api\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = [0; 4096];
    let length = client.read(&mut read).await.unwrap();
    assert!(read[..length].ends_with(b"\r\n\r\nok"), "the whole answer");
    assert_closed_when_idle(async { assert_eq!(client.read(&mut read).await.unwrap(), 0) }).await;
}

#[tokio::test(start_paused = true)]
async fn an_http1_client_that_was_answered_at_once_is_closed_when_idle() {
    http1_client_idles_after("/at-once").await;
}

#[tokio::test(start_paused = true)]
async fn an_http1_client_that_was_answered_slowly_is_closed_when_idle() {
    http1_client_idles_after("/slow").await;
}

#[tokio::test(start_paused = true)]
async fn an_http1_client_that_was_answered_in_the_next_turn_is_closed_when_idle() {
    http1_client_idles_after("/yield").await;
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_is_closed_when_idle() {
    let socket = TcpStream::connect(start_api()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder().uri("http://api/slow").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    while body.data().await.is_some() {}
    drop(body);
    assert_closed_when_idle(connection).await;
    // Only now: a client without a sender ends the connection itself.
    drop(sender);
}
