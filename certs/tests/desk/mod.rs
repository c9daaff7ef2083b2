//! An authority on paused time, with moods, and rotations that ask it.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses a part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_certs::ca::signer::{Signer, SignerConfig};
use outrigger_certs::{
    CaError, CertificateAuthority, CertificateRequest, Clock, Identity, IdentityWatch, Issued, RootsSource, Rotation,
    RotationConfig, RotationEvent, unix_now,
};
use outrigger_identity::{AppId, TrustDomain};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::time::{Instant, timeout};

// The moment at which the tests begin.
pub const NOW: u64 = 1_800_000_000;

pub const LIFETIME: Duration = Duration::from_secs(1_000);

// Wall-clock time that follows tokio's.
#[derive(Debug)]
struct PausedClock(Instant);

impl TimeProvider for PausedClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(NOW) + self.0.elapsed();
        Some(UnixTime::since_unix_epoch(now))
    }
}

// How the authority behaves from now on.
#[derive(Clone, Copy)]
pub enum Mood {
    Signs,
    Away,
    Hangs,
    SignsForSomebodyElse,
    SignsFromAnotherRoot,
    SignsTooLate,
}

pub struct Desk {
    pub clock: Clock,
    signer: Mutex<Arc<Signer>>,
    mood: Mutex<Mood>,
    asked: Mutex<u32>,
}

impl Desk {
    pub fn new() -> Arc<Self> {
        let clock: Clock = Arc::new(PausedClock(Instant::now()));
        let signer = Mutex::new(Arc::new(signer(&clock)));
        Arc::new(Self { clock, signer, mood: Mutex::new(Mood::Signs), asked: Mutex::new(0) })
    }

    pub fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer.lock().unwrap())
    }

    /// Another root and issuer, which sign nothing yet.
    pub fn next_root(&self) -> Arc<Signer> {
        Arc::new(signer(&self.clock))
    }

    pub fn signs_with(&self, signer: &Arc<Signer>) {
        *self.signer.lock().unwrap() = Arc::clone(signer);
    }

    /// From now on another root and issuer sign.
    pub fn change_root(&self) -> Arc<Signer> {
        let next = self.next_root();
        self.signs_with(&next);
        next
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    pub fn config(&self, roots: RootsSource) -> RotationConfig {
        self.config_of("a", roots)
    }

    pub fn config_of(&self, app: &str, roots: RootsSource) -> RotationConfig {
        let app = AppId::new("default", app).unwrap();
        RotationConfig { clock: Arc::clone(&self.clock), ..RotationConfig::new(app, roots) }
    }

    pub fn start(self: &Arc<Self>, config: RotationConfig) -> Running {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let rotation = Rotation::start(config, Arc::clone(self) as _, move |event| {
            heard.lock().unwrap().push(event);
        });
        Running { watch: rotation.watch(), rotation, events }
    }

    pub fn start_fixed(self: &Arc<Self>) -> Running {
        self.start(self.config(RootsSource::Fixed(Arc::clone(self.signer().roots()))))
    }
}

fn signer(clock: &Clock) -> Signer {
    let config =
        SignerConfig { lifetime: LIFETIME, ..SignerConfig::new(TrustDomain::parse("localhost").unwrap(), "default") };
    Signer::create(config, unix_now(clock)).unwrap()
}

#[async_trait]
impl CertificateAuthority for Desk {
    async fn issue(&self, request: &CertificateRequest) -> Result<Issued, CaError> {
        *self.asked.lock().unwrap() += 1;
        let mood = *self.mood.lock().unwrap();
        let now = unix_now(&self.clock);
        let sign = |app: &AppId, signer: &Signer, now| {
            let domain = TrustDomain::parse("public").unwrap();
            let domain = request.trust_domain.clone().unwrap_or(domain);
            signer.sign(&app.spiffe_id(&domain), request.pem.as_bytes(), now).unwrap()
        };
        match mood {
            Mood::Signs => Ok(sign(&request.app, &self.signer(), now)),
            Mood::SignsForSomebodyElse => Ok(sign(&AppId::new("default", "b").unwrap(), &self.signer(), now)),
            Mood::SignsFromAnotherRoot => Ok(sign(&request.app, &signer(&self.clock), now)),
            Mood::SignsTooLate => {
                let long_ago = now.as_secs() - 2 * LIFETIME.as_secs();
                let then = UnixTime::since_unix_epoch(Duration::from_secs(long_ago));
                Ok(sign(&request.app, &self.signer(), then))
            }
            Mood::Away => Err(CaError::Connect { address: "desk".into(), reason: "away".into() }),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

pub struct Running {
    pub rotation: Rotation,
    pub watch: IdentityWatch,
    events: Arc<Mutex<Vec<RotationEvent>>>,
}

impl Running {
    // The next identity, within an hour of paused time.
    pub async fn next(&mut self) -> Arc<Identity> {
        let changed = timeout(Duration::from_secs(3_600), self.watch.changed()).await;
        changed.expect("an identity is published").unwrap();
        self.watch.borrow_and_update().clone().unwrap()
    }

    pub fn events(&self) -> Vec<RotationEvent> {
        self.events.lock().unwrap().clone()
    }
}
