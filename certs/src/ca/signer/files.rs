use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::{Authority, SignerError};

const ROOTS: &str = "ca.crt";
const ISSUER: &str = "issuer.crt";
const KEY: &str = "issuer.key";
// All three in one, while they are being replaced: its rename is the moment at which the
// new authority takes over, and who finds it does the rest.
const NEXT: &str = "issuer.next";

// No file of ours comes near it; a larger one is not read into memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the authority kept in `folder`; `None` when the folder or all files are absent.
pub(super) fn load(folder: &Path) -> Result<Option<Authority>, SignerError> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) => refuse_exposed(folder, &metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(folder, error)),
    }
    if let Some(next) = read(folder, NEXT)? {
        take_over(folder, &next)?;
    }
    let parts = (read(folder, ROOTS)?, read(folder, ISSUER)?, read(folder, KEY)?);
    let (roots_pem, issuer_pem, key) = match parts {
        (Some(roots), Some(issuer), Some(key)) => (roots, issuer, key),
        (None, None, None) => return Ok(None),
        _ => return Err(unusable(folder, "some of its files are missing")),
    };
    let key = KeyPair::from_pem(&key).map_err(|_| unusable(folder, "issuer.key is no key"))?;
    Ok(Some(Authority { roots_pem, issuer_pem, key }))
}

/// Writes the authority, 0600 and whole or not at all.
pub(super) fn save(folder: &Path, roots: &str, issuer: &str, key: &str) -> Result<(), SignerError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|e| failed(folder, e))?;
    let metadata = fs::symlink_metadata(folder).map_err(|e| failed(folder, e))?;
    refuse_exposed(folder, &metadata)?;
    let next = format!("{}\n{}\n{}", issuer.trim_end(), key.trim_end(), roots);
    write(folder, NEXT, &next)?;
    take_over(folder, &next)
}

/// Puts the parts of `next` in their places, as often as it takes.
fn take_over(folder: &Path, next: &str) -> Result<(), SignerError> {
    const KEY_BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
    const KEY_END: &str = "-----END PRIVATE KEY-----\n";
    let parts = next.split_once(KEY_BEGIN).and_then(|(issuer, rest)| {
        let (key, roots) = rest.split_once(KEY_END)?;
        Some((issuer, key, roots))
    });
    let Some((issuer, key, roots)) = parts else {
        return Err(unusable(folder, "issuer.next is not whole"));
    };
    write(folder, ROOTS, roots)?;
    write(folder, ISSUER, issuer)?;
    write(folder, KEY, &format!("{KEY_BEGIN}{key}{KEY_END}"))?;
    let next = folder.join(NEXT);
    fs::remove_file(&next).map_err(|e| failed(&next, e))
}

/// Validity of an issuer, checked to be an authority whose key is `key`.
pub(super) fn validity(issuer: &CertificateDer<'_>, key: &KeyPair) -> Result<(UnixTime, UnixTime), SignerError> {
    let refused = |reason: &str| SignerError::Authority(reason.to_owned());
    let (_, certificate) = X509Certificate::from_der(issuer).map_err(|_| refused("the issuer cannot be parsed"))?;
    if !certificate.is_ca() {
        return Err(refused("the issuer's certificate is no authority's"));
    }
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(refused(
            "the issuer's key belongs to another certificate; \
             remove the folder to make a new authority",
        ));
    }
    let unix = |seconds| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    };
    let validity = certificate.validity();
    Ok((unix(validity.not_before.timestamp()), unix(validity.not_after.timestamp())))
}

/// The roots of a bundle that are not past their time, as PEM.
pub(super) fn still_valid(bundle: &str, now: UnixTime) -> String {
    let end = "-----END CERTIFICATE-----";
    let valid = |block: &&str| {
        let Ok(der) = CertificateDer::from_pem_slice(block.as_bytes()) else {
            return false;
        };
        X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| {
            let not_after = certificate.validity().not_after.timestamp();
            u64::try_from(not_after).is_ok_and(|end| end > now.as_secs())
        })
    };
    bundle.split_inclusive(end).filter(valid).fold(String::new(), |mut kept, block| {
        kept.push_str(block.trim_start());
        kept.push('\n');
        kept
    })
}

fn read(folder: &Path, name: &str) -> Result<Option<String>, SignerError> {
    let path = folder.join(name);
    let file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, error)),
    };
    let metadata = file.metadata().map_err(|e| failed(&path, e))?;
    if name == KEY || name == NEXT {
        refuse_exposed(&path, &metadata)?;
    }
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES).read_to_string(&mut text);
    read.map_err(|e| failed(&path, e))?;
    Ok(Some(text))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), SignerError> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}.new"));
    // Left behind by a process that was killed here.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&draft, error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(|e| failed(&draft, e))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|e| failed(&draft, e))?;
    fs::rename(&draft, &path).map_err(|e| failed(&path, e))?;
    // The next rename must not be the first to reach the disk.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| failed(folder, e))
}

fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), SignerError> {
    let mode = metadata.mode() & 0o777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & 0o077 != 0 || !ours {
        return Err(SignerError::Exposed { path: path.display().to_string(), mode });
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> SignerError {
    SignerError::File { path: path.display().to_string(), source }
}

fn unusable(folder: &Path, reason: &str) -> SignerError {
    let folder = folder.display();
    SignerError::Authority(format!("{folder}: {reason}; remove it to make a new authority"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_identity::TrustDomain;

    use crate::ca::signer::SignerConfig;

    fn authority() -> Authority {
        let config = SignerConfig::new(TrustDomain::parse("localhost").unwrap(), "default");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        Authority::generate(&config, now).unwrap()
    }

    fn kept(folder: &Path, authority: &Authority) {
        let Authority { roots_pem, issuer_pem, key } = authority;
        save(folder, roots_pem, issuer_pem, &key.serialize_pem()).unwrap();
    }

    fn is(folder: &Path, authority: &Authority) -> bool {
        let found = load(folder).unwrap().unwrap();
        let names: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(!names.contains(&NEXT.into()), "{names:?}");
        found.issuer_pem == authority.issuer_pem
            && found.roots_pem == authority.roots_pem
            && found.key.serialize_pem() == authority.key.serialize_pem()
    }

    #[test]
    fn killed_at_any_step_of_a_replacement_the_old_or_the_new_authority_is_found_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, other) = (dir.path().join("ca"), dir.path().join("other"));
        let (old, new) = (authority(), authority());
        kept(&other, &new);
        let next = [ISSUER, KEY, ROOTS].map(|name| fs::read_to_string(other.join(name)).unwrap()).concat();

        // Before the rename that decides.
        kept(&folder, &old);
        fs::write(folder.join(format!(".{NEXT}.new")), next.get(..100).unwrap()).unwrap();
        assert!(is(&folder, &old));

        // After it, with none to all of the three replaced.
        for replaced in 0..=3 {
            kept(&folder, &old);
            write(&folder, NEXT, &next).unwrap();
            for name in [ROOTS, ISSUER, KEY].iter().take(replaced) {
                fs::copy(other.join(name), folder.join(name)).unwrap();
            }
            assert!(is(&folder, &new), "{replaced}");
        }
    }

    #[test]
    fn a_next_authority_that_is_damaged_or_exposed_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ca");
        kept(&folder, &authority());
        write(&folder, NEXT, "nothing").unwrap();
        assert!(matches!(load(&folder), Err(SignerError::Authority(_))));
        fs::set_permissions(folder.join(NEXT), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&folder), Err(SignerError::Exposed { mode: 0o644, .. })));
    }
}
