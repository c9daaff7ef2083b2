//! The native wire: plain HTTP/2 streams over mutual TLS, nothing wrapped.
//!
//! The app's own request is the stream: method, path, headers, body, trailers.
//! `:authority` is `<app>.<namespace>` of the app asked for. A failure of the callee's
//! sidecar is a response with `outrigger-failure`; whatever else begins with
//! `outrigger-` is stripped on the way in. The wire is offered by ALPN as `outrigger/1`.

mod client;
mod pool;
mod pump;
mod server;

pub(crate) use pool::{Dialer, Occupied, Pool};
pub(crate) use server::{Handler, serve};

use tokio::io::BufReader;
use tokio::net::TcpStream;

/// The wire's name in ALPN.
pub(crate) const ALPN: &[u8] = b"outrigger/1";

/// One read of the socket: rustls alone would take 4 KiB a system call.
const READ_BUFFER: usize = 64 * 1024;

/// The socket below TLS.
pub(crate) type Socket = BufReader<TcpStream>;

/// Puts the read buffer around a socket.
pub(crate) fn socket(stream: TcpStream) -> Socket {
    BufReader::with_capacity(READ_BUFFER, stream)
}
