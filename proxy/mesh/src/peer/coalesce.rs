//! One flush per wakeup.
//!
//! `h2` flushes after every DATA frame of some size, and TLS below it then makes a
//! record and a system call of each. Here a write only gathers and a flush does
//! nothing; the connection's driver calls [`Flusher::poll_flush`] once, when it has
//! nothing left to do in this wakeup. Measured: a fifth to a quarter of the proxy's CPU
//! under load, and nothing at one request at a time.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered before a write goes through all the same: two TLS records.
const GATHERED: usize = 32 * 1024;

/// A stream whose writes are gathered until its [`Flusher`] sends them.
pub(crate) struct Coalesce<S>(Arc<Mutex<Inner<S>>>);

/// Sends what a [`Coalesce`] has gathered.
pub(crate) struct Flusher<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    gathered: BytesMut,
    unflushed: bool,
}

/// Splits a stream into what the codec uses and what the driver flushes.
pub(crate) fn coalesce<S>(stream: S) -> (Coalesce<S>, Flusher<S>) {
    let inner = Inner { stream, gathered: BytesMut::with_capacity(GATHERED / 4), unflushed: false };
    let inner = Arc::new(Mutex::new(inner));
    (Coalesce(Arc::clone(&inner)), Flusher(inner))
}

// Codec and driver are polled by one task, so the lock is never waited for; and the
// bytes gathered are whole at every moment, so a panic elsewhere does not spoil them.
fn lock<S>(inner: &Mutex<Inner<S>>) -> MutexGuard<'_, Inner<S>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Sends everything gathered. `Pending` when the socket is full: the task is woken when
    /// it is not.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gathered.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
            self.unflushed = true;
        }
        // A burst grows the buffer; an idle connection need not keep it.
        if self.gathered.capacity() > GATHERED {
            self.gathered = BytesMut::with_capacity(GATHERED / 4);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room: `Pending` only when the socket takes nothing and the buffer is full.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() < GATHERED {
            return Poll::Ready(Ok(()));
        }
        match self.poll_gathered(cx) {
            Poll::Pending if self.gathered.len() < GATHERED => Poll::Ready(Ok(())),
            sent => sent,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesce<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesce<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_room(cx))?;
        let taken = buf.len().min(GATHERED.saturating_sub(inner.gathered.len()));
        inner.gathered.extend_from_slice(buf.get(..taken).unwrap_or(buf));
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_room(cx))?;
        let mut taken = 0;
        for buf in bufs {
            let room = GATHERED.saturating_sub(inner.gathered.len());
            let part = buf.get(..buf.len().min(room)).unwrap_or(buf);
            inner.gathered.extend_from_slice(part);
            taken += part.len();
            if part.len() < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn writes_wait_for_the_driver_and_then_go_together() {
        let (near, mut far) = duplex(1 << 20);
        let (mut stream, flusher) = coalesce(near);
        stream.write_all(b"one ").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"two").await.unwrap();
        let mut read = [0; 16];
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(10), far.read(&mut read)).await;
        assert!(waiting.is_err(), "nothing may be sent before the driver's flush");
        poll_fn(|cx| flusher.poll_flush(cx)).await.unwrap();
        assert_eq!(far.read(&mut read).await.unwrap(), 7);
        assert_eq!(&read[..7], b"one two");
    }

    #[tokio::test]
    async fn a_reader_that_stops_holds_the_writer_at_the_bound() {
        let (near, mut far) = duplex(1_024);
        let (mut stream, flusher) = coalesce(near);
        let writer = tokio::spawn(async move {
            stream.write_all(&vec![7; 3 * GATHERED]).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        tokio::task::yield_now().await;
        assert!(lock(&flusher.0).gathered.len() <= GATHERED);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 3 * GATHERED);
        writer.await.unwrap();
    }
}
