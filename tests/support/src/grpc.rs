//! gRPC without generated code: messages are bytes, and every frame, header and trailer is in the test's hands.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpStream;

use crate::app::{lines, map};
use crate::{Received, eventually, http1};

/// The package and service that [`GrpcApp`] serves.
pub const SERVICE: &str = "/outrigger.test.Echo";

type Headers = Vec<(String, String)>;

#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<Received>>,
    cancelled: Mutex<Vec<String>>,
    closing: AtomicBool,
}

/// A gRPC application on a loopback port. What it does is the last segment of the path:
///
/// `Unary`, `ClientStream` (one answer: all messages joined by `,`), `ServerStream` (each comma-separated part of the
/// message), `Bidi` (each message back as it comes), `TrailersOnly` (status 5 and no message), `Fail` (one message, then
/// status 9 with details), `Hang` (nothing until the caller leaves), `OnInvoke` (an `InvokeResponse` with the text
/// `from grpc`; status 5 for a method that ends with `missing`). Any other method is status 12.
pub struct GrpcApp {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl GrpcApp {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Seen::default());
        let serving = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(accept(listener, serving));
        });
        Self { address, seen }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The calls so far; `body` holds the messages, one after another, without their frames.
    pub fn received(&self) -> Vec<Received> {
        self.seen.calls.lock().unwrap().clone()
    }

    /// The one call of `method`; panics when none comes or there are more.
    pub fn only(&self, method: &str) -> Received {
        let target = format!("{SERVICE}/{method}");
        let of_method = || self.received().into_iter().filter(|call| call.target == target).collect::<Vec<_>>();
        let calls = eventually(&format!("a call of {target}"), || Some(of_method()).filter(|calls| !calls.is_empty()));
        assert_eq!(calls.len(), 1, "{target} was called {} times", calls.len());
        calls.into_iter().next().expect("there is one")
    }

    /// Waits until the caller of `method` has left before its answer.
    pub fn wait_for_cancel(&self, method: &str) {
        let target = format!("{SERVICE}/{method}");
        eventually(&format!("the cancel of {target}"), || {
            self.seen.cancelled.lock().unwrap().contains(&target).then_some(())
        });
    }
}

impl Drop for GrpcApp {
    fn drop(&mut self) {
        self.seen.closing.store(true, Ordering::SeqCst);
        std::net::TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        if seen.closing.load(Ordering::SeqCst) {
            return;
        }
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let Ok(mut server) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = server.accept().await {
                let target = request.uri().path().to_owned();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    if serve(request, respond, &seen).await.is_err() {
                        seen.cancelled.lock().unwrap().push(target);
                    }
                });
            }
        });
    }
}

