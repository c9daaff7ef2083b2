//! Every listening socket, made in one place and named.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::drain;

/// Connections that the kernel queues for one listener.
const BACKLOG: i32 = 1_024;

/// A bound, named TCP listener.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    local: SocketAddr,
    socket: TcpListener,
}

/// A listener that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot listen on {address}: {source}; choose another port, or stop what holds this one")]
pub struct BindError {
    /// Which listener.
    pub name: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

impl Listener {
    /// Binds and listens; port 0 takes a free port. Needs a tokio runtime.
    ///
    /// An IPv6 wildcard takes IPv4 connections too.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(name: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let bind = || -> io::Result<Self> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
            // A restarted sidecar must not wait for the old one's connections to age.
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(!address.ip().is_unspecified())?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from_std(socket.into())?;
            Ok(Self { name, local: socket.local_addr()?, socket })
        };
        bind().map_err(|source| BindError { name, address, source })
    }

    /// What it is for, as in logs and metrics.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens, with the port that a 0 became.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection. Cancel safe.
    ///
    /// When descriptors or memory run out the connection stays in the kernel's
    /// queue: this waits a little and tries again, instead of spinning.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = prepare(&stream) {
                        tracing::debug!(listener = self.name, %peer, %error, "connection ended before it began");
                        continue;
                    }
                    return (stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(listener = self.name, %error, "connection ended before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "cannot accept connections; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Small writes go at once; a client that vanished without a word is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Runs `connection` for each connection of `listener`, at most `limit` at once, until
/// the drain starts; then waits for those that run.
///
/// `full` is told whenever the limit is met: the next connection waits in the kernel's
/// queue. Dropping the future cuts every connection.
pub(crate) async fn serve_each<F>(
    listener: Listener,
    limit: u64,
    mut drain: drain::Watch,
    full: impl Fn(),
    mut connection: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let has_room = (open.len() as u64) < limit;
        tokio::select! {
            () = drain.draining() => break,
            Some(_) = open.join_next() => {}
            (socket, peer) = listener.accept(), if has_room => {
                open.spawn(connection(socket, peer));
                if open.len() as u64 == limit {
                    tracing::warn!(listener = listener.name, limit, "as many connections as allowed; the next will wait");
                    full();
                }
            }
        }
    }
    // Closed now, so that a client learns at once that it must go elsewhere.
    drop(listener);
    while open.join_next().await.is_some() {}
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_in_the_error() {
        let first = Listener::bind("api", "127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind("other", first.local_addr()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("other") && text.contains(&first.local_addr().to_string()), "{text}");
    }
}
