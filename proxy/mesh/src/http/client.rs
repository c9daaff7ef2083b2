//! Calling one address in clear, over pooled connections: the app beside us.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, Version as HttpVersion};
use http_body::Body as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_wire::{Body, Cause, Failure, Limits, OnEnd};
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::net;

/// Version to speak; the other side is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1, one request at a time on a connection.
    Http1,
    /// HTTP/2 with prior knowledge, in clear.
    Http2,
}

/// Whom to call and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port`; a name is resolved at each connection.
    pub address: Arc<str>,
    /// Version to speak.
    pub version: Version,
    /// Life of an idle connection. Shorter than the app's own, or calls race with its close.
    pub idle_timeout: Duration,
    /// The bounds of the data path.
    pub limits: Arc<Limits>,
}

/// A client of one address. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Client(Arc<Pool>);

struct Pool {
    config: Config,
    slots: Arc<Semaphore>,
    idle: Mutex<VecDeque<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Body>>>,
    connecting: tokio::sync::Mutex<()>,
    drivers: Mutex<JoinSet<()>>,
    /// Whether a task watches over the idle connections.
    reaping: AtomicBool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: http1::SendRequest<Body>,
    /// The same socket, for [`Keep::waiting`].
    socket: Socket,
}

impl Client {
    /// A client; connects when first used.
    pub fn new(config: Config) -> Self {
        let slots = Arc::new(Semaphore::new(Limits::size(config.limits.app_connections)));
        Self(Arc::new(Pool {
            config,
            slots,
            idle: Mutex::default(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            drivers: Mutex::default(),
            reaping: AtomicBool::new(false),
        }))
    }

    /// Sends a request and gives the response with its body still to come.
    ///
    /// The request's path and headers are used as they are; `Host` is the sender's to
    /// set. Dropping the future or the body cuts the call, and with HTTP/1.1 its connection.
    ///
    /// # Errors
    /// `Connect` when no connection can be had; `Timeout`; `Reset`, `Refused` or
    /// `Protocol` when it breaks.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        match self.0.config.version {
            Version::Http1 => {
                *request.version_mut() = HttpVersion::HTTP_11;
                self.send_http1(request).await
            }
            Version::Http2 => {
                *request.version_mut() = HttpVersion::HTTP_2;
                self.send_http2(request).await
            }
        }
    }

    async fn send_http1(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        // Held by the call, not by the connection: an idle one must not keep a caller waiting.
        let slot = Arc::clone(&self.0.slots).acquire_owned().await.map_err(|_| Failure::new(Cause::Draining))?;
        says_that_it_has_a_body(&mut request);
        loop {
            let (mut connection, reused) = match self.0.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect_http1().await?, false),
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.keep_after(response, connection, slot)),
                Err(mut error) => match error.take_message() {
                    // Closed between two requests: nothing was written, so this
                    // cannot have been seen. A fresh connection settles it.
                    Some(unsent) if reused => request = unsent,
                    Some(_) => return Err(closed_at_once()),
                    None => return Err(Failure::from_hyper(error.into_error())),
                },
            }
        }
    }

    /// The response, with its connection going back to the pool at its end.
    fn keep_after(
        &self,
        response: Response<hyper::body::Incoming>,
        connection: Connection,
        slot: OwnedSemaphorePermit,
    ) -> Response<Body> {
        response.map(|incoming| {
            let keep = Keep { pool: Arc::clone(&self.0), connection, slot, acknowledged: false };
            Body::from(incoming).with_on_end(Box::new(keep))
        })
    }

    async fn connect_http1(&self) -> Result<Connection, Failure> {
        let stream = self.0.connect().await?;
        let socket = SockRef::from(&stream).try_clone().map_err(|error| {
            Failure::new(Cause::Connect { endpoint: self.0.config.address.to_string(), reason: error.to_string() })
        })?;
        let (sender, driver) = http1::Builder::new()
            .max_headers(Limits::size(self.0.config.limits.http1_headers))
            .max_buf_size(Limits::size(self.0.config.limits.http1_header_bytes))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::from_hyper)?;
        self.0.own(async move {
            if let Err(error) = driver.await {
                tracing::debug!(error = %Failure::from_hyper(error), "connection to the app ended");
            }
        });
        Ok(Connection { sender, socket })
    }

    async fn send_http2(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        loop {
            let (mut sender, fresh) = self.shared().await?;
            if let Err(error) = sender.ready().await {
                self.0.forget_shared();
                if fresh {
                    return Err(Failure::from_hyper(error));
                }
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(Body::from)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => {
                        self.0.forget_shared();
                        request = unsent;
                    }
                    Some(_) => return Err(closed_at_once()),
                    None => return Err(Failure::from_hyper(error.into_error())),
                },
            }
        }
    }

    /// The one HTTP/2 connection, made when there is none; whether it was made now.
    async fn shared(&self) -> Result<(http2::SendRequest<Body>, bool), Failure> {
        if let Some(sender) = self.0.live_shared() {
            return Ok((sender, false));
        }
        let _one_connects = self.0.connecting.lock().await;
        if let Some(sender) = self.0.live_shared() {
            return Ok((sender, false));
        }
        let socket = self.0.connect().await?;
        let limits = &self.0.config.limits;
        let (sender, driver) = http2::Builder::new(Tasks)
            .timer(TokioTimer::new())
            .initial_stream_window_size(Limits::word(limits.http2_stream_window))
            .initial_connection_window_size(limits.shared_window(limits.http2_streams))
            .max_send_buf_size(Limits::size(limits.http2_send_buffer))
            .max_header_list_size(Limits::word(limits.http2_header_list_bytes))
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Limits::millis(limits.ping_timeout_ms))
            .handshake(TokioIo::new(socket))
            .await
            .map_err(Failure::from_hyper)?;
        self.0.own(async move {
            if let Err(error) = driver.await {
                tracing::debug!(error = %Failure::from_hyper(error), "connection to the app ended");
            }
        });
        *lock(&self.0.shared) = Some(sender.clone());
        Ok((sender, true))
    }
}

