//! One generation of who we are, and the TLS configurations made from it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_identity::SpiffeId;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::{DnsName, ServerName, UnixTime};

use crate::clock::{Clock, unix_now};
use crate::provider::crypto_provider;
use crate::roots::Roots;
use crate::svid::Svid;
use crate::verify::{self, ClientVerifier, ServerVerifier, TrustDomains};

/// Most peers whose client configuration is kept; past it all are made anew.
pub const MAX_CACHED_PEERS: usize = 1024;

// A process has a handful of listeners; past this, configurations are not kept.
const MAX_CACHED_SERVERS: usize = 16;

/// What we are at one moment: an SVID, the roots to verify peers with, and the TLS
/// configurations made from the two, each once.
///
/// Immutable: a renewal or a change of roots makes the next generation. A connection
/// keeps the generation it began with.
pub struct Identity {
    /// Our own chain and key.
    pub svid: Arc<Svid>,
    /// Trust anchors for the peer's chain.
    pub roots: Arc<Roots>,
    /// Counts up from 1 in one process.
    pub generation: u64,
    clock: Clock,
    clients: Mutex<HashMap<SpiffeId, ByAlpn>>,
    servers: Mutex<Vec<(Alpn, TrustDomains, Arc<ServerConfig>)>>,
}

type Alpn = Vec<Vec<u8>>;
type ByAlpn = Vec<(Alpn, Arc<ClientConfig>)>;

impl Identity {
    /// Puts an SVID and roots together; neither is verified here.
    pub fn new(svid: Arc<Svid>, roots: Arc<Roots>, generation: u64, clock: Clock) -> Self {
        Self { svid, roots, generation, clock, clients: Mutex::default(), servers: Mutex::default() }
    }

    /// Our own SPIFFE ID.
    pub fn id(&self) -> &SpiffeId {
        self.svid.id()
    }

    /// Configuration to dial a peer that must prove to be exactly `expected`.
    ///
    /// The same one is given for the same arguments, so a pool may compare by pointer.
    /// Use [`server_name`] as the name to dial: it is neither sent nor checked.
    ///
    /// # Errors
    /// Our own certificate has expired, or rustls refuses the parts.
    pub fn client_config(&self, expected: &SpiffeId, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        self.check_own_validity()?;
        let mut clients = lock(&self.clients);
        let known = clients.get(expected).into_iter().flatten();
        if let Some((_, config)) = known.into_iter().find(|(kept, _)| same(kept, alpn)) {
            return Ok(Arc::clone(config));
        }
        let mut config =
            client_builder(&self.roots, expected, &self.clock)?.with_client_cert_resolver(Arc::new(self.resolver()));
        finish_client(&mut config, alpn);
        let config = Arc::new(config);
        if clients.len() >= MAX_CACHED_PEERS {
            clients.clear();
        }
        let kept = clients.entry(expected.clone()).or_default();
        kept.push((owned(alpn), Arc::clone(&config)));
        Ok(config)
    }

