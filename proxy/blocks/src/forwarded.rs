//! What an HTTP invocation says of the sidecar it passed: `X-Forwarded-For`,
//! `X-Forwarded-Host` and `Forwarded` (RFC 7239).
//!
//! As the stock runtime and as RFC 7239, section 4, has it: ours is *added* to what the
//! caller's app sent, a field line of its own at the end. All of it is claims; who calls is
//! told by the certificate alone.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The three fields of one sidecar, made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    address: Option<HeaderValue>,
    host: Option<HeaderValue>,
    forwarded: HeaderValue,
}

impl Forwarded {
    /// For a sidecar of this address on a host of this name; a name that cannot stand in a
    /// header, or an empty one, is left out.
    pub fn new(address: Option<IpAddr>, host: &str) -> Self {
        // A token (RFC 9110, section 5.6.2), as is every host name.
        let host = Some(host).filter(|host| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        });
        let mut parts = Vec::new();
        if let Some(address) = address {
            let node = match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("\"[{address}]\""),
            };
            parts.push(format!("for={node};by={node}"));
        }
        if let Some(host) = host {
            parts.push(format!("host={host}"));
        }
        Self {
            address: address.and_then(|address| HeaderValue::try_from(address.to_string()).ok()),
            host: host.and_then(|host| HeaderValue::try_from(host).ok()),
            forwarded: HeaderValue::try_from(parts.join(";")).unwrap_or(HeaderValue::from_static("")),
        }
    }

    /// Adds what there is to say.
    pub(crate) fn add(&self, headers: &mut HeaderMap) {
        if let Some(address) = &self.address {
            headers.append(X_FORWARDED_FOR, address.clone());
        }
        if let Some(host) = &self.host {
            headers.append(X_FORWARDED_HOST, host.clone());
        }
        if !self.forwarded.is_empty() {
            headers.append(FORWARDED, self.forwarded.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_added_behind_what_was_sent() {
        for (address, host, forwarded) in [
            (Some("10.0.0.1"), "box", Some("for=10.0.0.1;by=10.0.0.1;host=box")),
            (Some("fd00::1"), "box", Some("for=\"[fd00::1]\";by=\"[fd00::1]\";host=box")),
            (None, "box", Some("host=box")),
            (Some("10.0.0.1"), "a;b", Some("for=10.0.0.1;by=10.0.0.1")),
            (None, "", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static("for=client"));
            Forwarded::new(address.map(|address| address.parse().unwrap()), host).add(&mut headers);
            let all: Vec<_> = headers.get_all(FORWARDED).iter().map(|value| value.to_str().unwrap()).collect();
            let expected: Vec<_> = std::iter::once("for=client").chain(forwarded).collect();
            assert_eq!(all, expected);
            assert_eq!(headers.get(X_FORWARDED_FOR).map(|value| value.to_str().unwrap()), address);
        }
    }
}