async fn serve(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: &Seen,
) -> Result<(), h2::Error> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path().to_owned();
    let mut headers = lines(&parts.headers);
    if let Some(authority) = parts.uri.authority() {
        headers.insert(0, (":authority".to_owned(), authority.to_string()));
    }
    let number = {
        let mut calls = seen.calls.lock().unwrap();
        calls.push(Received {
            version: "HTTP/2".to_owned(),
            method: parts.method.to_string(),
            target: target.clone(),
            headers,
            ..Received::default()
        });
        calls.len() - 1
    };
    let mut messages = Messages { body, buffer: BytesMut::new(), ready: VecDeque::new() };
    let record = |message: &Bytes| seen.calls.lock().unwrap()[number].body.extend_from_slice(message);
    let head = |extra: &[(&str, &str)]| {
        let mut response = Response::builder().status(200).header("content-type", "application/grpc");
        for (name, value) in extra {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a response")
    };
    let status =
        |code: &str| map(&[("grpc-status".to_owned(), code.to_owned()), ("x-trailer".to_owned(), "kept".to_owned())]);
    match target.rsplit('/').next().unwrap_or_default() {
        "Unary" | "ClientStream" => {
            let mut all = Vec::new();
            while let Some(message) = messages.next().await? {
                record(&message);
                all.push(message);
            }
            let mut output = respond.send_response(head(&[("x-header", "kept")]), false)?;
            output.send_data(frame(&all.join(&b','))?, false)?;
            output.send_trailers(status("0"))?;
        }
        "ServerStream" => {
            let message = messages.next().await?.unwrap_or_default();
            record(&message);
            let mut output = respond.send_response(head(&[]), false)?;
            for part in message.split(|byte| *byte == b',') {
                output.send_data(frame(part)?, false)?;
            }
            output.send_trailers(status("0"))?;
        }
        "Bidi" => {
            let mut output = respond.send_response(head(&[]), false)?;
            while let Some(message) = messages.next().await? {
                record(&message);
                output.send_data(frame(&message)?, false)?;
            }
            output.send_trailers(status("0"))?;
        }
        "TrailersOnly" => {
            let head = head(&[("grpc-status", "5"), ("grpc-message", "no such thing"), ("x-trailer", "kept")]);
            respond.send_response(head, true)?;
        }
        "Fail" => {
            let mut output = respond.send_response(head(&[]), false)?;
            output.send_data(frame(b"before the failure")?, false)?;
            let mut trailers = status("9");
            trailers.insert("grpc-message", http::HeaderValue::from_static("out of order"));
            trailers.insert("grpc-status-details-bin", http::HeaderValue::from_static("CAkSDG91dCBvZiBvcmRlcg"));
            output.send_trailers(trailers)?;
        }
        "OnInvoke" => {
            let message = messages.next().await?.unwrap_or_default();
            record(&message);
            if message.windows(7).any(|part| part == b"missing") {
                let head = head(&[("grpc-status", "5"), ("grpc-message", "no such thing"), ("x-header", "kept")]);
                respond.send_response(head, true)?;
            } else {
                let mut output = respond.send_response(head(&[("x-header", "kept")]), false)?;
                // Field 1, an Any whose field 2 is the text, and field 2, the content type.
                output.send_data(frame(b"\x0a\x0b\x12\x09from grpc\x12\x0atext/plain")?, false)?;
                output.send_trailers(status("0"))?;
            }
        }
        "Hang" => {
            // Polled for the caller's reset alone.
            poll_fn(|context| respond.poll_reset(context)).await?;
            return Err(Reason::CANCEL.into());
        }
        _ => {
            respond.send_response(head(&[("grpc-status", "12")]), true)?;
        }
    }
    seen.calls.lock().unwrap()[number].complete = true;
    Ok(())
}

/// A message in its frame.
fn frame(message: &[u8]) -> Result<Bytes, h2::Error> {
    let length = u32::try_from(message.len()).map_err(|_| h2::Error::from(Reason::INTERNAL_ERROR))?;
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.extend_from_slice(&[0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    Ok(bytes.freeze())
}

/// Takes messages out of a body.
struct Messages {
    body: RecvStream,
    buffer: BytesMut,
    ready: VecDeque<Bytes>,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let Some(piece) = self.body.data().await else { return Ok(None) };
            let piece = piece?;
            self.body.flow_control().release_capacity(piece.len())?;
            self.buffer.extend_from_slice(&piece);
            while self.buffer.len() >= 5 {
                let length =
                    u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]) as usize;
                if self.buffer.len() < 5 + length {
                    break;
                }
                self.buffer.advance(5);
                self.ready.push_back(self.buffer.split_to(length).freeze());
            }
        }
    }
}

/// A gRPC client on one HTTP/2 connection, which a thread of its own drives: a test may block meanwhile.
pub struct GrpcClient {
    sender: h2::client::SendRequest<Bytes>,
    address: SocketAddr,
}

impl GrpcClient {
    /// Connects, or panics.
    pub async fn connect(address: SocketAddr) -> Self {
        let (connected, connection) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let stream =
                    TcpStream::connect(address).await.unwrap_or_else(|err| panic!("connect to {address}: {err}"));
                let (sender, connection) = h2::client::handshake(stream).await.expect("an HTTP/2 handshake");
                // A test that is over wants no client.
                connected.send(sender).ok();
                connection.await.ok();
            });
        });
        let sender = connection.await.unwrap_or_else(|_| panic!("no HTTP/2 connection to {address}"));
        Self { sender, address }
    }

    /// Opens a call of `method` (a path, or a method of [`SERVICE`]) with `metadata`.
    pub async fn call(&self, method: &str, metadata: &[(&str, &str)]) -> GrpcCall {
        let path = if method.starts_with('/') { method.to_owned() } else { format!("{SERVICE}/{method}") };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await.expect("the connection takes a stream");
        let (response, send) = sender.send_request(request.body(()).expect("a request"), false).expect("a stream");
        GrpcCall { send, response: Some(response), head: None, messages: None }
    }

    /// One message there and all that comes back.
    pub async fn unary(&self, method: &str, metadata: &[(&str, &str)], message: &[u8]) -> GrpcReply {
        let mut call = self.call(method, metadata).await;
        call.send(message);
        call.finish();
        call.reply().await
    }
}

