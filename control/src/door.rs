//! The doors of the embedded control process: who may come in, how many, for how long.
//!
//! Two kinds, one loop: the Unix socket, where the kernel says which user is at the
//! other end, and a loopback TCP port with TLS, where a caller must know the join token.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::server_certificate::ServerCertificate;

/// Bounds of one door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoorLimits {
    /// Connections open at once; more wait in the kernel's queue.
    pub(crate) connections: usize,
    /// Requests in flight on one connection.
    pub(crate) streams: u32,
    /// Longest wait for the end of the TLS handshake.
    pub(crate) handshake: Duration,
    /// Longest wait for the head of a response, the request's message included.
    pub(crate) response_head: Duration,
    /// Longest life of a connection; `None` has no end.
    pub(crate) lifetime: Option<Duration>,
    /// Longest wait for open calls once the door drains.
    pub(crate) drain: Duration,
}

impl DoorLimits {
    /// Our own sidecars: they keep one connection each.
    pub(crate) const UNIX: Self = Self {
        connections: 1024,
        // A sidecar watches 1,024 apps at most, and announces itself beside.
        streams: 2048,
        handshake: Duration::from_secs(5),
        response_head: Duration::from_secs(10),
        lifetime: None,
        drain: Duration::from_secs(5),
    };

    /// Whoever reaches loopback: one short call and away.
    pub(crate) const TLS: Self =
        Self { connections: 64, streams: 8, lifetime: Some(Duration::from_secs(30)), ..Self::UNIX };
}

/// Where connections come from.
pub(crate) enum Entrance {
    /// The Unix socket; a peer of another user is turned away.
    Unix(UnixListener),
    /// Loopback TCP, TLS 1.3.
    Tls(TcpListener, Arc<ServerCertificate>),
}

/// What answers a request, whatever it is.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    /// Answers one gRPC request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<tonic::body::Body>> + Send;
}

/// Serves until `draining` is true, then lets open calls end and returns.
pub(crate) async fn serve(
    entrance: Entrance,
    answer: impl Answer,
    limits: DoorLimits,
    mut draining: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = draining.wait_for(|draining| *draining) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&entrance, &room) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = connection(stream, answer.clone(), limits, draining.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors, most likely: trying at once would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(entrance);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, ended).await.is_err() {
        tracing::info!("calls were still open at the end of the drain time");
    }
}

enum Accepted {
    Unix(UnixStream),
    Tls(tokio::net::TcpStream, Arc<ServerCertificate>),
}

async fn accept(
    entrance: &Entrance,
    room: &Arc<Semaphore>,
) -> io::Result<(Accepted, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let accepted = match entrance {
        Entrance::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
        Entrance::Tls(listener, certificate) => Accepted::Tls(listener.accept().await?.0, Arc::clone(certificate)),
    };
    Ok((accepted, place))
}

async fn connection(accepted: Accepted, answer: impl Answer, limits: DoorLimits, draining: watch::Receiver<bool>) {
    match accepted {
        Accepted::Unix(stream) => match same_user(&stream) {
            Ok(()) => speak(stream, answer, limits, draining).await,
            Err(error) => tracing::warn!(%error, "turned away a connection on the Unix socket"),
        },
        Accepted::Tls(stream, certificate) => {
            let handshake = async {
                let config = certificate.current().map_err(io::Error::other)?;
                TlsAcceptor::from(config).accept(stream).await
            };
            match tokio::time::timeout(limits.handshake, handshake).await {
                Ok(Ok(stream)) => speak(stream, answer, limits, draining).await,
                Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
                Err(_) => tracing::info!(after = ?limits.handshake, "TLS handshake timed out"),
            }
        }
    }
}

fn same_user(stream: &UnixStream) -> io::Result<()> {
    admit(stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw())
}

