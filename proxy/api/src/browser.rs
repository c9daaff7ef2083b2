//! Keeping web pages away from the local API (threat T6).
//!
//! A browser lets any page send requests to localhost. It says so in `Origin`,
//! `Sec-Fetch-Site` and, after a DNS trick, in `Host`; a program of the user's sends
//! none of these, or a local name.

use std::net::IpAddr;

use ::http::header::{HOST, HeaderName, ORIGIN};
use ::http::request::Parts;
use ::http::uri::{Authority, Uri};
use outrigger_wire::{Cause, Failure};

use crate::cors::Cors;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is asked of requests that a browser may have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Browser {
    /// A foreign `Origin` or `Host` is refused: for an API on loopback only.
    #[default]
    Guarded,
    /// Nothing, as the stock runtime.
    Stock,
}

impl Browser {
    /// Whether this request may come in: also from a page that `cors` names.
    ///
    /// # Errors
    /// [`Cause::Denied`] naming the header and its remedy.
    pub(crate) fn admit(self, head: &Parts, cors: Option<&Cors>) -> Result<(), Failure> {
        if self == Self::Stock {
            return Ok(());
        }
        if let Some(origin) = head.headers.get(ORIGIN)
            && !is_local_origin(origin.as_bytes())
            && !cors.is_some_and(|cors| cors.allows(origin))
        {
            return Err(denied(
                "a request from another site (header Origin); call the API from a program or from a page of localhost, \
                 or name the site with --allowed-origins",
            ));
        }
        let host = match head.headers.get(HOST) {
            Some(host) => Authority::try_from(host.as_bytes()).ok().map(|host| is_local(host.host())),
            None => head.uri.host().map(is_local),
        };
        if host == Some(false) {
            return Err(denied("a request for another host (header Host); call localhost, 127.0.0.1 or [::1]"));
        }
        Ok(())
    }

    /// Whether this request may change the sidecar itself.
    ///
    /// # Errors
    /// [`Cause::Denied`] when a page of another site had it sent.
    pub(crate) fn admit_change(self, head: &Parts) -> Result<(), Failure> {
        match head.headers.get(SEC_FETCH_SITE) {
            Some(site) if self == Self::Guarded && site.as_bytes().eq_ignore_ascii_case(b"cross-site") => {
                Err(denied("a change asked for by another site (header Sec-Fetch-Site); send it from a program"))
            }
            _ => Ok(()),
        }
    }
}

fn denied(remedy: &str) -> Failure {
    Cause::Denied { policy: "local API".into(), remedy: remedy.to_owned() }.into()
}

fn is_local_origin(origin: &[u8]) -> bool {
    Uri::try_from(origin).is_ok_and(|origin| origin.host().is_some_and(is_local))
}

fn is_local(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn programs_and_local_pages_come_in_and_other_sites_do_not() {
        for (uri, headers, allowed) in [
            ("/", &[][..], true),
            ("/", &[("host", "localhost:3500")], true),
            ("/", &[("host", "127.0.0.1:3500")], true),
            ("/", &[("host", "[::1]:3500")], true),
            ("/", &[("host", "LOCALHOST.")], true),
            ("http://127.8.8.8/", &[], true),
            ("/", &[("host", "localhost"), ("origin", "http://localhost:8080")], true),
            ("/", &[("host", "localhost"), ("origin", "https://127.0.0.1")], true),
            ("/", &[("host", "evil.example")], false),
            ("/", &[("host", "localhost.evil.example")], false),
            ("/", &[("host", "10.0.0.1")], false),
            ("http://evil.example/", &[], false),
            ("/", &[("host", "localhost"), ("origin", "https://evil.example")], false),
            ("/", &[("host", "localhost"), ("origin", "null")], false),
            ("/", &[("host", "localhost"), ("origin", "")], false),
            ("/", &[("host", "localhost"), ("origin", "http://localhost.evil.example")], false),
        ] {
            let head = head(uri, headers);
            let name = Browser::Guarded.admit(&head, None).map_err(|failure| failure.name());
            assert_eq!(name, if allowed { Ok(()) } else { Err("denied") }, "{uri} {headers:?}");
            assert!(Browser::Stock.admit(&head, None).is_ok());
        }
    }

    #[test]
    fn a_page_that_is_named_comes_in_and_the_host_must_still_be_local() {
        let cors = Cors::parse("https://a.example");
        for (host, origin, allowed) in [
            ("localhost", "https://a.example", true),
            ("localhost", "https://b.example", false),
            ("a.example", "https://a.example", false),
        ] {
            let head = head("/", &[("host", host), ("origin", origin)]);
            assert_eq!(Browser::Guarded.admit(&head, cors.as_ref()).is_ok(), allowed, "{host} {origin}");
        }
    }

    #[test]
    fn a_change_is_not_taken_from_another_site() {
        for (site, allowed) in [("cross-site", false), ("Cross-Site", false), ("same-origin", true), ("none", true)] {
            let head = head("/", &[("sec-fetch-site", site)]);
            assert_eq!(Browser::Guarded.admit_change(&head).is_ok(), allowed, "{site}");
            assert!(Browser::Stock.admit_change(&head).is_ok());
        }
    }
}
