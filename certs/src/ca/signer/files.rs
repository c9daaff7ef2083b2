use std::fs::{self, DirBuilder, OpenOptions};
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

// No file of ours comes near it; a larger one is not read into memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the authority kept in `folder`; `None` when the folder or all files are absent.
pub(super) fn load(folder: &Path) -> Result<Option<Authority>, SignerError> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) => refuse_exposed(folder, &metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(folder, error)),
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

/// Writes the authority, each file 0600 and whole or not at all.
pub(super) fn save(folder: &Path, authority: &Authority) -> Result<(), SignerError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|e| failed(folder, e))?;
    let metadata = fs::symlink_metadata(folder).map_err(|e| failed(folder, e))?;
    refuse_exposed(folder, &metadata)?;
    // The roots first: a bundle with one root too many still fits the old issuer.
    write(folder, ROOTS, &authority.roots_pem)?;
    write(folder, ISSUER, &authority.issuer_pem)?;
    write(folder, KEY, &authority.key.serialize_pem())
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
    if name == KEY {
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
    fs::rename(&draft, &path).map_err(|e| failed(&path, e))
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
