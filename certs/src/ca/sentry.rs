//! Client of `dapr.proto.sentry.v1`: a control plane's authority over TCP and TLS, or the
//! embedded one over its Unix socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use outrigger_identity::SpiffeId;
use outrigger_proto::sentry::ca_client::CaClient;
use outrigger_proto::sentry::sign_certificate_request::TokenValidator;
use outrigger_proto::sentry::{SignCertificateRequest, SignCertificateResponse};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::ca::{CaError, CertificateAuthority, Issued};
use crate::clock::Clock;
use crate::csr::CertificateRequest;
use crate::peer::handshake_reason;
use crate::roots::RootsSource;
use crate::svid::chain_from_pem;
use crate::tls::{client_config_without_certificate, server_name};

/// Largest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// Where an authority listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentryAddress {
    /// `host:port`; TLS.
    Tcp(String),
    /// A Unix socket; plain, since the peer's user is checked.
    Unix(PathBuf),
}

impl SentryAddress {
    /// Reads `host:port`, `dns:///host:port` or `unix:///path`.
    ///
    /// # Errors
    /// No port, or no absolute path.
    pub fn parse(text: &str) -> Result<Self, SentryAddressError> {
        let refused = || SentryAddressError { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(refused()),
            };
        }
        let host_port = text.strip_prefix("dns:///").unwrap_or(text);
        let (host, port) = host_port.rsplit_once(':').ok_or_else(refused)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty() && !host.contains(['/', ':', '@', ' ', '[', ']']);
        if !(bracketed || plain) || port.parse::<u16>().is_err() {
            return Err(refused());
        }
        Ok(Self::Tcp(host_port.to_owned()))
    }
}

impl fmt::Display for SentryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host_port) => f.write_str(host_port),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A text that is no address of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a certificate authority; write host:port or unix:///path")]
pub struct SentryAddressError {
    text: String,
}

/// What proves to the authority who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Nothing; the authority's own default decides.
    None,
    /// A JSON web token read anew from a file for every request (`DAPR_SENTRY_TOKEN_FILE`
    /// outside Kubernetes).
    Jwks(PathBuf),
    /// A service account token, likewise (inside Kubernetes).
    Kubernetes(PathBuf),
}

impl Token {
    /// Where Kubernetes projects the token for the authority.
    pub const KUBERNETES_PATH: &'static str = "/var/run/secrets/dapr.io/sentrytoken/token";
}

/// How to reach an authority.
#[derive(Debug, Clone)]
pub struct SentryConfig {
    /// Where it listens.
    pub address: SentryAddress,
    /// Whom it must prove to be over TCP:
    /// `spiffe://<control plane's domain>/ns/<its namespace>/dapr-sentry`.
    pub identity: SpiffeId,
    /// What its certificate must lead to over TCP; read anew for every request.
    pub roots: RootsSource,
    /// What proves who asks.
    pub token: Token,
    /// Longest wait for one answer, connecting included; default 3 s, as stock.
    pub timeout: Duration,
    /// Where validity is read from.
    pub clock: Clock,
}

impl SentryConfig {
    /// The default of `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
}

/// Asks an authority for certificates, over a new connection for each.
#[derive(Debug)]
pub struct SentryClient {
    config: SentryConfig,
}

impl SentryClient {
    /// A client; nothing is dialled yet.
    pub fn new(config: SentryConfig) -> Self {
        Self { config }
    }

    async fn ask(&self, request: &CertificateRequest) -> Result<Issued, CaError> {
        let (token, validator) = read_token(&self.config.token).await?;
        let message = SignCertificateRequest {
            id: request.app.app_id().to_owned(),
            namespace: request.app.namespace().to_owned(),
            trust_domain: request.trust_domain.as_ref().map(ToString::to_string).unwrap_or_default(),
            certificate_signing_request: request.pem.clone().into_bytes(),
            token,
            token_validator: validator.into(),
            jwt_audiences: Vec::new(),
        };
        let channel = match &self.config.address {
            SentryAddress::Tcp(host_port) => self.connect_tls(host_port).await?,
            SentryAddress::Unix(path) => self.connect_unix(path).await?,
        };
        let mut client = CaClient::new(channel)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.sign_certificate(message).await;
        issued(answer.map_err(|status| self.refused(&status))?.into_inner())
    }

