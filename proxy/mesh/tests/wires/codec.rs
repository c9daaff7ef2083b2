//! Our HTTP/1.1 next to hyper's: messages made of good and bad parts are taken or refused alike, byte for byte.
//!
//! Where ours is stricter on purpose the corpus has no such part; those have cases of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use outrigger_mesh::http::client::{Client, Config, Version};
use outrigger_mesh::http::server::{self, Connection, serve};
use outrigger_mesh::{drain, listener::Listener};
use outrigger_wire::{Body, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bodies::get;
use crate::wait::within;

const CASES: u32 = 400;

/// What a reader understood of a message; `None` when it took it for none.
type Understood = Option<(u16, Vec<(String, Vec<u8>)>, Bytes)>;

/// Says what was understood of a request.
fn account(method: &http::Method, target: &str, headers: &HeaderMap, body: &Bytes) -> Bytes {
    let mut text = format!("{method} {target}\n").into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body);
    text.into()
}

struct Echo;

impl server::Service for Echo {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut response = Response::new(Body::empty());
        if head.uri.path() == "/early" {
            return response;
        }
        match body.collect().await {
            Ok(body) => {
                let account = account(&head.method, &head.uri.to_string(), &head.headers, &body.to_bytes());
                *response.body_mut() = Body::full(account);
            }
            Err(_) => *response.status_mut() = http::StatusCode::BAD_REQUEST,
        }
        response
    }
}

fn start_ours() -> SocketAddr {
    let listener = Listener::bind("api", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr();
    let (_drain, watch) = drain::channel();
    tokio::spawn(serve(listener, Arc::new(Echo), Arc::new(Limits::default()), watch));
    address
}

async fn start_hyper() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let echo = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async {
                let (head, body) = request.into_parts();
                let mut response = Response::new(Full::default());
                match body.collect().await {
                    Ok(body) => {
                        let account = account(&head.method, &head.uri.to_string(), &head.headers, &body.to_bytes());
                        *response.body_mut() = Full::new(account);
                    }
                    Err(_) => *response.status_mut() = http::StatusCode::BAD_REQUEST,
                }
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .half_close(true)
                    .serve_connection(TokioIo::new(socket), echo),
            );
        }
    });
    address
}

/// Writes `bytes` in the given pieces, ends, and reads all that comes back.
async fn ask(address: SocketAddr, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        rest = behind;
        if socket.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _refused_midway = socket.write_all(rest).await;
    // Whoever has not closed by then waits for more; both have read what came before this.
    let _closed = socket.shutdown().await;
    let mut read = Vec::new();
    let _reset = within("an end", socket.read_to_end(&mut read)).await;
    read
}

/// The bodies of all answers with 200, in order.
fn accepted(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let mut bodies = Vec::new();
    for part in text.split("HTTP/1.").skip(1).filter(|part| part[1..].starts_with(" 200")) {
        bodies.push(part.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default());
    }
    bodies
}

fn pick<'a>(random: &mut fastrand::Rng, good: &[&'a str], bad: &[&'a str]) -> &'a str {
    let from = if bad.is_empty() || random.u8(..) < 225 { good } else { bad };
    from[random.usize(..from.len())]
}

fn a_field(random: &mut fastrand::Rng) -> &'static str {
    pick(
        random,
        &["", "X-A: 1\r\n", "x-a:2\r\nX-A:\t3 \r\n", "x-empty:\r\n", "x-high: \u{e9}\r\n", "X-Long_Name.1~: a  b\r\n"],
        &["X A: 1\r\n", "x-a : 1\r\n", "X-A: 1\r\n fold\r\n", "x-nul: \0\r\n", ": 1\r\n", "x-cr: a\rb\r\n", "none\r\n"],
    )
}

