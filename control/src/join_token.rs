//! The secret that a caller on the TCP door must know.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

use crate::embedded::file;

const BYTES: usize = 32;
/// Longest token file that is read, in bytes.
const FILE_MAX: u64 = 4096;

/// 256 random bits, written as 64 hexadecimal digits.
///
/// Compared in constant time; never shown by `Debug`.
#[derive(Clone)]
pub(crate) struct JoinToken {
    text: String,
}

/// Why there is no join token.
#[derive(Debug, thiserror::Error)]
pub enum JoinTokenError {
    /// The file cannot be read or written.
    #[error("cannot keep the join token in {path}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file was changed.
    #[error("{path} does not hold 64 hexadecimal digits; remove it and a new token is made")]
    Malformed {
        /// The file.
        path: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for the join token")]
    Random,
}

impl JoinToken {
    /// Reads the token of this folder, or makes it: mode 0600, no line end, for a
    /// stock sidecar sends the whole file.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, JoinTokenError> {
        let shown = || path.display().to_string();
        let io = |source| JoinTokenError::Io { path: shown(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && found.len() <= FILE_MAX => {
                let text = fs::read_to_string(path).map_err(io)?.trim().to_owned();
                let hex = text.len() == BYTES * 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
                if hex { Ok(Self { text }) } else { Err(JoinTokenError::Malformed { path: shown() }) }
            }
            Ok(_) => Err(JoinTokenError::Malformed { path: shown() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = Self::random()?;
                file::replace(path, token.text.as_bytes()).map_err(io)?;
                Ok(token)
            }
            Err(error) => Err(io(error)),
        }
    }

    fn random() -> Result<Self, JoinTokenError> {
        let mut bytes = [0u8; BYTES];
        rand::fill(&mut bytes).map_err(|_| JoinTokenError::Random)?;
        Ok(Self { text: bytes.iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// Whether a caller sent this token; white space around it does not count.
    pub(crate) fn matches(&self, sent: &str) -> bool {
        verify_slices_are_equal(sent.trim().as_bytes(), self.text.as_bytes()).is_ok()
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("join-token");
        let made = JoinToken::load_or_create(&path).unwrap();
        let read = JoinToken::load_or_create(&path).unwrap();
        assert_eq!(made.text, read.text);
        assert_eq!(fs::read_to_string(&path).unwrap(), made.text);
        assert_eq!(made.text.len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_the_token_itself_matches() {
        let token = JoinToken::random().unwrap();
        assert!(token.matches(token.text()));
        assert!(token.matches(&format!("{}\n", token.text())));
        assert!(!token.matches(""));
        assert!(!token.matches(token.text().get(1..).unwrap()));
        assert!(!token.matches(&token.text().to_uppercase()) || !token.text().contains(char::is_alphabetic));
        assert!(!token.matches(JoinToken::random().unwrap().text()));
    }

    #[test]
    fn a_changed_file_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("join-token");
        for text in ["", "short", &"g".repeat(64)] {
            fs::write(&path, text).unwrap();
            let error = JoinToken::load_or_create(&path).unwrap_err();
            assert!(error.to_string().contains("remove it"), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", JoinToken::random().unwrap()), "JoinToken(secret)");
    }
}
