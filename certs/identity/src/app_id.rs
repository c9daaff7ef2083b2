use std::fmt;
use std::sync::Arc;

use crate::spiffe_id::{SpiffeId, is_segment_char};
use crate::trust_domain::TrustDomain;

/// Longest app ID, in bytes; Dapr's certificate authority signs no longer one.
pub const MAX_APP_ID_BYTES: usize = 64;

/// Longest namespace, in bytes; Kubernetes allows 63, self-hosted use a little more.
pub const MAX_NAMESPACE_BYTES: usize = 253;

/// An app as a caller asks for it: an app ID in a namespace.
///
/// Both parts are letters, digits, `-` and `_`, without dots, so that the written form
/// `<app>.<namespace>` splits one way only. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId {
    // "<app>.<namespace>"
    text: Arc<str>,
    app_bytes: usize,
}

impl AppId {
    /// An app ID in a namespace.
    ///
    /// # Errors
    /// The rule that a part breaks: empty, too long, or a character not allowed.
    pub fn new(namespace: &str, app_id: &str) -> Result<Self, AppIdError> {
        check(namespace, app_id)?;
        Ok(Self { text: format!("{app_id}.{namespace}").into(), app_bytes: app_id.len() })
    }

    /// Parses `<app>` or `<app>.<namespace>`; the first is taken to be in
    /// `default_namespace`.
    ///
    /// # Errors
    /// As [`AppId::new`], and for more than one dot.
    pub fn parse(text: &str, default_namespace: &str) -> Result<Self, AppIdError> {
        match text.split_once('.') {
            None => Self::new(default_namespace, text),
            Some((_, namespace)) if namespace.contains('.') => Err(AppIdError::Dots { text: text.to_owned() }),
            Some((app_id, namespace)) => Self::new(namespace, app_id),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.text.get(self.app_bytes + 1..).unwrap_or_default()
    }

    /// The app ID, without the namespace.
    pub fn app_id(&self) -> &str {
        self.text.get(..self.app_bytes).unwrap_or_default()
    }

    /// The written form `<app>.<namespace>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The identity this app must prove when it lives in `trust_domain`.
    pub fn spiffe_id(&self, trust_domain: &TrustDomain) -> SpiffeId {
        SpiffeId::of_app(trust_domain, self.namespace(), self.app_id())
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppId({})", self.text)
    }
}

/// Why a text is no app ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppIdError {
    /// A part has no text.
    #[error("the {part} is empty; give a name of letters, digits, \"-\" and \"_\"")]
    Empty {
        /// `app ID` or `namespace`.
        part: &'static str,
    },
    /// A part is longer than its bound.
    #[error("the {part} has {bytes} bytes; at most {limit} are allowed")]
    TooLong {
        /// `app ID` or `namespace`.
        part: &'static str,
        /// Length found.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A part has a character outside the set.
    #[error("the {part} {text:?} has the character {found:?}; use only A-Z, a-z, 0-9, \"-\" and \"_\"")]
    Character {
        /// `app ID` or `namespace`.
        part: &'static str,
        /// The part as given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// More than one dot in `<app>.<namespace>`.
    #[error("{text:?} has more than one dot; write <app> or <app>.<namespace>")]
    Dots {
        /// The text given.
        text: String,
    },
}

pub(crate) fn check(namespace: &str, app_id: &str) -> Result<(), AppIdError> {
    check_part("app ID", app_id, MAX_APP_ID_BYTES)?;
    check_part("namespace", namespace, MAX_NAMESPACE_BYTES)
}

fn check_part(part: &'static str, text: &str, limit: usize) -> Result<(), AppIdError> {
    if text.is_empty() {
        return Err(AppIdError::Empty { part });
    }
    if text.len() > limit {
        return Err(AppIdError::TooLong { part, bytes: text.len(), limit });
    }
    match text.chars().find(|&c| c == '.' || !is_segment_char(c)) {
        None => Ok(()),
        Some(found) => Err(AppIdError::Character { part, text: text.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_asked_for_with_or_without_its_namespace() {
        for (text, app, namespace) in [
            ("orders", "orders", "default"),
            ("orders.shop", "orders", "shop"),
            ("Order_Service-2.shop", "Order_Service-2", "shop"),
        ] {
            let id = AppId::parse(text, "default").unwrap();
            assert_eq!((id.app_id(), id.namespace()), (app, namespace));
            assert_eq!(id.to_string(), format!("{app}.{namespace}"));
            assert_eq!(AppId::parse(&id.to_string(), "other").unwrap(), id);
        }
    }

    #[test]
    fn a_bad_app_id_is_refused_for_its_own_reason() {
        let empty = |part| AppIdError::Empty { part };
        assert_eq!(AppId::parse("", "default"), Err(empty("app ID")));
        assert_eq!(AppId::parse(".shop", "default"), Err(empty("app ID")));
        assert_eq!(AppId::parse("orders.", "default"), Err(empty("namespace")));
        assert_eq!(AppId::parse("orders", ""), Err(empty("namespace")));
        assert!(matches!(AppId::parse("a.b.c", "default"), Err(AppIdError::Dots { .. })));
        assert!(matches!(AppId::parse("a..", "default"), Err(AppIdError::Dots { .. })));
        for bad in ["a/b", "a%2Fb", "a b", "a:80", "å", "a\r\nb", "a?b", "a#b", "a@b", "a\u{0}"] {
            let error = AppId::parse(bad, "default").unwrap_err();
            assert!(matches!(error, AppIdError::Character { .. }), "{bad:?}");
        }
        assert!(AppId::new("de.fault", "a").is_err());
        assert!(AppId::new("default", "a.b").is_err());
    }

    #[test]
    fn an_app_id_has_at_most_64_bytes() {
        assert!(AppId::new("default", &"a".repeat(64)).is_ok());
        assert_eq!(
            AppId::new("default", &"a".repeat(65)),
            Err(AppIdError::TooLong { part: "app ID", bytes: 65, limit: 64 })
        );
        assert!(AppId::new(&"n".repeat(254), "a").is_err());
    }

    #[test]
    fn the_identity_expected_follows_from_what_was_asked_for() {
        let domain = TrustDomain::parse("public").unwrap();
        let id = AppId::parse("orders.shop", "default").unwrap().spiffe_id(&domain);
        assert_eq!(id.as_str(), "spiffe://public/ns/shop/orders");
        let dapr = id.as_dapr().unwrap();
        assert_eq!((dapr.namespace, dapr.app_id), ("shop", "orders"));
        let longest = AppId::new(&"n".repeat(253), &"a".repeat(64)).unwrap();
        let wide = TrustDomain::parse(&"t".repeat(255)).unwrap();
        let id = longest.spiffe_id(&wide);
        assert_eq!(SpiffeId::parse(id.as_str()).unwrap(), id);
    }
}
