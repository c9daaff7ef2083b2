//! A stock sidecar's end of the Dapr wire, written from its definition and from nothing of
//! ours: HTTP/2 by hand, messages byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use outrigger_certs::{Identity, IdentityStore, TrustDomains};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::ca::trust_domain;
use crate::pair::app;
use crate::wait::within;

const STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";
pub(crate) const UNARY: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/// A field of bytes or of a message.
pub(crate) fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = vec![number << 3 | 2];
    bytes.extend(varint(value.len() as u64));
    bytes.extend(value);
    bytes
}

/// A field of a number; 0 is left out.
pub(crate) fn number(field: u8, value: u64) -> Vec<u8> {
    if value == 0 {
        return Vec::new();
    }
    [vec![field << 3], varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// An entry of metadata, as field `number`.
pub(crate) fn entry(number: u8, name: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| field(1, value)).collect();
    field(number, [field(1, name), field(2, values)].concat())
}

/// A message of gRPC.
pub(crate) fn message(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&[0], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

/// The head of a call of `POST /echo?q=1`, as a stock sidecar writes it, without its field's number.
pub(crate) fn head(method: &str, metadata: &[u8], data: &[u8]) -> Vec<u8> {
    let data = if data.is_empty() { Vec::new() } else { field(2, field(2, data)) };
    let extension = field(4, [number(1, 3), field(2, "q=1")].concat());
    let call = field(3, [field(1, method), data, field(3, "text/plain"), extension].concat());
    [number(1, 1), metadata.to_vec(), call].concat()
}

/// A piece of a body as a message.
pub(crate) fn piece(data: &str, seq: u64) -> Vec<u8> {
    message(field(2, [field(1, data), number(2, seq)].concat()))
}

/// What a stock sidecar was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) head: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answered {
    pub(crate) fn status(&self) -> &str {
        self.trailers.get("grpc-status").or_else(|| self.head.get("grpc-status")).unwrap().to_str().unwrap()
    }

    pub(crate) fn said(&self) -> &str {
        self.head.get("grpc-message").unwrap().to_str().unwrap()
    }
}

/// Calls `b` at `address` as the sidecar of `web` would, with mutual TLS where it has an identity.
pub(crate) async fn call(
    identity: Option<&IdentityStore>,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    messages: &[Vec<u8>],
) -> Answered {
    let socket = TcpStream::connect(address).await.unwrap();
    let mut request = Request::builder().method("POST").uri(format!("http://{address}{path}"));
    for (name, value) in headers.iter().chain(&[("content-type", "application/grpc"), ("te", "trailers")]) {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    match identity {
        None => exchange(socket, request, messages).await,
        Some(store) => {
            let identity: Arc<Identity> = store.watch().borrow().clone().unwrap();
            let config = identity.client_config(&app("b").spiffe_id(&trust_domain()), &[b"h2"]).unwrap();
            let tls = TlsConnector::from(config).connect(outrigger_certs::server_name(), socket).await.unwrap();
            exchange(tls, request, messages).await
        }
    }
}

/// The same for `CallLocalStream`.
pub(crate) async fn stream(identity: Option<&IdentityStore>, address: SocketAddr, messages: &[Vec<u8>]) -> Answered {
    call(identity, address, STREAM, &[], messages).await
}

async fn exchange<S>(socket: S, request: Request<()>, messages: &[Vec<u8>]) -> Answered
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    let (response, mut stream) = client.ready().await.unwrap().send_request(request, false).unwrap();
    for message in messages {
        stream.send_data(Bytes::from(message.clone()), false).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let response = within("an answer", response).await.unwrap();
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = within("the answer's messages", body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend(data);
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    driver.abort();
    Answered { head: head.headers, bytes: bytes.into(), trailers }
}

/// Path, headers and bytes of each call that came.
type Seen = Arc<Mutex<Vec<(String, HeaderMap, Vec<u8>)>>>;

/// A stock sidecar that answers every call alike, and keeps what it was sent.
pub(crate) struct StockCallee {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
}

impl StockCallee {
    /// With the identity of `store` it has mutual TLS, and offers `h2` only. `answer` gives the
    /// messages and the status for a path.
    pub(crate) async fn start(
        store: Option<IdentityStore>,
        answer: impl Fn(&str) -> (Vec<Vec<u8>>, &'static str) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                match &store {
                    None => drop(tokio::spawn(serve(socket, Arc::clone(&kept), Arc::clone(&answer)))),
                    Some(store) => {
                        let identity: Arc<Identity> = store.watch().borrow().clone().unwrap();
                        let config = identity.server_config(&[b"h2"], &TrustDomains::Any).unwrap();
                        let Ok(tls) = TlsAcceptor::from(config).accept(socket).await else { continue };
                        drop(tokio::spawn(serve(tls, Arc::clone(&kept), Arc::clone(&answer))));
                    }
                }
            }
        });
        Self { address, seen }
    }
}

async fn serve<S, F>(socket: S, seen: Seen, answer: Arc<F>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    F: Fn(&str) -> (Vec<Vec<u8>>, &'static str),
{
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        // The connection must run on while the stream is read.
        let (head, mut body) = request.into_parts();
        let reading = async {
            let mut bytes = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend(data);
            }
            let (messages, status) = answer(head.uri.path());
            seen.lock().unwrap().push((head.uri.path().to_owned(), head.headers, bytes));
            let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            for message in messages {
                stream.send_data(message.into(), false).unwrap();
            }
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
            stream.send_trailers(trailers).unwrap();
        };
        let mut reading = std::pin::pin!(reading);
        std::future::poll_fn(|cx| {
            let done = reading.as_mut().poll(cx);
            let _running = connection.poll_closed(cx);
            done
        })
        .await;
    }
}
