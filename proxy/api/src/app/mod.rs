//! The channel to our own app: HTTP/1.1, or HTTP/2 with prior knowledge.

mod on_invoke;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HOST, HeaderValue, TE};
use ::http::uri::{Authority, Scheme};
use ::http::{Request, Response, Uri};
use outrigger_blocks::app::{AppChannel, AppProtocol};
use outrigger_mesh::http::client::{self, Client, Version};
use outrigger_policy::access::CallProtocol;
use outrigger_wire::{Body, Cause, Failure, Limits};

use crate::metrics::{AppCall, Metrics};

/// Life of an idle connection to the app: below what app servers commonly allow, so that
/// it is we who close.
const IDLE: Duration = Duration::from_secs(4);

/// A channel to the app over pooled connections; connects when first used.
#[derive(Clone)]
pub struct Channel {
    client: Client,
    version: Version,
    authority: Authority,
    host: HeaderValue,
    protocol: AppProtocol,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
}

/// Why there can be no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the app's address {address:?} is no host and port; check --app-channel-address and --app-port")]
pub struct AddressError {
    /// The address as put together.
    address: String,
}

impl Channel {
    /// A channel to the app that speaks `protocol` on `host:port`.
    ///
    /// # Errors
    /// When `host` is no host name or address.
    pub fn new(
        host: &str,
        port: u16,
        protocol: AppProtocol,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AddressError> {
        let address = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let refused = || AddressError { address: address.clone() };
        let authority = Authority::try_from(address.as_str()).map_err(|_| refused())?;
        if authority.port_u16().is_none() || address.contains('@') {
            return Err(refused());
        }
        let version = match protocol {
            AppProtocol::Http => Version::Http1,
            AppProtocol::H2c | AppProtocol::Grpc => Version::Http2,
        };
        let header = HeaderValue::from_str(&address).map_err(|_| refused())?;
        let config = client::Config {
            address: address.as_str().into(),
            version,
            idle_timeout: IDLE,
            limits: Arc::clone(&limits),
        };
        Ok(Self { client: Client::new(config), version, authority, host: header, protocol, limits, metrics })
    }

    /// Addresses the request to the app, in the form that the version wants.
    fn address(&self, request: &mut Request<Body>) {
        match self.version {
            Version::Http1 => {
                let headers = request.headers_mut();
                headers.insert(HOST, self.host.clone());
                // Without a `Connection: TE` beside it the field says nothing in HTTP/1.1.
                headers.remove(TE);
                let own = request.uri().path_and_query().cloned();
                *request.uri_mut() = own.map_or_else(|| Uri::from_static("/"), Uri::from);
            }
            Version::Http2 => {
                let mut parts = std::mem::take(request.uri_mut()).into_parts();
                parts.scheme = Some(Scheme::HTTP);
                parts.authority = Some(self.authority.clone());
                parts.path_and_query.get_or_insert_with(|| ::http::uri::PathAndQuery::from_static("/"));
                // All three parts are there, which is all that can be asked of them.
                *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            }
        }
    }
}

impl Channel {
    async fn forward(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        self.address(&mut request);
        let (metered, request) = AppCall::begin(&self.metrics, request);
        let answer = self.client.send(request).await.map_err(|failure| match failure.cause() {
            Cause::Connect { reason, .. } => {
                let (address, protocol) = (&self.authority, self.protocol);
                let reason = format!(
                    "nothing takes connections at {address} ({reason}); start the app there, or say with --app-port \
                     (and --app-channel-address) where it listens; --app-protocol is {protocol}"
                );
                Failure::with_source(Cause::AppUnavailable { reason }, failure)
            }
            _ => failure,
        });
        metered.follow(answer)
    }
}

impl AppChannel for Channel {
    async fn send(&self, call: CallProtocol, request: Request<Body>) -> Result<Response<Body>, Failure> {
        match (self.protocol, call) {
            (AppProtocol::Grpc, CallProtocol::Http) => {
                let answer = self.forward(on_invoke::request(request, &self.limits).await?).await?;
                on_invoke::response(answer, &self.limits).await
            }
            _ => self.forward(request).await,
        }
    }
}
