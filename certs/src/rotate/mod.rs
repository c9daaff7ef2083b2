//! Keeps the identity fresh: renews early, follows the roots, keeps the last good one.

use std::sync::Arc;
use std::time::Duration;

use outrigger_identity::{AppId, TrustDomain};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::ca::{CaError, CertificateAuthority};
use crate::clock::{Clock, unix_now};
use crate::csr::{CertificateRequest, Key, KeyAlgorithm};
use crate::roots::{Roots, RootsSource};
use crate::store::{IdentityStore, IdentityWatch};
use crate::svid::Svid;

mod metrics;
mod schedule;

pub use metrics::RotationCounters;

/// Longest wait for one answer of an authority, whatever its own bound.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(10);

// Wall-clock time is looked at this often even without a file to follow: a machine that
// slept has a timer that is late.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What to keep fresh.
#[derive(Debug, Clone)]
pub struct RotationConfig {
    /// The app that the certificate is for.
    pub app: AppId,
    /// Its trust domain; `None` takes the one that the authority gives.
    pub trust_domain: Option<TrustDomain>,
    /// What our own certificate and those of peers must lead to.
    pub roots: RootsSource,
    /// Kind of key; default ECDSA P-256. Each certificate gets a new key.
    pub key: KeyAlgorithm,
    /// How often a file of roots is read; default 5 s.
    pub poll: Duration,
    /// Where validity is read from.
    pub clock: Clock,
}

impl RotationConfig {
    /// The defaults, for an app and its roots.
    pub fn new(app: AppId, roots: RootsSource) -> Self {
        Self {
            app,
            trust_domain: None,
            roots,
            key: KeyAlgorithm::default(),
            poll: Duration::from_secs(5),
            clock: crate::clock::system_clock(),
        }
    }
}

/// What happened, for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationEvent {
    /// The first SVID is held (`dapr_runtime_mtls_init_total`).
    Initialised,
    /// There is no first SVID yet (`dapr_runtime_mtls_init_fail_total`).
    InitFailed {
        /// A short word for the cause; one of a small set.
        reason: &'static str,
    },
    /// A later SVID took over (`dapr_runtime_mtls_workload_cert_rotated_total`).
    Rotated,
    /// It did not, and the last good one is kept
    /// (`dapr_runtime_mtls_workload_cert_rotated_fail_total`).
    RotationFailed {
        /// A short word for the cause; one of a small set.
        reason: &'static str,
    },
    /// The certificate in use ran out, and peers refuse it from now on
    /// (`outrigger_workload_cert_expired_total`). Once for each certificate.
    Expired,
    /// Changed roots took over.
    RootsChanged,
    /// Changed roots are not usable, and the last good ones are kept.
    RootsRefused,
}

/// A running rotation. Dropping it ends it; the last identity stays with its watchers.
#[derive(Debug)]
pub struct Rotation {
    watch: IdentityWatch,
    task: JoinHandle<()>,
}

impl Rotation {
    /// Starts in the current tokio runtime; the first certificate is asked for at once.
    pub fn start(
        config: RotationConfig,
        authority: Arc<dyn CertificateAuthority>,
        on_event: impl Fn(RotationEvent) + Send + Sync + 'static,
    ) -> Self {
        let store = IdentityStore::new(Arc::clone(&config.clock));
        let watch = store.watch();
        let worker = Worker {
            config,
            authority,
            on_event: Box::new(on_event),
            store,
            roots: None,
            roots_complaint: None,
            expiry_told: false,
            failure_told: None,
            renew_at: None,
            retry_at: None,
            failures: 0,
        };
        Self { watch, task: tokio::spawn(worker.run()) }
    }

    /// The identity, now and later; `None` until the first SVID is held.
    pub fn watch(&self) -> IdentityWatch {
        self.watch.clone()
    }
}

