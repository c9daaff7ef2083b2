//! The same invocation in each form that the HTTP API takes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::app::lines;
use crate::http1;

/// A form of invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1.0/invoke/<app>/method/<path>` over HTTP/1.1.
    Path,
    /// Any path with the header `dapr-app-id`, over HTTP/1.1.
    Header,
    /// `/v1.0/invoke/<app>/method/<path>` over HTTP/2 with prior knowledge.
    Http2,
}

/// What came back, whatever the form.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Each header line; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        http1::all(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Api {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Path, Self::Header, Self::Http2];

    /// Calls `path` (without its first slash) of the app `app` through the sidecar whose HTTP API is at `sidecar`.
    pub fn invoke(
        self,
        sidecar: SocketAddr,
        app: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        match self {
            Self::Path => plain(sidecar, method, &format!("/v1.0/invoke/{app}/method/{path}"), headers, body),
            Self::Header => {
                let mut headers = headers.to_vec();
                headers.push(("dapr-app-id", app));
                plain(sidecar, method, &format!("/{path}"), &headers, body)
            }
            Self::Http2 => http2(sidecar, method, &format!("/v1.0/invoke/{app}/method/{path}"), headers, body),
        }
    }
}

fn plain(sidecar: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let message = http1::request(sidecar, method, target, headers, body);
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    Reply {
        status: message.status(),
        headers: message.head.headers.into_iter().map(lower).collect(),
        body: message.body,
    }
}

fn http2(sidecar: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(sidecar).await.expect("a connection");
        let (sender, connection) = h2::client::handshake(stream).await.expect("an HTTP/2 handshake");
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("http://{sidecar}{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = sender.ready().await.expect("the connection takes a stream");
        let request = request.body(()).expect("a request");
        let (response, mut output) = sender.send_request(request, body.is_empty()).expect("a stream");
        if !body.is_empty() {
            output.send_data(Bytes::copy_from_slice(body), true).expect("the stream is open");
        }
        let (parts, mut input) = response.await.expect("a response").into_parts();
        let mut whole = Vec::new();
        while let Some(piece) = input.data().await {
            let piece = piece.expect("the body comes whole");
            input.flow_control().release_capacity(piece.len()).expect("the stream is open");
            whole.extend_from_slice(&piece);
        }
        driver.abort();
        Reply { status: parts.status.as_u16(), headers: lines(&parts.headers), body: whole }
    };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), exchange).await.expect("an answer within 20 s")
    })
}