/// Only our own user's processes may call; root is no exception.
fn admit(peer: u32, ours: u32) -> io::Result<()> {
    if peer == ours {
        return Ok(());
    }
    let reason = format!("the peer is user {peer}, and only user {ours} may call");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

async fn speak<S>(stream: S, answer: impl Answer, limits: DoorLimits, mut draining: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let head = tokio::time::timeout(limits.response_head, answer.answer(request)).await;
            Ok::<_, Infallible>(head.unwrap_or_else(|_| {
                tonic::Status::deadline_exceeded("the request took too long to arrive").into_http()
            }))
        }
    });
    let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        // A peer that is stopped or gone is noticed, and its entry in the registry with it.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let mut serving = std::pin::pin!(http2.serve_connection(TokioIo::new(stream), service));
    let end = async {
        tokio::select! {
            _ = draining.wait_for(|draining| *draining) => {}
            () = lifetime(limits.lifetime) => {}
        }
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = end => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn lifetime(longest: Option<Duration>) {
    match longest {
        Some(longest) => tokio::time::sleep(longest).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn only_processes_of_our_own_user_are_let_in() {
        assert!(admit(1000, 1000).is_ok());
        assert!(admit(1001, 1000).is_err());
        assert!(admit(0, 1000).unwrap_err().to_string().contains("user 0"));
    }

    #[tokio::test]
    async fn the_kernel_says_who_is_at_the_other_end() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        assert!(same_user(&theirs).is_ok());
    }

    #[derive(Clone)]
    struct Silent;

    impl Answer for Silent {
        async fn answer(&self, _: Request<Incoming>) -> Response<tonic::body::Body> {
            std::future::pending().await
        }
    }

    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// Says hello in HTTP/2 and waits for the first byte of the answer.
    async fn greeted(stream: &mut UnixStream) {
        stream.write_all(HELLO).await.unwrap();
        stream.read_u8().await.unwrap();
    }

    async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        let _ = end.await.unwrap();
    }

    #[tokio::test]
    async fn past_the_bound_a_connection_waits_until_another_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let limits = DoorLimits { connections: 2, ..DoorLimits::UNIX };
        let (_drain, draining) = watch::channel(false);
        let door = tokio::spawn(serve(Entrance::Unix(listener), Silent, limits, draining));
        let connect = async || UnixStream::connect(&path).await.unwrap();
        let (mut first, mut second, mut third) = (connect().await, connect().await, connect().await);
        greeted(&mut first).await;
        greeted(&mut second).await;
        let waiting = tokio::time::timeout(Duration::from_millis(100), greeted(&mut third));
        assert!(waiting.await.is_err());
        drop(first);
        third.read_u8().await.unwrap();
        door.abort();
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_lifetime_and_with_the_drain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (lifetime, drain) = (Some(Duration::from_millis(50)), Duration::from_millis(50));
        let limits = DoorLimits { lifetime, drain, ..DoorLimits::UNIX };
        let (drain, draining) = watch::channel(false);
        let door = tokio::spawn(serve(Entrance::Unix(listener), Silent, limits, draining));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        greeted(&mut stream).await;
        closed(&mut stream).await;
        drain.send_replace(true);
        door.await.unwrap();
        assert!(UnixStream::connect(&path).await.is_err());
    }

    #[tokio::test]
    async fn who_is_silent_in_the_handshake_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = outrigger_certs::system_clock();
        let domain = outrigger_identity::TrustDomain::parse("localhost").unwrap();
        let config = outrigger_certs::ca::signer::SignerConfig::new(domain, "default");
        let now = outrigger_certs::unix_now(&clock);
        let signer = outrigger_certs::ca::signer::Signer::create(config, now).unwrap();
        let (_, signer) = watch::channel(Arc::new(signer));
        let certificate = Arc::new(ServerCertificate::new(signer, clock));
        let limits = DoorLimits { handshake: Duration::from_millis(50), ..DoorLimits::TLS };
        let (_drain, draining) = watch::channel(false);
        let door = tokio::spawn(serve(Entrance::Tls(listener, certificate), Silent, limits, draining));
        closed(&mut tokio::net::TcpStream::connect(address).await.unwrap()).await;
        door.abort();
    }
}