fn a_chunked_body(random: &mut fastrand::Rng) -> String {
    let mut body = String::new();
    for _ in 0..random.usize(..4) {
        body.push_str(pick(
            random,
            &["5\r\nhello\r\n", "0a\r\n0123456789\r\n", "1;a=b\r\nx\r\n", "3 \r\nabc\r\n", "B\r\n01234567890\r\n"],
            &[
                "5\r\nhello",
                "-1\r\nx\r\n",
                "g\r\nx\r\n",
                "\r\n",
                "11111111111111111\r\n",
                "5\r\nhelloo\r\n",
                "5;a\nhello\r\n",
            ],
        ));
    }
    body.push_str(pick(
        random,
        &["0\r\n\r\n", "0\r\nx-t: 1\r\n\r\n", "000\r\n\r\n"],
        &["", "0\r\n", "0\r\nbad\r\n\r\n"],
    ));
    body
}

fn a_request(random: &mut fastrand::Rng) -> String {
    let line = pick(
        random,
        &["GET /a HTTP/1.1\r\n", "POST /b?c=%20 HTTP/1.1\r\n", "\r\nPUT / HTTP/1.1\r\n", "brew /x HTTP/1.1\r\n"],
        &["GET /a HTTP/1.2\r\n", "GET  /a HTTP/1.1\r\n", "GET /a\r\n", "G@T /a HTTP/1.1\r\n", "GET /a\0 HTTP/1.1\r\n"],
    );
    let mut request = format!("{line}Host: here\r\n{}{}", a_field(random), a_field(random));
    match random.u8(..3) {
        0 => request.push_str("\r\n"),
        1 => {
            let length = pick(random, &["5", "05", " 5 "], &["+5", "5x", "-5", "0x5", "99999999999999999999", "6"]);
            request.push_str(&format!("Content-Length: {length}\r\n\r\nhello"));
        }
        _ => {
            let coding = pick(random, &["chunked", "Chunked", "\tchunked "], &["chunked, identity", "xchunked"]);
            request.push_str(&format!("Transfer-Encoding: {coding}\r\n\r\n{}", a_chunked_body(random)));
        }
    }
    request
}

fn cuts(random: &mut fastrand::Rng) -> Vec<usize> {
    (0..random.usize(..5)).map(|_| random.usize(1..40)).collect()
}

#[tokio::test]
async fn requests_are_taken_or_refused_as_hyper_does_and_with_the_same_bytes() {
    let (ours, hypers) = (start_ours(), start_hyper().await);
    let mut taken = 0_u32;
    for seed in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed.into());
        let request = a_request(&mut random);
        let cuts = cuts(&mut random);
        let by_us = accepted(&ask(ours, request.as_bytes(), &cuts).await);
        let by_hyper = accepted(&ask(hypers, request.as_bytes(), &cuts).await);
        assert_eq!(by_us, by_hyper, "seed {seed}: {request:?} in {cuts:?}");
        taken += u32::from(!by_us.is_empty());
    }
    assert!((100..CASES).contains(&taken), "a corpus of both kinds has good ones too: {taken}");
}

fn a_response(random: &mut fastrand::Rng) -> String {
    let line = pick(
        random,
        &[
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 404 \r\n",
            "HTTP/1.1 500\r\n",
            "HTTP/1.0 201 Made\r\n",
            "HTTP/1.1 204 No\r\n",
        ],
        &["HTTP/1.1 20 OK\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 2000 OK\r\n", "ICY 200 OK\r\n", ""],
    );
    let interim = pick(random, &["", "", "HTTP/1.1 103 Early\r\nlink: a\r\n\r\n"], &[]);
    let mut response = format!("{interim}{line}{}{}", a_field(random), a_field(random));
    match random.u8(..3) {
        0 => response.push_str("\r\nuntil the end"),
        1 if !line.contains("204") => {
            let length = pick(random, &["5", "0"], &["+5", "5x", "-5", "6"]);
            response.push_str(&format!("Content-Length: {length}\r\n\r\nhello"));
        }
        // Ours refuses a wrong length where there is no body, too.
        _ if line.contains("1.0") || line.contains("204") => response.push_str("\r\n"),
        _ => response.push_str(&format!("Transfer-Encoding: chunked\r\n\r\n{}", a_chunked_body(random))),
    }
    response
}

/// An app that takes one connection, and answers its request with these bytes and an end.
async fn app(response: String, cuts: Vec<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0, "a request");
        let mut rest = response.as_bytes();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            if socket.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _gone = socket.write_all(rest).await;
    });
    address
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

