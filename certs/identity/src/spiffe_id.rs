use std::fmt;
use std::sync::Arc;

use crate::app_id;
use crate::trust_domain::{self, TrustDomain, TrustDomainError};

/// Longest SPIFFE ID, in bytes (SPIFFE ID, section 2.3).
pub const MAX_SPIFFE_ID_BYTES: usize = 2048;

const SCHEME: &str = "spiffe://";

/// A workload's identity: `spiffe://<trust domain>/<segment>[/<segment>…]`.
///
/// At most 2048 bytes of ASCII; at least one path segment, for an ID without a path
/// names a trust domain and no workload. A clone shares the text; equality and
/// hash are those of the text.
#[derive(Clone)]
pub struct SpiffeId {
    text: Arc<str>,
    // Byte at which the path begins: a `/`.
    path_at: usize,
}

/// The path `/ns/<namespace>/<app id>` that Dapr's certificate authority gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DaprId<'a> {
    /// Namespace of the app.
    pub namespace: &'a str,
    /// The app's ID.
    pub app_id: &'a str,
}

/// The path `/ns/<namespace>/sa/<service account>` that Istio gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IstioId<'a> {
    /// Kubernetes namespace of the workload.
    pub namespace: &'a str,
    /// Its service account.
    pub service_account: &'a str,
}

impl SpiffeId {
    /// Parses the exact text of a SPIFFE ID.
    ///
    /// Nothing is normalised: upper case in the scheme or the trust domain, percent
    /// escapes, a port, a query, empty and dot segments are all refused.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_SPIFFE_ID_BYTES {
            return Err(SpiffeIdError::TooLong { bytes: text.len() });
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(SpiffeIdError::Scheme { text: text.to_owned() });
        };
        let (domain, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        trust_domain::check(domain)?;
        check_path(text, path)?;
        Ok(Self { text: text.into(), path_at: SCHEME.len() + domain.len() })
    }

    /// The identity `/ns/<namespace>/<app>` in `trust_domain`.
    ///
    /// # Errors
    /// When `namespace` or `app` breaks the rules of [`crate::AppId`].
    pub fn dapr(trust_domain: &TrustDomain, namespace: &str, app: &str) -> Result<Self, app_id::AppIdError> {
        app_id::check(namespace, app)?;
        Ok(Self::of_app(trust_domain, namespace, app))
    }

    // The caller has checked both parts.
    pub(crate) fn of_app(trust_domain: &TrustDomain, namespace: &str, app: &str) -> Self {
        Self {
            text: format!("{SCHEME}{trust_domain}/ns/{namespace}/{app}").into(),
            path_at: SCHEME.len() + trust_domain.as_str().len(),
        }
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain, without `spiffe://`.
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading `/`.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// Whether the ID belongs to exactly this trust domain.
    pub fn is_in(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain() == trust_domain.as_str()
    }

    /// The ID as that of a Dapr app.
    ///
    /// `None` unless the path is exactly `/ns/<namespace>/<app id>` with parts that an
    /// [`crate::AppId`] may have; longer paths are other identities and are not cut short.
    pub fn as_dapr(&self) -> Option<DaprId<'_>> {
        let (namespace, app_id) = self.path().strip_prefix("/ns/")?.split_once('/')?;
        app_id::check(namespace, app_id).ok()?;
        Some(DaprId { namespace, app_id })
    }

    /// The ID as that of an Istio workload.
    ///
    /// `None` unless the path is exactly `/ns/<namespace>/sa/<account>`.
    pub fn as_istio(&self) -> Option<IstioId<'_>> {
        let (namespace, rest) = self.path().strip_prefix("/ns/")?.split_once('/')?;
        let service_account = rest.strip_prefix("sa/")?;
        if service_account.contains('/') {
            return None;
        }
        Some(IstioId { namespace, service_account })
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl std::hash::Hash for SpiffeId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Why a text is no SPIFFE ID of a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// More than [`MAX_SPIFFE_ID_BYTES`].
    #[error("the SPIFFE ID has {bytes} bytes; at most {MAX_SPIFFE_ID_BYTES} are allowed")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It does not begin with `spiffe://`, in lower case.
    #[error("{text:?} is no SPIFFE ID; it must begin with \"spiffe://\"")]
    Scheme {
        /// The text given.
        text: String,
    },
    /// The part between `spiffe://` and the path breaks a rule.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    /// It names a trust domain and no workload.
    #[error("{text:?} has no path, so it names a trust domain and no workload")]
    NoPath {
        /// The text given.
        text: String,
    },
    /// Two slashes in a row, or one at the end.
    #[error("{text:?} has an empty path segment; remove the doubled or trailing \"/\"")]
    EmptySegment {
        /// The text given.
        text: String,
    },
    /// A segment `.` or `..`.
    #[error("{text:?} has a path segment \".\" or \"..\", which SPIFFE IDs may not have")]
    DotSegment {
        /// The text given.
        text: String,
    },
    /// A character that no path segment may have.
    #[error(
        "{text:?} has the character {found:?} in its path; \
         use only A-Z, a-z, 0-9, \".\", \"-\" and \"_\""
    )]
    Character {
        /// The text given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
}

