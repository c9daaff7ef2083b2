//! The authority: its files, made whole or not at all, and its replacement in time.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use outrigger_certs::ca::signer::{Signer, SignerConfig, SignerError};
use outrigger_certs::{Clock, unix_now};
use tokio::sync::watch;

use super::file;
use super::home::Home;

/// Time between two looks at how long the authority still lasts.
const LOOK: Duration = Duration::from_secs(60);
/// How long a new root is handed out before the first certificate is signed under it.
/// Sidecars read the anchors every 5 s.
const OVERLAP: Duration = Duration::from_secs(30);

/// The signer in use, now and later.
pub(crate) type SignerWatch = watch::Receiver<Arc<Signer>>;

/// The authority of a folder.
pub(crate) struct Authority {
    home: Home,
    clock: Clock,
    current: watch::Sender<Arc<Signer>>,
}

impl Authority {
    /// Opens the authority of this folder, and makes it first where there is none; then
    /// writes the trust anchors beside it.
    pub(crate) fn open(home: &Home, config: SignerConfig, clock: &Clock) -> Result<Self, AuthorityError> {
        let signer = open(home, config, clock)?;
        let current = watch::Sender::new(Arc::new(signer));
        Ok(Self { home: home.clone(), clock: Arc::clone(clock), current })
    }

    /// The signer in use.
    pub(crate) fn signer(&self) -> SignerWatch {
        self.current.subscribe()
    }

    /// Replaces the authority in its last 30 days. Never returns; dropping it ends that.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            if let Err(error) = self.replace_if_due().await {
                tracing::error!(%error, "cannot replace the certificate authority, which is near its end");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn replace_if_due(&self) -> Result<(), AuthorityError> {
        let old = Arc::clone(&self.current.borrow());
        let now = unix_now(&self.clock);
        let Some(next) = old.successor(now)? else { return Ok(()) };
        // Should we be killed before the end, the next start writes the old anchors again.
        write_anchors(&self.home, &next)?;
        if old.not_after() > now {
            tokio::time::sleep(OVERLAP).await;
        }
        next.save(&self.home.ca())?;
        tracing::info!(until = next.not_after().as_secs(), "a new certificate authority has taken over");
        self.current.send_replace(Arc::new(next));
        Ok(())
    }
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files are not usable.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The folder cannot be written.
    #[error("cannot write the certificate authority's files in {home}")]
    Io {
        /// Our folder.
        home: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A new authority is files that belong together, so it is made in a folder of another
/// name which then gets the right one: a crash leaves no half of it.
fn open(home: &Home, config: SignerConfig, clock: &Clock) -> Result<Signer, AuthorityError> {
    let io = |source| AuthorityError::Io { home: home.path().display().to_string(), source };
    let folder = home.ca();
    let signer = if fs::symlink_metadata(&folder).is_ok() {
        Signer::open(&folder, config, unix_now(clock))?
    } else {
        let draft = home.path().join("ca.new");
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let signer = Signer::open(&draft, config, unix_now(clock))?;
        let sync = |folder| File::open(folder).and_then(|folder| folder.sync_all());
        sync(draft.as_path()).map_err(io)?;
        fs::rename(&draft, &folder).map_err(io)?;
        sync(home.path()).map_err(io)?;
        signer
    };
    write_anchors(home, &signer)?;
    Ok(signer)
}

fn write_anchors(home: &Home, signer: &Signer) -> Result<(), AuthorityError> {
    file::replace(&home.trust_anchors(), signer.roots_pem().as_bytes())
        .map_err(|source| AuthorityError::Io { home: home.path().display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    use outrigger_certs::{Roots, system_clock};
    use outrigger_identity::TrustDomain;
    use rustls::time_provider::TimeProvider;
    use rustls_pki_types::UnixTime;

    fn config() -> SignerConfig {
        SignerConfig::new(TrustDomain::parse("localhost").unwrap(), "default")
    }

    fn home(dir: &tempfile::TempDir) -> Home {
        Home::open(&dir.path().join("home")).unwrap()
    }

    #[test]
    fn an_authority_is_made_once_and_its_anchors_stand_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let made = open(&home, config(), &system_clock()).unwrap();
        let read = open(&home, config(), &system_clock()).unwrap();
        assert_eq!(made.roots_pem(), read.roots_pem());
        assert_eq!(fs::read_to_string(home.trust_anchors()).unwrap(), made.roots_pem());
        let mut files: Vec<_> = fs::read_dir(home.ca()).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["ca.crt", "issuer.crt", "issuer.key"]);
    }

    #[test]
    fn what_a_crash_left_half_made_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let draft = home.path().join("ca.new");
        fs::create_dir(&draft).unwrap();
        fs::write(draft.join("ca.crt"), "half").unwrap();
        fs::write(draft.join("issuer.key"), "half").unwrap();
        open(&home, config(), &system_clock()).unwrap();
        assert!(!draft.exists());
        open(&home, config(), &system_clock()).unwrap();
    }

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_800_000_000;

    #[derive(Debug)]
    struct Wall(AtomicU64);

    impl TimeProvider for Wall {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_runs_for_months_replaces_its_authority_and_hands_out_the_root_first() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let wall = Arc::new(Wall(AtomicU64::new(NOW)));
        let clock: Clock = Arc::clone(&wall) as _;
        let authority = Authority::open(&home, config(), &clock).unwrap();
        let mut signer = authority.signer();
        let old = Arc::clone(&signer.borrow_and_update());
        let anchors = || Roots::from_pem(&fs::read(home.trust_anchors()).unwrap()).unwrap();
        let keeping = async {
            // Between two looks, of which the next is in 15 s.
            tokio::time::sleep(LOOK * 5 + Duration::from_secs(45)).await;
            assert!(!signer.has_changed().unwrap());
            wall.0.store(NOW + 336 * DAY, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(20)).await;
            // Both roots are known, and the old issuer still signs.
            assert_eq!(anchors().anchors().len(), 2);
            assert!(!signer.has_changed().unwrap());
            tokio::time::sleep(OVERLAP).await;
            assert!(signer.has_changed().unwrap());
        };
        tokio::select! {
            () = authority.keep_fresh() => {}
            () = keeping => {}
        }
        let new = Arc::clone(&signer.borrow());
        let now = unix_now(&clock);
        for signer in [&old, &new] {
            signer.own_svid(now).unwrap().verify(&anchors(), now).unwrap();
        }
        assert!(new.not_after().as_secs() > NOW + 700 * DAY);
        assert_eq!(open(&home, config(), &clock).unwrap().roots_pem(), new.roots_pem());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ended_while_the_machine_slept_is_replaced_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let wall = Arc::new(Wall(AtomicU64::new(NOW)));
        let clock: Clock = Arc::clone(&wall) as _;
        let authority = Authority::open(&home, config(), &clock).unwrap();
        wall.0.store(NOW + 400 * DAY, Ordering::SeqCst);
        let mut signer = authority.signer();
        tokio::select! {
            () = authority.keep_fresh() => {}
            changed = signer.changed() => changed.unwrap(),
        }
        let now = unix_now(&clock);
        let signer = Arc::clone(&signer.borrow());
        signer.own_svid(now).unwrap().verify(signer.roots(), now).unwrap();
        assert_eq!(signer.roots().anchors().len(), 1, "the old root has expired");
    }
}
