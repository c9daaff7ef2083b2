use std::fmt;
use std::sync::Arc;

/// Longest trust domain, in bytes (SPIFFE ID, section 2.3).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// The name of a set of identities that share roots, such as `public`.
///
/// Lower-case letters, digits, `.`, `-` and `_`, 1 to 255 bytes (SPIFFE ID,
/// section 2.1). It looks like a host name and is none: it is compared whole, as
/// bytes, and `cluster.local` says nothing about `cluster.local.evil`.
/// A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare trust domain, without `spiffe://`.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TrustDomainError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The trust domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

impl std::str::FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Why a text is no trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustDomainError {
    /// No text.
    #[error("the trust domain is empty; name one, such as \"public\"")]
    Empty,
    /// More than [`MAX_TRUST_DOMAIN_BYTES`].
    #[error("the trust domain has {bytes} bytes; at most {MAX_TRUST_DOMAIN_BYTES} are allowed")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// A character outside the set; ports, user names and upper case end here.
    #[error(
        "the trust domain {text:?} has the character {found:?}; \
         use only a-z, 0-9, \".\", \"-\" and \"_\""
    )]
    Character {
        /// The text given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
}

pub(crate) fn check(text: &str) -> Result<(), TrustDomainError> {
    if text.is_empty() {
        return Err(TrustDomainError::Empty);
    }
    if text.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err(TrustDomainError::TooLong { bytes: text.len() });
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    match text.chars().find(|&c| !allowed(c)) {
        None => Ok(()),
        Some(found) => Err(TrustDomainError::Character { text: text.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_domain_keeps_the_spiffe_character_set() {
        let longest = "a".repeat(255);
        for good in ["public", "localhost", "cluster.local", "a_b-c.9", &longest] {
            assert_eq!(TrustDomain::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "Public",
            "public:443",
            "user@public",
            "public/",
            "spiffe://public",
            "pub lic",
            "public%2e",
            "públic",
            "pub\u{0}lic",
            "public?",
            "public#",
            "[::1]",
            "public\n",
        ] {
            let error = TrustDomain::parse(bad).unwrap_err();
            assert!(matches!(error, TrustDomainError::Character { .. }), "{bad:?}");
        }
        assert_eq!(TrustDomain::parse(""), Err(TrustDomainError::Empty));
        assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(TrustDomainError::TooLong { bytes: 256 }));
    }

    #[test]
    fn an_error_shows_control_characters_escaped() {
        let text = TrustDomain::parse("a\nb").unwrap_err().to_string();
        assert!(!text.contains('\n'), "{text}");
        assert!(text.contains(r"a\nb"), "{text}");
    }
}
