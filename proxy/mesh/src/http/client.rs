//! Calling one address in clear, over pooled connections: the app beside us.

mod exchange;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response, Version as HttpVersion};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::exchange::{Broken, Upload, exchange};
use super::http1::{Reader, Role, Writer};
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
    reader: Reader,
    writer: Writer,
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
            Version::Http1 => self.send_http1(request).await,
            Version::Http2 => {
                *request.version_mut() = HttpVersion::HTTP_2;
                self.send_http2(request).await
            }
        }
    }

    async fn send_http1(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        // Held by the call, not by the connection: an idle one must not keep a caller waiting.
        let slot = Arc::clone(&self.0.slots).acquire_owned().await.map_err(|_| Failure::new(Cause::Draining))?;
        let (head, body) = request.into_parts();
        let mut upload = Upload::new(body);
        loop {
            let (connection, reused) = match self.0.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect_http1().await?, false),
            };
            match exchange(connection, &head, &mut upload).await {
                Ok(answered) => return Ok(answered.response(&self.0, slot, upload)),
                // Closed between two requests: nothing was written, so this
                // cannot have been seen. A fresh connection settles it.
                Err(Broken::Unsent) if reused && upload.rewind() => {}
                Err(Broken::Unsent) => return Err(closed_at_once()),
                Err(Broken::Failed(failure)) => return Err(failure),
            }
        }
    }

    async fn connect_http1(&self) -> Result<Connection, Failure> {
        let (read, write) = self.0.connect().await?.into_split();
        let limits = Arc::clone(&self.0.config.limits);
        let reader = Reader::new(read, BytesMut::new(), Role::Client, limits);
        Ok(Connection { reader, writer: Writer::new(write) })
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
                idle.retain_mut(|idle| idle.since.elapsed() < every && idle.connection.reader.is_quiet());
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
        while let Some(Idle { mut connection, .. }) = idle.pop_back() {
            if connection.reader.is_quiet() {
                return Some(connection);
            }
            // Closed, or the app said what nothing had asked for: dropping it ends it.
        }
        None
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        if connection.reader.has_bytes() {
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

/// Nothing of the request was written.
fn closed_at_once() -> Failure {
    Failure::new(Cause::Refused { reason: "the connection was closed as soon as it was made".to_owned() })
}

/// A poisoned pool holds connections only; each is checked before use.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the tasks that hyper needs for HTTP/2 request bodies; each ends with its stream.
#[derive(Clone, Copy)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}
