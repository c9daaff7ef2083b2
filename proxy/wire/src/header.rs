//! Header names that are ours to set, and those that end at every hop.
//!
//! `SECURITY.md` has the table of who may set what. A client's value of any
//! header here is *replaced or removed*, never joined with ours.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names the app to call; read on the API, never sent on.
pub const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");
/// The app called; for callers of old, read before [`APP_ID`] by gRPC proxying; stamped for the callee.
pub const CALLEE_APP_ID: HeaderName = HeaderName::from_static("dapr-callee-app-id");
/// App ID of the caller, as its certificate says.
pub const CALLER_APP_ID: HeaderName = HeaderName::from_static("dapr-caller-app-id");
/// Namespace of the caller, as its certificate says.
pub const CALLER_NAMESPACE: HeaderName = HeaderName::from_static("dapr-caller-namespace");
/// The API token, or towards the app the app's token.
pub const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");
/// App ID called, as stock sidecars stamp it.
pub const DESTINATION_APP_ID: HeaderName = HeaderName::from_static("destination-app-id");
/// SPIFFE ID of the caller, as its certificate says.
pub const CALLER_ID: HeaderName = HeaderName::from_static("outrigger-caller-id");
/// Wire that the call came by: `native`, `dapr` or `local`.
pub const WIRE: HeaderName = HeaderName::from_static("outrigger-wire");
/// TLS version and key exchange that the call came by.
pub const TLS: HeaderName = HeaderName::from_static("outrigger-tls");
/// Policy that allowed (towards the app) or refused (towards the caller) the call.
pub const POLICY: HeaderName = HeaderName::from_static("outrigger-policy");
/// On a response between sidecars: the call failed in the callee's sidecar, not in its app.
pub const FAILURE: HeaderName = HeaderName::from_static("outrigger-failure");
/// On a request between sidecars: what the API was asked by, `http` or `grpc`.
pub const PROTOCOL: HeaderName = HeaderName::from_static("outrigger-protocol");

/// Prefix of every header that only sidecars set.
pub const OURS: &str = "outrigger-";

/// Every name that a client, an app or a peer may not set for the app to read.
const NOT_THEIRS: [HeaderName; 6] =
    [APP_ID, CALLEE_APP_ID, CALLER_APP_ID, CALLER_NAMESPACE, API_TOKEN, DESTINATION_APP_ID];

/// Hop-by-hop fields of RFC 9110, section 7.6.1, and those of old that mean the same.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what ends at this hop: the hop-by-hop fields, every field that
/// `Connection` names, `Proxy-Authorization`, and `TE` but for `trailers`
/// (RFC 9110, sections 7.6.1 and 10.1.4).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        strip_named_by_connection(headers);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(header::PROXY_AUTHORIZATION);
    if headers.contains_key(header::TE) {
        let trailers = headers.get_all(header::TE).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        });
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // `TE` has a rule of its own; framing and routing are not the sender's to drop.
        .filter(|name| !matches!(*name, header::TE | header::HOST | header::CONTENT_LENGTH))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes every routing, identity and control header: what a client, an app or a
/// peer sent by those names is not theirs to say (threat T4).
pub fn strip_control(headers: &mut HeaderMap) {
    for name in &NOT_THEIRS {
        headers.remove(name);
    }
    strip_ours(headers);
}

/// Removes from trailers what is no trailer's to say: framing and routing (RFC 9110, section
/// 6.5.1; HTTP/2 refuses the hop-by-hop ones), and the control headers.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_control(trailers);
    for name in [header::TE, header::TRAILER, header::CONTENT_LENGTH, header::HOST] {
        trailers.remove(name);
    }
}

/// Removes every `outrigger-*` header.
pub fn strip_ours(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| name.as_str().starts_with(OURS)) {
        return;
    }
    let ours: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// The message's `content-length`, when it has exactly one that is a number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let text = value.to_str().ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether the message is gRPC by its `content-type` (`application/grpc`, `application/grpc+…`).
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&str, &str)]) -> HeaderMap {
        rows.iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn what_connection_names_ends_here_with_it() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "te, content-length"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("te", "gzip, trailers;q=1"),
            ("te", "trailers"),
            ("keep-alive", "5"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("x-kept", "yes"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("content-length", "3"), ("x-kept", "yes"), ("te", "trailers")]));
    }

    #[test]
    fn control_headers_of_others_go_and_the_rest_stays() {
        let mut map = headers(&[
            ("dapr-caller-app-id", "admin"),
            ("dapr-caller-app-id", "root"),
            ("outrigger-caller-id", "spiffe://evil"),
            ("outrigger-anything", "x"),
            ("dapr-api-token", "secret"),
            ("x-kept", "yes"),
        ]);
        strip_control(&mut map);
        assert_eq!(map, headers(&[("x-kept", "yes")]));
    }

    #[test]
    fn trailers_keep_only_what_a_trailer_may_say() {
        let mut map = headers(&[
            ("transfer-encoding", "chunked"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("host", "evil"),
            ("dapr-caller-app-id", "admin"),
            ("outrigger-failure", "denied"),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut map);
        assert_eq!(map, headers(&[("grpc-status", "0")]));
    }

    #[test]
    fn a_content_length_is_one_plain_number() {
        assert_eq!(content_length(&headers(&[("content-length", "12")])), Some(12));
        for bad in ["+5", "0x5", "-1", "5, 5", "", "99999999999999999999999"] {
            assert_eq!(content_length(&headers(&[("content-length", bad)])), None, "{bad}");
        }
        assert_eq!(content_length(&headers(&[("content-length", "5"), ("content-length", "5")])), None);
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&headers(&[("content-type", value)])), grpc, "{value}");
        }
    }
}
