//! The door to TCP and names.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_wire::{Cause, Failure};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Connects to `host:port`, trying each address of a name in turn, with no delay on
/// small writes.
///
/// # Errors
/// `Connect` with the last address's reason, or `Timeout` when `within` has passed in all.
pub(crate) async fn connect(address: &str, within: Duration) -> Result<TcpStream, Failure> {
    let failed = |reason: String| Failure::new(Cause::Connect { endpoint: address.to_owned(), reason });
    let attempt = async {
        if let Ok(address) = address.parse() {
            return dial(address).await.map_err(|error| failed(error.to_string()));
        }
        let mut last = "the name has no address".to_owned();
        for address in lookup_host(address).await.map_err(|error| failed(error.to_string()))? {
            match dial(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(failed(last))
    };
    match tokio::time::timeout(within, attempt).await {
        Ok(connected) => connected,
        Err(_) => Err(failed(format!("no answer within {within:?}"))),
    }
}

/// Every address of `host:port`.
///
/// # Errors
/// `Unresolved` with the name and the system's reason.
pub(crate) async fn addresses(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    match lookup_host(name).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Failure::new(Cause::Unresolved { target: format!("{name}: {error}") })),
    }
}

/// Connects to an address, with no delay on small writes.
///
/// # Errors
/// `Connect` with the reason, or that `within` has passed.
pub(crate) async fn connect_to(address: SocketAddr, within: Duration) -> Result<TcpStream, Failure> {
    let failed = |reason: String| Failure::new(Cause::Connect { endpoint: address.to_string(), reason });
    match tokio::time::timeout(within, dial(address)).await {
        Ok(connected) => connected.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {within:?}"))),
    }
}

async fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
