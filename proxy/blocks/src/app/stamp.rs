//! The headers that tell our app who calls it: set by us, never by a caller.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use outrigger_identity::{AppId, SpiffeId};
use outrigger_wire::header as names;

use crate::recent::Recent;

/// Facts about a call that the app gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The caller's proven identity; `None` without mutual TLS.
    pub(super) caller: Option<SpiffeId>,
    /// The caller as an app; `None` when its identity is no app's.
    pub(super) caller_app: Option<AppId>,
    /// TLS version and key exchange; `None` without TLS.
    pub(super) tls: Option<Arc<str>>,
    /// The policy that allowed the call.
    pub(super) policy: Arc<str>,
    /// Name of the wire.
    pub(super) wire: &'static str,
}

type Headers = Arc<[(HeaderName, HeaderValue)]>;

/// Writes [`Facts`] into request headers; remembers the values of recent callers.
#[derive(Debug)]
pub(super) struct Stamps {
    callee: HeaderValue,
    recent: Recent<(Facts, Headers)>,
}

impl Stamps {
    /// Stamps for calls to `callee`.
    pub(super) fn new(callee: &AppId) -> Self {
        Self { callee: value(callee.app_id()), recent: Recent::new() }
    }

    /// Replaces every header of that kind, whoever wrote it.
    pub(super) fn stamp(&self, facts: Facts, headers: &mut HeaderMap) {
        names::strip_control(headers);
        let known = self.recent.find(|(known, _)| *known == facts).map(|(_, stamped)| stamped);
        let stamped = known.unwrap_or_else(|| {
            let stamped = self.headers(&facts);
            self.recent.keep((facts, Arc::clone(&stamped)));
            stamped
        });
        headers.reserve(stamped.len() + 2);
        for (name, value) in stamped.iter() {
            headers.insert(name.clone(), value.clone());
        }
    }

    fn headers(&self, facts: &Facts) -> Headers {
        let mut stamped = vec![
            (names::CALLEE_APP_ID, self.callee.clone()),
            (names::DESTINATION_APP_ID, self.callee.clone()),
            (names::WIRE, HeaderValue::from_static(facts.wire)),
            (names::POLICY, value(&facts.policy)),
        ];
        if let Some(caller) = &facts.caller {
            stamped.push((names::CALLER_ID, value(caller.as_str())));
        }
        if let Some(app) = &facts.caller_app {
            stamped.push((names::CALLER_APP_ID, value(app.app_id())));
            stamped.push((names::CALLER_NAMESPACE, value(app.namespace())));
        }
        if let Some(tls) = &facts.tls {
            stamped.push((names::TLS, value(tls)));
        }
        stamped.into()
    }
}

/// A header value; text that cannot be one (a policy's odd name) loses what does not fit.
fn value(text: &str) -> HeaderValue {
    let visible = |c: &char| matches!(c, ' '..='~');
    let kept = text.chars().filter(visible).collect::<String>();
    HeaderValue::try_from(kept).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            caller: Some(SpiffeId::parse("spiffe://public/ns/shop/web").unwrap()),
            caller_app: Some(AppId::new("shop", "web").unwrap()),
            tls: Some("TLSv1.3 X25519MLKEM768".into()),
            policy: "orders\u{e9}/default".into(),
            wire: "native",
        }
    }

    #[test]
    fn the_app_sees_the_caller_that_the_wire_proved_and_nobody_elses_claim() {
        let stamps = Stamps::new(&AppId::new("shop", "orders").unwrap());
        for _again in 0..2 {
            let mut headers = HeaderMap::new();
            for name in
                ["dapr-caller-app-id", "outrigger-caller-id", "outrigger-x", "dapr-api-token", "destination-app-id"]
            {
                headers.append(name, HeaderValue::from_static("admin"));
                headers.append(name, HeaderValue::from_static("root"));
            }
            stamps.stamp(facts(), &mut headers);
            let mut rows: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            rows.sort_unstable();
            assert_eq!(
                rows,
                [
                    ("dapr-callee-app-id", "orders"),
                    ("dapr-caller-app-id", "web"),
                    ("dapr-caller-namespace", "shop"),
                    ("destination-app-id", "orders"),
                    ("outrigger-caller-id", "spiffe://public/ns/shop/web"),
                    ("outrigger-policy", "orders/default"),
                    ("outrigger-tls", "TLSv1.3 X25519MLKEM768"),
                    ("outrigger-wire", "native"),
                ]
            );
        }
    }

    #[test]
    fn a_caller_that_is_no_app_gets_no_app_id_invented() {
        let stamps = Stamps::new(&AppId::new("shop", "orders").unwrap());
        let mut headers = HeaderMap::new();
        stamps.stamp(Facts { caller_app: None, tls: None, ..facts() }, &mut headers);
        for name in ["dapr-caller-app-id", "dapr-caller-namespace", "outrigger-tls"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
}
