//! Calling a sidecar's own API from a command: one request, its whole answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use outrigger_mesh::http::client::{Client, Config, Version};
use outrigger_wire::{Body, Limits};

/// Largest answer that a command reads, in bytes.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of the API at `address`.
pub(crate) fn client(address: SocketAddr) -> Client {
    Client::new(Config {
        address: Arc::from(address.to_string()),
        version: Version::Http1,
        idle_timeout: Duration::from_secs(5),
        limits: Arc::new(Limits::default()),
    })
}

/// Sends one request and reads the answer, all within `timeout`.
///
/// # Errors
///
/// When the request cannot be written down, there is no answer in time, or it
/// is larger than 16 MiB.
pub(crate) async fn call(
    client: &Client,
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
) -> anyhow::Result<Answer> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address.to_string())
        .body(Body::from(body))?;
    request.headers_mut().extend(headers);
    let exchange = async {
        let (head, body) = client.send(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?
            .to_bytes();
        anyhow::Ok(Answer { status: head.status, body })
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .map_err(|_| anyhow::anyhow!("no answer from {address} within {timeout:?}"))?
}

/// Sends a GET and reads the answer, within two seconds.
///
/// # Errors
///
/// As [`call`].
pub(crate) async fn get(client: &Client, address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    call(client, address, Method::GET, path, HeaderMap::new(), Bytes::new(), Duration::from_secs(2)).await
}
