//! What an HTTP/2 connection that we made runs over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// One read of the socket: rustls alone would take 4 KiB a system call.
const READ_BUFFER: usize = 64 * 1024;

/// The socket below TLS.
pub(crate) type Socket = BufReader<TcpStream>;

/// Puts the read buffer around a socket.
pub(crate) fn socket(stream: TcpStream) -> Socket {
    BufReader::with_capacity(READ_BUFFER, stream)
}

/// A connection to a peer, protected or not.
pub(super) enum Stream {
    /// Mutual TLS.
    Tls(Box<TlsStream<Socket>>),
    /// Without mutual TLS in our configuration.
    Clear(Socket),
}

macro_rules! either {
    ($stream:expr, $poll:ident, $($argument:expr),+) => {
        match $stream.get_mut() {
            Self::Tls(stream) => Pin::new(stream.as_mut()).$poll($($argument),+),
            Self::Clear(stream) => Pin::new(stream).$poll($($argument),+),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, poll_write, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown, cx)
    }
}