/// A call under way. Dropped before its end, it is cancelled.
pub struct GrpcCall {
    send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    head: Option<(u16, HeaderMap)>,
    messages: Option<Messages>,
}

/// Everything that came back on a call.
#[derive(Debug, Clone)]
pub struct GrpcReply {
    /// The HTTP status.
    pub http: u16,
    /// The response headers.
    pub headers: Headers,
    /// The messages.
    pub messages: Vec<Bytes>,
    /// The trailers; empty for a trailers-only response.
    pub trailers: Headers,
    /// The reset that ended the call in place of trailers.
    pub reset: Option<String>,
}

impl GrpcReply {
    /// `grpc-status`, from the trailers or from a trailers-only head.
    pub fn status(&self) -> Option<u32> {
        self.field("grpc-status").and_then(|text| text.parse().ok())
    }

    /// `grpc-message`, as it stands.
    pub fn message(&self) -> String {
        self.field("grpc-message").unwrap_or_default().to_owned()
    }

    /// The messages as text.
    pub fn texts(&self) -> Vec<String> {
        self.messages.iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect()
    }

    fn field(&self, name: &str) -> Option<&str> {
        http1::one(&self.trailers, name).or_else(|| http1::one(&self.headers, name))
    }
}

/// The longest that a call waits for the other side.
const PATIENCE: Duration = Duration::from_secs(20);

impl GrpcCall {
    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) {
        self.send.send_data(frame(message).expect("a message fits a frame"), false).expect("the stream is open");
    }

    /// Sends bytes that are no frame, or part of one.
    pub fn send_raw(&mut self, bytes: &'static [u8], end: bool) {
        self.send.send_data(Bytes::from_static(bytes), end).expect("the stream is open");
    }

    /// Says that no more messages come.
    pub fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("the stream is open");
    }

    /// Cancels the call.
    pub fn cancel(mut self) {
        self.send.send_reset(Reason::CANCEL);
    }

    /// Waits for the response's head: HTTP status and headers.
    pub async fn head(&mut self) -> (u16, Headers) {
        self.try_head().await.unwrap_or_else(|err| panic!("no response head: {err}"))
    }

    async fn try_head(&mut self) -> Result<(u16, Headers), h2::Error> {
        if let Some(response) = self.response.take() {
            let response = tokio::time::timeout(PATIENCE, response).await.expect("a response head in time")?;
            let (parts, body) = response.into_parts();
            self.head = Some((parts.status.as_u16(), parts.headers));
            self.messages = Some(Messages { body, buffer: BytesMut::new(), ready: VecDeque::new() });
        }
        let (status, headers) = self.head.as_ref().expect("the head is there");
        Ok((*status, lines(headers)))
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.head().await;
        let messages = self.messages.as_mut().expect("the head is there");
        let next = tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message in time");
        next.unwrap_or_else(|err| panic!("no message: {err}"))
    }

    /// Reads the call to its end.
    pub async fn reply(mut self) -> GrpcReply {
        let mut reply =
            GrpcReply { http: 0, headers: Vec::new(), messages: Vec::new(), trailers: Vec::new(), reset: None };
        match self.try_head().await {
            Ok((status, headers)) => (reply.http, reply.headers) = (status, headers),
            Err(err) => {
                reply.reset = Some(err.to_string());
                return reply;
            }
        }
        let messages = self.messages.as_mut().expect("the head is there");
        let rest = async {
            while let Some(message) = messages.next().await? {
                reply.messages.push(message);
            }
            messages.body.trailers().await
        };
        match tokio::time::timeout(PATIENCE, rest).await.expect("the end of the call in time") {
            Ok(trailers) => reply.trailers = lines(&trailers.unwrap_or_default()),
            Err(err) => reply.reset = Some(err.to_string()),
        }
        reply
    }
}
