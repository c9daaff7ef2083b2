//! A closed-loop load generator: each connection sends its next request when the last one is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::histogram::Histogram;
use crate::http1;

/// Body size of request and response.
pub(crate) const BODY: usize = 1024;

/// Longest wait for answers after a window's end.
const STRAGGLERS: Duration = Duration::from_secs(20);

/// What is asked, and of whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) request: Arc<[u8]>,
}

impl Target {
    /// A POST of 1 KiB with an unsampled trace context.
    pub(crate) fn post(address: SocketAddr, path: &str) -> Self {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/octet-stream\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\ncontent-length: {BODY}\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + BODY, b'q');
        Self { address, request: request.into() }
    }

    /// A GET without a body.
    pub(crate) fn get(address: SocketAddr, path: &str) -> Self {
        Self { address, request: format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes().into() }
    }

    /// Sends the request once on a connection of its own; the status of the answer.
    pub(crate) async fn ask(&self, wait: Duration) -> io::Result<u16> {
        tokio::time::timeout(wait, async { Connection::open(self.address).await?.exchange(&self.request).await })
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// When a window ends.
#[derive(Debug, Clone)]
pub(crate) enum Until {
    At(Instant),
    Sent(Arc<AtomicU64>),
}

impl Until {
    pub(crate) fn after(window: Duration) -> Self {
        Self::At(Instant::now() + window)
    }

    /// Ends after so many requests.
    pub(crate) fn sent(requests: u64) -> Self {
        Self::Sent(Arc::new(AtomicU64::new(requests)))
    }

    fn ended(&self, now: Instant) -> bool {
        match self {
            Self::At(end) => now >= *end,
            Self::Sent(left) => {
                left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
            }
        }
    }
}

/// What a window brought.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Histogram,
    /// Answers other than 200, and broken connections.
    pub(crate) errors: u64,
}

impl Window {
    pub(crate) fn requests(&self) -> u64 {
        self.latencies.total()
    }
}

/// Connections that stay open from window to window.
#[derive(Debug)]
pub(crate) struct Session {
    target: Target,
    connections: Vec<Connection>,
}

impl Session {
    pub(crate) async fn open(target: &Target, connections: usize) -> anyhow::Result<Self> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(
                Connection::open(target.address).await.with_context(|| format!("connect to {}", target.address))?,
            );
        }
        Ok(Self { target: target.clone(), connections: open })
    }

    /// Loads until the end; every request sent has been answered when this returns.
    pub(crate) async fn run(&mut self, until: Until, limit: Duration) -> anyhow::Result<Window> {
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for connection in self.connections.drain(..) {
            workers.spawn(drive(connection, self.target.clone(), until.clone()));
        }
        let mut window = Window { elapsed: Duration::ZERO, latencies: Histogram::new(), errors: 0 };
        let all = async {
            while let Some(worker) = workers.join_next().await {
                let (connection, latencies, errors) = worker??;
                self.connections.push(connection);
                window.latencies.merge(&latencies);
                window.errors += errors;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(limit + STRAGGLERS, all).await {
            Ok(done) => done?,
            Err(_) => bail!("{} left requests unanswered for {STRAGGLERS:?}", self.target.address),
        }
        window.elapsed = begun.elapsed();
        Ok(window)
    }
}

async fn drive(mut connection: Connection, target: Target, until: Until) -> io::Result<(Connection, Histogram, u64)> {
    let mut latencies = Histogram::new();
    let mut errors = 0;
    let mut sent = Instant::now();
    while !until.ended(sent) {
        let answer = connection.exchange(&target.request).await;
        let now = Instant::now();
        match answer {
            Ok(200) => latencies.record(now - sent),
            Ok(_) => errors += 1,
            Err(_) => {
                errors += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                connection = Connection::open(target.address).await?;
            }
        }
        sent = now;
    }
    Ok((connection, latencies, errors))
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 * BODY) })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let message = http1::message(&self.buffer).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if message.is_some() {
                return http1::status(&self.buffer).ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
    }
}
