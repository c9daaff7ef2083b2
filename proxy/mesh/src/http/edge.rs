//! The socket of a client of ours: which version it speaks, and HTTP/2 under the clock.
//!
//! Hyper reads HTTP/2; what it cannot tell is a client without a stream that has waited long
//! enough, and a reader that stopped reading. This wrapper sees both.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// The client preface of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// For a header section, from its first byte.
    pub(super) header: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// For reading anything of what we write.
    pub(super) stall: Duration,
}

/// How many requests are open on the connection, as the service knows it.
#[derive(Debug, Clone)]
pub(super) struct Open(Arc<Requests>);

#[derive(Debug)]
struct Requests {
    open: AtomicUsize,
    /// When the last one ended; before the first, when the connection began.
    ended: Mutex<Instant>,
}

impl Default for Open {
    fn default() -> Self {
        Self(Arc::new(Requests { open: AtomicUsize::new(0), ended: Mutex::new(Instant::now()) }))
    }
}

impl Open {
    /// Counts one request more until the guard is dropped.
    pub(super) fn enter(&self) -> OpenRequest {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        OpenRequest(Self(Arc::clone(&self.0)))
    }

    fn any(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    fn idle_since(&self) -> Instant {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open request: from its head until its response body is gone.
#[derive(Debug)]
pub(super) struct OpenRequest(Open);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        *self.0.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's socket, with what was read of it already.
pub(super) struct Edge {
    socket: TcpStream,
    read_ahead: BytesMut,
    clock: Clock,
    open: Open,
    read_timer: Timer,
    write_timer: Timer,
}

/// Version spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Edge {
    /// Reads until HTTP/1 and HTTP/2 can be told apart: on the first byte that is
    /// not the preface's, which for HTTP/1 is nearly always the first.
    ///
    /// # Errors
    /// When the client ends, or stays silent for as long as an idle one may.
    pub(super) async fn detect(mut socket: TcpStream, clock: Clock, open: Open) -> io::Result<(Self, Version)> {
        let mut read_ahead = BytesMut::with_capacity(8_192);
        let mut wait = clock.idle;
        let version = loop {
            let read = tokio::time::timeout(wait, socket.read_buf(&mut read_ahead)).await??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let seen = read_ahead.len().min(PREFACE.len());
            if read_ahead.get(..seen) != PREFACE.get(..seen) {
                break Version::Http1;
            }
            if seen == PREFACE.len() {
                break Version::Http2;
            }
            wait = clock.header;
        };
        let edge =
            Self { socket, read_ahead, clock, open, read_timer: Timer::default(), write_timer: Timer::default() };
        Ok((edge, version))
    }

    /// The socket, and what was read of it.
    pub(super) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.socket, self.read_ahead)
    }

    fn poll_read_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = Instant::now();
            let open = self.open.any();
            // While a request is open the timer only looks again: nothing else would, for
            // hyper does not read once more when the request has ended.
            let deadline = if open { now } else { self.open.idle_since() } + self.clock.idle;
            let timed_out = ready!(self.read_timer.poll_at(deadline, cx));
            if now >= deadline {
                return Poll::Ready(timed_out);
            }
            self.read_timer.armed = false;
        }
    }
}

/// A timer that is made when first needed and moved after that.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Timer {
    /// `Ready` with an error at `deadline`.
    fn poll_at(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.armed || sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.armed = true;
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Edge {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read_ahead.has_remaining() {
            let length = this.read_ahead.len().min(buf.remaining());
            buf.put_slice(&this.read_ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.socket).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.read_timer.armed = false;
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_read_timeout(cx),
        }
    }
}

impl AsyncWrite for Edge {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Edge {
    fn written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_timer.armed = false;
            return written;
        }
        let deadline = match &self.write_timer.sleep {
            Some(sleep) if self.write_timer.armed => sleep.deadline(),
            _ => Instant::now() + self.clock.stall,
        };
        self.write_timer.poll_at(deadline, cx).map(|ended| ended.map(|()| 0))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const CLOCK: Clock =
        Clock { header: Duration::from_secs(10), idle: Duration::from_secs(180), stall: Duration::from_secs(300) };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_preface_that_comes_byte_by_byte_is_still_http2() {
        let (mut client, server) = pair().await;
        let detect = tokio::spawn(Edge::detect(server, CLOCK, Open::default()));
        for byte in PREFACE {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (mut edge, version) = detect.await.unwrap().unwrap();
        assert_eq!(version, Version::Http2);
        let mut read = [0; PREFACE.len()];
        edge.read_exact(&mut read).await.unwrap();
        assert_eq!(read, PREFACE);
    }

    #[tokio::test]
    async fn a_post_is_told_from_the_preface_at_its_second_byte() {
        let (mut client, server) = pair().await;
        client.write_all(b"PO").await.unwrap();
        let (_edge, version) = Edge::detect(server, CLOCK, Open::default()).await.unwrap();
        assert_eq!(version, Version::Http1);
    }
}
