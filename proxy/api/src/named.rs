//! Which app a request's headers name, and which names HTTP gives a meaning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use outrigger_wire::header::APP_ID;

/// The app that the header `name` names. Two values name none: what they say together is
/// refused as an app ID later, for no reader may choose between them.
pub(crate) fn app(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut named = headers.get_all(name).iter();
    let (first, second) = (named.next()?, named.next());
    match second {
        None => Some(first.clone()),
        Some(second) => {
            let both = [first.as_bytes(), b", ", second.as_bytes()].concat();
            Some(HeaderValue::from_bytes(&both).unwrap_or_else(|_| HeaderValue::from_static("two app IDs")))
        }
    }
}

/// The app that basic authentication names (`http://dapr-app-id:<app>@localhost:3500/`): its user
/// is `dapr-app-id`, its password the app. Any other credential is the app's own business.
pub(crate) fn app_by_basic_authentication(headers: &HeaderMap) -> Option<HeaderValue> {
    let credentials = headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Basic ")?;
    let decoded = STANDARD.decode(credentials).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    if !user.eq_ignore_ascii_case(APP_ID.as_str()) || password.contains(':') {
        return None;
    }
    HeaderValue::try_from(password).ok()
}

/// Whether HTTP gives a header of this name a meaning: between HTTP and gRPC metadata those get
/// the prefix `dapr-`, as in the stock runtime.
pub(crate) fn is_of_http(name: &str) -> bool {
    const NAMES: [&str; 23] = [
        "accept",
        "accept-charset",
        "accept-language",
        "accept-ranges",
        "cache-control",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-schedule-tag-match",
        "if-unmodified-since",
        "max-forwards",
        "origin",
        "pragma",
        "referer",
        "via",
        "warning",
    ];
    NAMES.contains(&name) || name.starts_with("grpc-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_no_name() {
        let name = HeaderName::from_static("dapr-app-id");
        let mut headers = HeaderMap::new();
        assert_eq!(app(&headers, &name), None);
        headers.append(&name, HeaderValue::from_static("orders"));
        assert_eq!(app(&headers, &name).unwrap(), "orders");
        headers.append(&name, HeaderValue::from_static("admin"));
        assert_eq!(app(&headers, &name).unwrap(), "orders, admin");
    }

    #[test]
    fn basic_authentication_names_an_app_by_the_user_dapr_app_id_only() {
        for (value, named) in [
            ("Basic ZGFwci1hcHAtaWQ6b3JkZXJz", Some("orders")),
            ("Basic REFQUi1BUFAtSUQ6b3JkZXJz", Some("orders")),
            ("Basic dXNlcjpvcmRlcnM=", None),
            ("Basic ZGFwci1hcHAtaWQ6YTpi", None),
            ("Basic !", None),
            ("Bearer ZGFwci1hcHAtaWQ6b3JkZXJz", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            let app = app_by_basic_authentication(&headers);
            assert_eq!(app.as_ref().map(|app| app.to_str().unwrap()), named, "{value}");
        }
    }
}
