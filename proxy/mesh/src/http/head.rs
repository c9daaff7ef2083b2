//! What a request head must be before anybody looks at it.
//!
//! Hyper parses; these are the rules on top, where two readers of one message
//! could disagree (RFC 9112, sections 3.2 and 6.3; RFC 9113, section 8.3), and
//! the bounds that hyper has no setting for.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Method, Request, Version};
use outrigger_wire::{Failure, Limits};

/// Checks a request head.
///
/// # Errors
/// `BadInput` naming the part, `Limit`, or `Unsupported` for CONNECT and upgrades.
pub(super) fn check<B>(head: &Request<B>, limits: &Limits) -> Result<(), Failure> {
    let http1 = head.version() < Version::HTTP_2;
    if head.method() == Method::CONNECT {
        return Err(unsupported("the CONNECT method"));
    }
    if head.uri().path().len() as u64 > limits.path_bytes {
        return Err(Failure::limit(limits.path_bytes()));
    }
    if !http1 && head.headers().len() as u64 > limits.http2_headers {
        return Err(Failure::limit(limits.http2_headers()));
    }
    if http1 {
        framing(head)?;
    }
    host(head, http1)?;
    if http1 && asks_for_websocket(head) {
        return Err(unsupported("upgrading a connection (WebSocket)"));
    }
    Ok(())
}

fn unsupported(what: &str) -> Failure {
    Failure::new(outrigger_wire::Cause::Unsupported { what: what.to_owned() })
}

/// One framing only: a message that names two is how requests are smuggled.
fn framing<B>(head: &Request<B>) -> Result<(), Failure> {
    let mut codings = head.headers().get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if head.version() == Version::HTTP_10 {
        return Err(Failure::bad_input("Transfer-Encoding", coding, "HTTP/1.0 has none; use HTTP/1.1"));
    }
    if head.headers().contains_key(CONTENT_LENGTH) {
        return Err(Failure::bad_input("Content-Length", coding, "send either Content-Length or Transfer-Encoding"));
    }
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::bad_input("Transfer-Encoding", coding, "the one transfer coding understood is `chunked`"));
    }
    Ok(())
}

/// One host, well formed, and the same wherever it stands.
fn host<B>(head: &Request<B>, http1: bool) -> Result<(), Failure> {
    if let Some(authority) = head.uri().authority()
        && (authority.as_str().contains('@') || has_bad_port(authority))
    {
        return Err(Failure::bad_input("authority", authority.as_str(), "a host with an optional port, no user info"));
    }
    let mut hosts = head.headers().get_all(HOST).iter();
    let host = hosts.next();
    if let Some(second) = hosts.next() {
        return Err(Failure::bad_input("Host", second, "send exactly one Host header"));
    }
    if http1 && head.version() == Version::HTTP_11 && host.is_none() {
        return Err(Failure::bad_input("Host", "", "HTTP/1.1 requires a Host header (RFC 9112, section 3.2)"));
    }
    let Some(host) = host else {
        return Ok(());
    };
    let invalid = || Failure::bad_input("Host", host, "a host name or address with an optional port, no user info");
    if host.is_empty() && head.uri().authority().is_none() {
        return Ok(());
    }
    let parsed = Authority::try_from(host.as_bytes()).map_err(|_| invalid())?;
    if parsed.as_str().contains('@') || has_bad_port(&parsed) {
        return Err(invalid());
    }
    match head.uri().authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(parsed.as_str()) => {
            Err(Failure::bad_input("Host", host, "the same host as in the request target"))
        }
        _ => Ok(()),
    }
}

/// A port is a number below 65,536; the `http` crate reads any other as none at all.
fn has_bad_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|port| !port.is_empty()) && authority.port_u16().is_none()
}

fn asks_for_websocket<B>(head: &Request<B>) -> bool {
    head.headers().get_all(http::header::UPGRADE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|p| p.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn a_head_that_two_readers_could_read_differently_is_refused() {
        let limits = Limits { path_bytes: 20, ..Limits::default() };
        for (version, target, headers, expected) in [
            (Version::HTTP_11, "/a", &[("host", "x")][..], Ok(())),
            (Version::HTTP_11, "/a", &[("host", "x:80"), ("transfer-encoding", "chunked")], Ok(())),
            (Version::HTTP_10, "/a", &[], Ok(())),
            (Version::HTTP_2, "/a", &[], Ok(())),
            (Version::HTTP_11, "http://x/a", &[("host", "X")], Ok(())),
            (Version::HTTP_11, "/a", &[], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "x"), ("host", "x")], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "u@x")], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "x:99999")], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "a b")], Err("bad_input")),
            (Version::HTTP_11, "http://y/a", &[("host", "x")], Err("bad_input")),
            (Version::HTTP_2, "http://y/a", &[("host", "x")], Err("bad_input")),
            (Version::HTTP_2, "http://user:word@y/a", &[], Err("bad_input")),
            (Version::HTTP_11, "http://user@y/a", &[("host", "y")], Err("bad_input")),
            (Version::HTTP_10, "/a", &[("transfer-encoding", "chunked")], Err("bad_input")),
            (
                Version::HTTP_11,
                "/a",
                &[("host", "x"), ("transfer-encoding", "chunked"), ("content-length", "1")],
                Err("bad_input"),
            ),
            (Version::HTTP_11, "/a", &[("host", "x"), ("transfer-encoding", "gzip, chunked")], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "x"), ("transfer-encoding", "xchunked")], Err("bad_input")),
            (Version::HTTP_11, "/a", &[("host", "x"), ("upgrade", "websocket")], Err("unsupported")),
            (Version::HTTP_11, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &[("host", "x")], Err("limit")),
        ] {
            let checked = check(&head(version, target, headers), &limits).map_err(|failure| failure.name());
            assert_eq!(checked, expected, "{version:?} {target} {headers:?}");
        }
    }
}