    async fn connect_tls(&self, host_port: &str) -> Result<Channel, CaError> {
        let roots = self.config.roots.load().await?;
        let expected = &self.config.identity;
        let tls = client_config_without_certificate(&roots, expected, &[b"h2"], &self.config.clock)
            .map_err(|e| self.not_accepted(e.to_string()))?;
        let tcp = TcpStream::connect(host_port).await.map_err(|e| self.unreachable(&e))?;
        tcp.set_nodelay(true).map_err(|e| self.unreachable(&e))?;
        let stream = TlsConnector::from(tls)
            .connect(server_name(), tcp)
            .await
            .map_err(|e| self.not_accepted(handshake_reason(&e)))?;
        self.channel(stream).await
    }

    async fn connect_unix(&self, path: &Path) -> Result<Channel, CaError> {
        let stream = UnixStream::connect(path).await.map_err(|e| self.unreachable(&e))?;
        let peer = stream.peer_cred().map_err(|e| self.unreachable(&e))?;
        // Somebody else's socket at our path would hand out certificates of their choice.
        if peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.not_accepted(format!("the socket belongs to user {}", peer.uid())));
        }
        self.channel(stream).await
    }

    // Hands tonic the one connection made here, so that our own errors are kept.
    async fn channel<S>(&self, stream: S) -> Result<Channel, CaError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().ok().and_then(|mut once| once.take());
            async move { stream.ok_or_else(|| std::io::Error::other("the connection has ended")) }
        });
        Endpoint::from_static("http://dapr-sentry")
            .connect_with_connector(connector)
            .await
            .map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> CaError {
        CaError::Connect { address: self.config.address.to_string(), reason: with_causes(error) }
    }

    fn not_accepted(&self, reason: String) -> CaError {
        CaError::Identity { address: self.config.address.to_string(), reason }
    }

    fn refused(&self, status: &tonic::Status) -> CaError {
        CaError::Refused {
            address: self.config.address.to_string(),
            code: format!("{:?}", status.code()),
            message: status.message().chars().take(512).collect(),
        }
    }
}

#[async_trait]
impl CertificateAuthority for SentryClient {
    async fn issue(&self, request: &CertificateRequest) -> Result<Issued, CaError> {
        let after = self.config.timeout;
        timeout(after, self.ask(request))
            .await
            .unwrap_or_else(|_| Err(CaError::Timeout { address: self.config.address.to_string(), after }))
    }
}

// tonic's own text is only "transport error"; the cause is what an operator needs.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

// The trust chain in the answer is informational: we trust our configured anchors only.
fn issued(answer: SignCertificateResponse) -> Result<Issued, CaError> {
    let chain =
        chain_from_pem(&answer.workload_certificate).map_err(|e| CaError::Answer { reason: e.to_string().into() })?;
    Ok(Issued { chain })
}

async fn read_token(token: &Token) -> Result<(String, TokenValidator), CaError> {
    let (path, validator) = match token {
        Token::None => return Ok((String::new(), TokenValidator::Unknown)),
        Token::Jwks(path) => (path, TokenValidator::Jwks),
        Token::Kubernetes(path) => (path, TokenValidator::Kubernetes),
    };
    let refused = |reason: String| CaError::Token { path: path.clone(), reason };
    let file = tokio::fs::File::open(path).await.map_err(|e| refused(e.to_string()))?;
    let mut text = String::new();
    let read = file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).await;
    read.map_err(|e| refused(e.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    Ok((text.to_owned(), validator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_socket() {
        for text in ["localhost:50001", "[::1]:443", "dapr-sentry.dapr-system.svc:443"] {
            assert_eq!(SentryAddress::parse(text).unwrap(), SentryAddress::Tcp(text.to_owned()));
        }
        assert_eq!(SentryAddress::parse("dns:///sentry:443").unwrap(), SentryAddress::Tcp("sentry:443".to_owned()));
        for text in ["unix:///run/ca.sock", "unix:/run/ca.sock"] {
            let socket = SentryAddress::parse(text).unwrap();
            assert_eq!(socket, SentryAddress::Unix("/run/ca.sock".into()));
        }
        for bad in ["", "localhost", ":443", "host:port", "host:70000", "http://host:443", "unix:ca", "a@b:1"] {
            assert!(SentryAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
