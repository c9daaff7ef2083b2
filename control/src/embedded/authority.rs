//! The authority's files: made whole or not at all.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use outrigger_certs::ca::signer::{Signer, SignerConfig, SignerError};
use outrigger_certs::{Clock, unix_now};

use super::file;
use super::home::Home;

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

/// Opens the authority of this folder, and makes it first where there is none; then writes
/// the trust anchors beside it.
///
/// A new authority is three files that belong together, so it is made in a folder of another
/// name which then gets the right one: a crash leaves no half of it.
pub(crate) fn open(home: &Home, config: SignerConfig, clock: &Clock) -> Result<Arc<Signer>, AuthorityError> {
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
    file::replace(&home.trust_anchors(), signer.roots_pem().as_bytes()).map_err(io)?;
    Ok(Arc::new(signer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_certs::system_clock;
    use outrigger_identity::TrustDomain;

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
}