impl Pool {
    async fn connect(&self) -> Result<TcpStream, Failure> {
        net::connect(&self.config.address, Limits::millis(self.config.limits.connect_timeout_ms)).await
    }

    /// Ends idle connections when their time has come, for as long as there are any.
    fn reap(self: &Arc<Self>) {
        if self.reaping.swap(true, Ordering::Relaxed) {
            return;
        }
        // Weak: the task must not keep the pool, nor with it itself.
        let (pool, every) = (Arc::downgrade(self), self.config.idle_timeout);
        self.own(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(pool) = pool.upgrade() else { return };
                let mut idle = lock(&pool.idle);
                idle.retain(|idle| idle.since.elapsed() < every && !idle.connection.sender.is_closed());
                if idle.is_empty() {
                    pool.reaping.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
    }

    /// The connection that was used last, if it still stands and has nothing in flight.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        while idle.front().is_some_and(|oldest| oldest.since.elapsed() > self.config.idle_timeout) {
            idle.pop_front();
        }
        while let Some(Idle { connection, .. }) = idle.pop_back() {
            if connection.sender.is_ready() {
                return Some(connection);
            }
            // Closed, or its request body is still being sent: dropping it ends it.
        }
        None
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() as u64 >= self.config.limits.app_idle_connections {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: Instant::now() });
        drop(idle);
        self.reap();
    }

    fn live_shared(&self) -> Option<http2::SendRequest<Body>> {
        lock(&self.shared).as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    fn forget_shared(&self) {
        lock(&self.shared).take_if(|sender| sender.is_closed());
    }

    fn own(&self, driver: impl Future<Output = ()> + Send + 'static) {
        let mut drivers = lock(&self.drivers);
        while drivers.try_join_next().is_some() {}
        drivers.spawn(driver);
    }
}

/// Hyper takes a GET or HEAD of unknown length for one without a body, and drops it.
fn says_that_it_has_a_body(request: &mut Request<Body>) {
    if !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none()
        && !request.headers().contains_key(CONTENT_LENGTH)
    {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Nothing of the request was written.
fn closed_at_once() -> Failure {
    Failure::new(Cause::Refused { reason: "the connection was closed as soon as it was made".to_owned() })
}

/// A poisoned pool holds connections only; each is checked before use.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a connection back at the end of a response that ended well.
struct Keep {
    pool: Arc<Pool>,
    connection: Connection,
    slot: OwnedSemaphorePermit,
    acknowledged: bool,
}

impl OnEnd for Keep {
    fn data(&mut self, _length: usize) {}

    /// An app that writes head and body apart, without `TCP_NODELAY`, holds the body
    /// until the head is acknowledged, and the kernel would take 40 ms over that (many
    /// servers made for development do so). Costs nothing when the body came with its head.
    fn waiting(&mut self) {
        if !self.acknowledged {
            self.acknowledged = true;
            // Only a hint: without it the body comes later.
            let _refused = self.connection.socket.set_tcp_quickack(true);
        }
    }

    fn end(self: Box<Self>, result: Result<(), &Failure>) {
        let Self { pool, connection, slot, .. } = *self;
        if result.is_ok() {
            pool.keep(connection);
        }
        // Only now, so that who waited finds it.
        drop(slot);
    }
}

/// Runs the tasks that hyper needs for HTTP/2 request bodies; each ends with its stream.
#[derive(Clone, Copy)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}