fn check_path(text: &str, path: &str) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/') else {
        return Err(SpiffeIdError::NoPath { text: text.to_owned() });
    };
    for segment in segments.split('/') {
        if segment.is_empty() {
            return Err(SpiffeIdError::EmptySegment { text: text.to_owned() });
        }
        if segment == "." || segment == ".." {
            return Err(SpiffeIdError::DotSegment { text: text.to_owned() });
        }
        if let Some(found) = segment.chars().find(|&c| !is_segment_char(c)) {
            return Err(SpiffeIdError::Character { text: text.to_owned(), found });
        }
    }
    Ok(())
}

pub(crate) fn is_segment_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reason = fn(&SpiffeIdError) -> bool;

    fn of_length(bytes: usize) -> String {
        let head = "spiffe://public/ns/default/";
        format!("{head}{}", "a".repeat(bytes - head.len()))
    }

    #[test]
    fn a_good_id_gives_back_its_text_and_parts() {
        for (text, domain, path) in [
            ("spiffe://public/ns/default/a", "public", "/ns/default/a"),
            ("spiffe://cluster.local/ns/x/sa/y", "cluster.local", "/ns/x/sa/y"),
            ("spiffe://td/A_b-c.9", "td", "/A_b-c.9"),
            ("spiffe://td/...", "td", "/..."),
            ("spiffe://td/1/2/3/4/5/6/7", "td", "/1/2/3/4/5/6/7"),
        ] {
            let id = SpiffeId::parse(text).unwrap();
            assert_eq!(id.as_str(), text);
            assert_eq!(id.to_string(), text);
            assert_eq!(id.trust_domain(), domain);
            assert_eq!(id.path(), path);
        }
        assert!(SpiffeId::parse(&of_length(2048)).is_ok());
    }

    #[test]
    fn a_bad_id_is_refused_for_its_own_reason() {
        let scheme: Reason = |e| matches!(e, SpiffeIdError::Scheme { .. });
        let domain: Reason = |e| matches!(e, SpiffeIdError::TrustDomain(_));
        let no_path: Reason = |e| matches!(e, SpiffeIdError::NoPath { .. });
        let empty: Reason = |e| matches!(e, SpiffeIdError::EmptySegment { .. });
        let dots: Reason = |e| matches!(e, SpiffeIdError::DotSegment { .. });
        let character: Reason = |e| matches!(e, SpiffeIdError::Character { .. });
        let table: &[(&str, Reason)] = &[
            ("", scheme),
            ("public/ns/default/a", scheme),
            ("https://public/ns/default/a", scheme),
            ("SPIFFE://public/ns/default/a", scheme),
            ("Spiffe://public/ns/default/a", scheme),
            ("spiffe:/public/ns/default/a", scheme),
            (" spiffe://public/ns/default/a", scheme),
            ("spiffe:///ns/default/a", domain),
            ("spiffe://", domain),
            ("spiffe://PUBLIC/ns/default/a", domain),
            ("spiffe://public:443/ns/default/a", domain),
            ("spiffe://user@public/ns/default/a", domain),
            ("spiffe://user:pw@public/ns/default/a", domain),
            ("spiffe://public%2Fns%2Fdefault%2Fa", domain),
            ("spiffe://public?x/ns/default/a", domain),
            ("spiffe://public#/ns/default/a", domain),
            ("spiffe://públic/ns/default/a", domain),
            ("spiffe://pub\u{0430}lic/ns/default/a", domain),
            ("spiffe://*/ns/default/a", domain),
            ("spiffe://public\\ns\\default\\a", domain),
            ("spiffe://public", no_path),
            ("spiffe://public/", empty),
            ("spiffe://public/ns/default/a/", empty),
            ("spiffe://public//ns/default/a", empty),
            ("spiffe://public/ns//a", empty),
            ("spiffe://public/ns/./a", dots),
            ("spiffe://public/ns/default/../admin/a", dots),
            ("spiffe://public/ns/default/a%2Fb", character),
            ("spiffe://public/ns/default/a%2fb", character),
            ("spiffe://public/ns/default/a?admin", character),
            ("spiffe://public/ns/default/a#admin", character),
            ("spiffe://public/ns/default/a:80", character),
            ("spiffe://public/ns/default/a@b", character),
            ("spiffe://public/ns/default/a ", character),
            ("spiffe://public/ns/default/a\n", character),
            ("spiffe://public/ns/default/a\u{0}", character),
            ("spiffe://public/ns/default/\u{0430}", character),
            ("spiffe://public/ns/default/a\u{200b}", character),
            ("spiffe://public/ns/default/*", character),
            ("spiffe://public/ns/default\\a", character),
            ("spiffe://public/ns/default/a;x=1", character),
        ];
        for (text, expected) in table {
            let error = SpiffeId::parse(text).unwrap_err();
            assert!(expected(&error), "{text:?} gave {error:?}");
        }
        assert_eq!(SpiffeId::parse(&of_length(2049)), Err(SpiffeIdError::TooLong { bytes: 2049 }));
    }

    #[test]
    fn ids_that_look_alike_are_not_equal() {
        let asked = SpiffeId::parse("spiffe://cluster.local/ns/default/a").unwrap();
        for other in [
            "spiffe://cluster.local.evil/ns/default/a",
            "spiffe://evil.cluster.local/ns/default/a",
            "spiffe://cluster.loca1/ns/default/a",
            "spiffe://cluster-local/ns/default/a",
            "spiffe://cluster.local./ns/default/a",
            "spiffe://cluster.local/ns/default/A",
            "spiffe://cluster.local/ns/Default/a",
            "spiffe://cluster.local/ns/default/a/a",
            "spiffe://cluster.local/ns/default",
            "spiffe://cluster.local/NS/default/a",
        ] {
            let other = SpiffeId::parse(other).unwrap();
            assert_ne!(asked, other);
        }
        let domain = TrustDomain::parse("cluster.local").unwrap();
        assert!(asked.is_in(&domain));
        for other in ["cluster.local.evil", "evil.cluster.local", "local"] {
            assert!(!asked.is_in(&TrustDomain::parse(other).unwrap()));
        }
    }

    #[test]
    fn only_an_exact_dapr_path_names_an_app() {
        let dapr = |text: &str| {
            let id = SpiffeId::parse(text).unwrap();
            id.as_dapr().map(|d| (d.namespace.to_owned(), d.app_id.to_owned()))
        };
        let app = Some(("default".to_owned(), "a".to_owned()));
        assert_eq!(dapr("spiffe://public/ns/default/a"), app);
        for other in [
            "spiffe://public/default/a",
            "spiffe://public/ns/default",
            "spiffe://public/ns/default/sa/a",
            "spiffe://public/ns/default/a/b/c",
            "spiffe://public/x/ns/default/a",
            "spiffe://public/Ns/default/a",
            "spiffe://public/ns/default/a.b",
            "spiffe://public/ns/de.fault/a",
        ] {
            assert_eq!(dapr(other), None, "{other}");
        }
    }

    #[test]
    fn only_an_exact_istio_path_names_a_service_account() {
        let id = SpiffeId::parse("spiffe://cluster.local/ns/x/sa/y").unwrap();
        assert_eq!(id.as_istio(), Some(IstioId { namespace: "x", service_account: "y" }));
        assert_eq!(id.as_dapr(), None);
        for other in [
            "spiffe://cluster.local/ns/x/y",
            "spiffe://cluster.local/ns/x/sa",
            "spiffe://cluster.local/ns/x/sa/y/z",
            "spiffe://cluster.local/ns/x/sb/y",
        ] {
            assert_eq!(SpiffeId::parse(other).unwrap().as_istio(), None, "{other}");
        }
    }

    #[test]
    fn a_composed_id_is_one_that_parses() {
        let domain = TrustDomain::parse("public").unwrap();
        let id = SpiffeId::dapr(&domain, "default", "order-service").unwrap();
        assert_eq!(id, SpiffeId::parse("spiffe://public/ns/default/order-service").unwrap());
        assert_eq!(id.path(), "/ns/default/order-service");
        for (namespace, app) in [("", "a"), ("default", ""), ("default", "a/b"), ("..", "a")] {
            assert!(SpiffeId::dapr(&domain, namespace, app).is_err());
        }
    }
}