    /// Configuration to accept peers that prove an identity of `trust_domains`.
    ///
    /// The same one is given for the same arguments.
    ///
    /// # Errors
    /// Our own certificate has expired, or rustls refuses the parts.
    pub fn server_config(&self, alpn: &[&[u8]], trust_domains: &TrustDomains) -> Result<Arc<ServerConfig>, TlsError> {
        self.check_own_validity()?;
        let mut servers = lock(&self.servers);
        let known = servers.iter().find(|(kept, domains, _)| same(kept, alpn) && domains == trust_domains);
        if let Some((_, _, config)) = known {
            return Ok(Arc::clone(config));
        }
        let verifier = ClientVerifier {
            roots: Arc::clone(&self.roots),
            trust_domains: trust_domains.clone(),
            algorithms: verify::algorithms(&crypto_provider()),
        };
        let mut config = server_builder(&self.clock)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(self.resolver()));
        finish_server(&mut config, alpn);
        let config = Arc::new(config);
        if servers.len() < MAX_CACHED_SERVERS {
            servers.push((owned(alpn), trust_domains.clone(), Arc::clone(&config)));
        }
        Ok(config)
    }

    /// Configuration to accept clients that have no certificate yet.
    ///
    /// For a certificate authority only: whoever asks it has none, and proves itself by
    /// the request. Made anew on every call.
    ///
    /// # Errors
    /// Our own certificate has expired, or rustls refuses the parts.
    pub fn server_config_without_client_auth(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        self.check_own_validity()?;
        let mut config =
            server_builder(&self.clock)?.with_no_client_auth().with_cert_resolver(Arc::new(self.resolver()));
        finish_server(&mut config, alpn);
        Ok(Arc::new(config))
    }

    fn resolver(&self) -> SingleCertAndKey {
        SingleCertAndKey::from(Arc::clone(self.svid.certified()))
    }

    // A peer would refuse us with a bare alert; here we can still say what to do.
    fn check_own_validity(&self) -> Result<(), TlsError> {
        let now = unix_now(&self.clock);
        let not_after = self.svid.not_after();
        if now > not_after {
            return Err(TlsError::OwnExpired { id: self.id().clone(), not_after, now });
        }
        Ok(())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("svid", &self.svid)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Configuration to dial a server that must prove to be `expected`, without a
/// certificate of our own: how the first one is asked for.
///
/// # Errors
/// When rustls refuses the parts.
pub fn client_config_without_certificate(
    roots: &Arc<Roots>,
    expected: &SpiffeId,
    alpn: &[&[u8]],
    clock: &Clock,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = client_builder(roots, expected, clock)?.with_no_client_auth();
    finish_client(&mut config, alpn);
    Ok(Arc::new(config))
}

/// The name to give a TLS connector: never sent, never checked.
pub fn server_name() -> ServerName<'static> {
    const NAME: &str = "peer.invalid";
    ServerName::DnsName(DnsName::try_from(NAME).expect("the constant is a DNS name"))
}

/// Why there is no TLS configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// Our certificate could not be renewed in time.
    #[error(
        "our own certificate, {id}, expired at {} and it is {} now (Unix seconds); \
         is the certificate authority reachable?",
        not_after.as_secs(), now.as_secs()
    )]
    OwnExpired {
        /// Who we are.
        id: SpiffeId,
        /// End of validity.
        not_after: UnixTime,
        /// When we looked.
        now: UnixTime,
    },
    /// The TLS library refused the parts.
    #[error("the TLS configuration was refused: {0}")]
    Config(#[from] rustls::Error),
}

type AfterClientVerifier = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_builder(roots: &Arc<Roots>, expected: &SpiffeId, clock: &Clock) -> Result<AfterClientVerifier, TlsError> {
    let provider = crypto_provider();
    let verifier = ServerVerifier {
        roots: Arc::clone(roots),
        expected: expected.clone(),
        algorithms: verify::algorithms(&provider),
    };
    Ok(ClientConfig::builder_with_details(provider, Arc::clone(clock))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn server_builder(clock: &Clock) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TlsError> {
    let builder = ServerConfig::builder_with_details(crypto_provider(), Arc::clone(clock));
    Ok(builder.with_protocol_versions(&[&TLS13])?)
}

// Resumption would skip the certificate, and with it the check against today's roots.
fn finish_client(config: &mut ClientConfig, alpn: &[&[u8]]) {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.alpn_protocols = owned(alpn);
}

fn finish_server(config: &mut ServerConfig, alpn: &[&[u8]]) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = owned(alpn);
}

fn owned(alpn: &[&[u8]]) -> Alpn {
    alpn.iter().map(|name| name.to_vec()).collect()
}

fn same(kept: &Alpn, asked: &[&[u8]]) -> bool {
    kept.iter().map(Vec::as_slice).eq(asked.iter().copied())
}

// A panic while a cache was held leaves it whole: entries are only ever added whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