async fn by_us(address: SocketAddr) -> Understood {
    let limits = Arc::new(Limits::default());
    let idle_timeout = std::time::Duration::from_secs(4);
    let client =
        Client::new(Config { address: address.to_string().into(), version: Version::Http1, idle_timeout, limits });
    let (head, body) = within("a response", client.send(get("/"))).await.ok()?.into_parts();
    let body = within("a body", body.collect()).await.ok()?.to_bytes();
    Some((head.status.as_u16(), sorted(&head.headers), body))
}

async fn by_hyper(address: SocketAddr) -> Understood {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("/").body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = within("a response", sender.send_request(request)).await.ok()?.into_parts();
    let body = within("a body", body.collect()).await.ok()?.to_bytes();
    Some((head.status.as_u16(), sorted(&head.headers), body))
}

#[tokio::test]
async fn responses_are_taken_or_refused_as_hyper_does_and_with_the_same_bytes() {
    let mut taken = 0_u32;
    for seed in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed.into());
        let response = a_response(&mut random);
        let cuts = cuts(&mut random);
        let ours = by_us(app(response.clone(), cuts.clone()).await).await;
        let hypers = by_hyper(app(response.clone(), cuts.clone()).await).await;
        assert_eq!(ours, hypers, "seed {seed}: {response:?} in {cuts:?}");
        taken += u32::from(ours.is_some());
    }
    assert!((100..CASES).contains(&taken), "a corpus of both kinds has good ones too: {taken}");
}

#[tokio::test]
async fn a_response_that_says_its_length_in_two_ways_is_no_response() {
    for lines in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        assert_eq!(by_us(app(response, Vec::new()).await).await, None, "{lines}");
    }
    assert_eq!(by_us(app("HTTP/1.1 101 Other\r\nupgrade: x\r\n\r\n".to_owned(), Vec::new()).await).await, None);
    let flood = "HTTP/1.1 103 Hints\r\n\r\n".repeat(100) + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(by_us(app(flood, Vec::new()).await).await, None);
}

#[tokio::test]
async fn requests_that_hyper_would_take_and_another_reader_otherwise_are_refused() {
    let ours = start_ours();
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\n\r\n",
        "GET here:80 HTTP/1.1\r\nHost: here:80\r\n\r\n",
    ] {
        let answer = ask(ours, format!("{request}GET /next HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), &[]).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400") && text.contains("connection: close"), "{request:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
    }
}

/// What came until it ends with `end`.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut piece = [0; 4096];
        let length = within("an answer", socket.read(&mut piece)).await.unwrap();
        assert!(length > 0, "it ends with {text:?}");
        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    text
}

#[tokio::test]
async fn who_expects_continue_is_told_to_when_the_body_is_asked_for() {
    let mut socket = TcpStream::connect(start_ours()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for _again in 0..2 {
        socket.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut socket, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(b"hello").await.unwrap();
        let answer = read_until(&mut socket, "hello").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_never_the_next_request() {
    for expect in ["Expect: 100-continue\r\n", ""] {
        let mut socket = TcpStream::connect(start_ours()).await.unwrap();
        let head = format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n{expect}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "no interim answer: {answer}");
        assert_eq!(answer.contains("connection: close"), !expect.is_empty(), "{answer}");
        let _closed = socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut more = Vec::new();
        let _reset = within("an end", socket.read_to_end(&mut more)).await;
        assert_eq!(String::from_utf8_lossy(&more), "");
    }
}

#[tokio::test]
async fn an_early_answer_to_a_body_that_is_there_leaves_the_connection_in_step() {
    let body = "x".repeat(3_000);
    let early = format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n{body}");
    let chunked = "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(start_ours(), format!("{early}{chunked}{last}").as_bytes(), &[]).await;
    let answers = accepted(&answer);
    assert_eq!(answers.len(), 3, "{}", String::from_utf8_lossy(&answer));
    assert!(answers[2].starts_with("GET /last\n"), "{answers:?}");
}
