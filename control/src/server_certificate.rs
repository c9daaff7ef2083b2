//! The certificate with which the authority itself serves TLS.

use std::sync::{Arc, Mutex, PoisonError};

use outrigger_certs::ca::signer::SignerError;
use outrigger_certs::{Clock, Identity, TlsError, unix_now};
use rustls::ServerConfig;

use crate::embedded::SignerWatch;

/// The authority's own TLS configuration, signed by itself and renewed in time.
///
/// It names `spiffe://<control plane's trust domain>/ns/<its namespace>/dapr-sentry`,
/// which is all that a stock sidecar checks; it asks for no certificate of the client.
pub(crate) struct ServerCertificate {
    signer: SignerWatch,
    clock: Clock,
    current: Mutex<Option<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    // Unix seconds: half of its life.
    renew_at: u64,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ServerCertificateError {
    /// It could not be signed.
    #[error("the authority cannot sign its own certificate")]
    Sign(#[from] SignerError),
    /// The TLS library refused it.
    #[error("the authority's own certificate cannot be served")]
    Serve(#[from] TlsError),
}

impl ServerCertificate {
    /// Nothing is signed until the first use.
    pub(crate) fn new(signer: SignerWatch, clock: Clock) -> Self {
        Self { signer, clock, current: Mutex::default() }
    }

    /// The configuration for one connection; past half of its life a new one is made.
    pub(crate) fn current(&self) -> Result<Arc<ServerConfig>, ServerCertificateError> {
        let now = unix_now(&self.clock);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref()
            && now.as_secs() < current.renew_at
        {
            return Ok(Arc::clone(&current.config));
        }
        let signer = Arc::clone(&self.signer.borrow());
        let svid = signer.own_svid(now)?;
        let life = svid.not_after().as_secs().saturating_sub(now.as_secs());
        let renew_at = now.as_secs().saturating_add(life / 2);
        let roots = Arc::clone(signer.roots());
        let identity = Identity::new(Arc::new(svid), roots, 1, Arc::clone(&self.clock));
        let config = identity.server_config_without_client_auth(&[b"h2"])?;
        *current = Some(Current { config: Arc::clone(&config), renew_at });
        Ok(config)
    }
}