impl Drop for Rotation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// Why one attempt gave no certificate.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("there are no trust anchors: {0}")]
    NoRoots(String),
    #[error("{0}")]
    Key(#[from] crate::csr::KeyError),
    #[error("the certificate received is not usable: {0}")]
    Svid(#[from] crate::svid::SvidError),
    #[error("the certificate received would be refused by peers: {0}")]
    Verify(#[from] crate::verify::VerifyError),
    #[error("the certificate received is for {found}, not for {asked}")]
    OtherIdentity { asked: String, found: String },
    #[error("no answer within {ISSUE_TIMEOUT:?}")]
    Timeout,
}

impl Attempt {
    fn reason(&self) -> &'static str {
        match self {
            Self::Ca(error) => error.reason(),
            Self::NoRoots(_) => "trust_anchors",
            Self::Key(_) => "key",
            Self::Svid(_) => "certificate",
            Self::Verify(_) => "verify",
            Self::OtherIdentity { .. } => "identity",
            Self::Timeout => "sentry_timeout",
        }
    }
}

struct Worker {
    config: RotationConfig,
    authority: Arc<dyn CertificateAuthority>,
    on_event: Box<dyn Fn(RotationEvent) + Send + Sync>,
    store: IdentityStore,
    roots: Option<Arc<Roots>>,
    // The last reason that roots were refused, so that it is told once.
    roots_complaint: Option<String>,
    // Whether it was told that the certificate in use has expired.
    expiry_told: bool,
    // The last reason for no new certificate, so that it is a warning once.
    failure_told: Option<String>,
    // Wall clock; `None` is at once.
    renew_at: Option<rustls_pki_types::UnixTime>,
    // Monotonic, so that a clock that is set back does not hold up a retry.
    retry_at: Option<Instant>,
    failures: u32,
}

impl Worker {
    async fn run(mut self) {
        loop {
            self.follow_roots().await;
            self.look_for_expiry();
            if self.is_due() {
                self.renew().await;
            }
            sleep(self.pause()).await;
        }
    }

    fn is_due(&self) -> bool {
        if let Some(retry_at) = self.retry_at {
            return Instant::now() >= retry_at;
        }
        self.renew_at.is_none_or(|at| unix_now(&self.config.clock) >= at)
    }

    // What the certificate in use still has; zero without one.
    fn left(&self) -> Duration {
        let now = unix_now(&self.config.clock).as_secs();
        let not_after = self.store.current().map_or(0, |current| current.svid.not_after().as_secs());
        Duration::from_secs(not_after.saturating_sub(now))
    }

    fn look_for_expiry(&mut self) {
        if self.expiry_told || self.store.current().is_none() || !self.left().is_zero() {
            return;
        }
        self.expiry_told = true;
        // A machine that slept may still be in the middle of a long wait.
        let soon = Instant::now() + schedule::LAST_RETRY_WITHOUT;
        self.retry_at = self.retry_at.map(|at| at.min(soon));
        let reason = self.failure_told.as_deref().unwrap_or("this machine or process was suspended");
        tracing::warn!(
            app = %self.config.app, reason,
            "our certificate has expired: calls to and from other sidecars fail until the certificate authority gives \
             a new one; see that it runs, is reached from here and agrees on the time. It is asked every few seconds"
        );
        (self.on_event)(RotationEvent::Expired);
    }

    fn pause(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(10);
        let poll = match self.config.roots {
            RootsSource::Fixed(_) => LONGEST_SLEEP,
            RootsSource::File(_) => self.config.poll.min(LONGEST_SLEEP),
        };
        let due = match (self.retry_at, self.renew_at) {
            (Some(retry_at), _) => retry_at.saturating_duration_since(Instant::now()),
            (None, None) => Duration::ZERO,
            (None, Some(at)) => {
                let now = unix_now(&self.config.clock).as_secs();
                Duration::from_secs(at.as_secs().saturating_sub(now))
            }
        };
        let expiry = match self.expiry_told || self.store.current().is_none() {
            true => poll,
            false => self.left(),
        };
        due.min(poll).min(expiry).max(SHORTEST)
    }

    async fn follow_roots(&mut self) {
        let roots = match self.config.roots.load().await {
            Ok(roots) => roots,
            Err(error) => return self.complain(error.to_string()),
        };
        self.roots_complaint = None;
        if self.roots.as_ref() == Some(&roots) {
            return;
        }
        let first = self.roots.replace(Arc::clone(&roots)).is_none();
        if first {
            // Whatever failed for want of roots is tried again now.
            self.retry_at = None;
            return;
        }
        let Some(current) = self.store.current() else {
            return;
        };
        let now = unix_now(&self.config.clock);
        if let Err(error) = current.svid.verify(&roots, now) {
            tracing::warn!(%error, "the new trust anchors do not cover our certificate: renewing");
            self.renew_at = None;
            self.retry_at = None;
        }
        // Published even so: peers of the new roots are accepted from now on.
        self.store.publish(Arc::clone(&current.svid), roots);
        tracing::info!("the trust anchors changed");
        (self.on_event)(RotationEvent::RootsChanged);
    }

    fn complain(&mut self, error: String) {
        if self.roots_complaint.as_ref() == Some(&error) {
            return;
        }
        tracing::warn!(%error, kept = self.roots.is_some(), "the trust anchors are not usable");
        self.roots_complaint = Some(error);
        (self.on_event)(RotationEvent::RootsRefused);
    }

    async fn renew(&mut self) {
        let first = self.store.current().is_none();
        match self.obtain().await {
            Ok((svid, roots)) => {
                let now = unix_now(&self.config.clock);
                self.failures = 0;
                self.retry_at = None;
                self.expiry_told = false;
                self.failure_told = None;
                self.renew_at = Some(schedule::renewal(now, svid.not_after(), fastrand::f64()));
                let identity = self.store.publish(Arc::new(svid), roots);
                let (id, generation) = (identity.id(), identity.generation);
                tracing::info!(%id, generation, "a new certificate is in use");
                (self.on_event)(match first {
                    true => RotationEvent::Initialised,
                    false => RotationEvent::Rotated,
                });
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let wait = schedule::retry(self.failures, self.left(), fastrand::f64());
                self.retry_at = Some(Instant::now() + wait);
                let reason = error.reason();
                let text = error.to_string();
                if self.failure_told.as_ref() == Some(&text) {
                    tracing::debug!(%error, ?wait, attempts = self.failures, "no new certificate");
                } else {
                    tracing::warn!(%error, ?wait, attempts = self.failures, "no new certificate; trying on");
                    self.failure_told = Some(text);
                }
                (self.on_event)(match first {
                    true => RotationEvent::InitFailed { reason },
                    false => RotationEvent::RotationFailed { reason },
                });
            }
        }
    }

    async fn obtain(&self) -> Result<(Svid, Arc<Roots>), Attempt> {
        let Some(roots) = self.roots.clone() else {
            let why = self.roots_complaint.clone();
            return Err(Attempt::NoRoots(why.unwrap_or_else(|| "not read yet".to_owned())));
        };
        let key = Key::generate(self.config.key)?;
        let (app, domain) = (self.config.app.clone(), self.config.trust_domain.clone());
        let request = CertificateRequest::new(app, domain, &key)?;
        let issued = timeout(ISSUE_TIMEOUT, self.authority.issue(&request)).await.map_err(|_| Attempt::Timeout)??;
        let svid = Svid::new(issued.chain, key.to_private_key())?;
        self.check_identity(&svid)?;
        svid.verify(&roots, unix_now(&self.config.clock))?;
        Ok((svid, roots))
    }

    fn check_identity(&self, svid: &Svid) -> Result<(), Attempt> {
        let app = &self.config.app;
        let id = svid.id();
        let names_us = id.as_dapr().is_some_and(|d| d.namespace == app.namespace() && d.app_id == app.app_id());
        let domain = self.config.trust_domain.as_ref();
        if names_us && domain.is_none_or(|domain| id.is_in(domain)) {
            return Ok(());
        }
        Err(Attempt::OtherIdentity { asked: app.to_string(), found: id.to_string() })
    }
}
