//! Which web pages may read what the API answers (`--allowed-origins`).
//!
//! Off unless origins are named, as in the stock runtime. A preflight is answered here,
//! before the token is asked for: a browser sends none with it.

use ::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use ::http::request::Parts;
use ::http::{Method, Response, StatusCode};
use outrigger_wire::Body;

/// Verbs that a page of an allowed origin may use.
const METHODS: [Method; 7] =
    [Method::HEAD, Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The origins that are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors(Origins);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Any,
    /// In lower case; a `*` in one stands for any text.
    These(Vec<String>),
}

/// What a response must say to the page that asked.
pub(crate) struct Reading(Option<HeaderValue>);

impl Cors {
    /// Origins separated by commas, each with at most one `*` that stands for any text; `*`
    /// alone is every origin, and an empty text none: then there is no CORS at all.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let origins: Vec<String> = text.split(',').map(str::to_ascii_lowercase).collect();
        Some(Self(if origins.iter().any(|origin| origin == "*") { Origins::Any } else { Origins::These(origins) }))
    }

    /// Whether a page of this origin is named.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.0 {
            Origins::Any => !origin.is_empty(),
            Origins::These(origins) => origin.to_str().is_ok_and(|origin| {
                let origin = origin.to_ascii_lowercase();
                !origin.is_empty() && origins.iter().any(|allowed| matches(allowed, &origin))
            }),
        }
    }

    /// The answer to a preflight; `None` when the request is none.
    pub(crate) fn preflight(&self, head: &Parts) -> Option<Response<Body>> {
        let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|method| !method.is_empty())?;
        if head.method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
            headers.append(VARY, HeaderValue::from_static(name));
        }
        let upper = method.as_bytes().to_ascii_uppercase();
        if let Some(origin) = self.answer_to(&head.headers)
            && METHODS.iter().any(|known| known.as_str().as_bytes() == upper)
        {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.extend(HeaderValue::from_bytes(&upper).ok().map(|method| (ACCESS_CONTROL_ALLOW_METHODS, method)));
            if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| !asked.is_empty()) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
        }
        Some(response)
    }

    /// What the response to this request must say.
    pub(crate) fn reading(&self, head: &Parts) -> Reading {
        Reading(self.answer_to(&head.headers).filter(|_| METHODS.contains(&head.method)))
    }

    /// What `Access-Control-Allow-Origin` says to this request, if its origin is let in.
    fn answer_to(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN).filter(|origin| self.allows(origin))?;
        Some(if self.0 == Origins::Any { HeaderValue::from_static("*") } else { origin.clone() })
    }
}

impl Reading {
    /// Marks a response.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed == origin,
        Some((start, end)) => {
            origin.len() >= start.len() + end.len() && origin.starts_with(start) && origin.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().method(method).uri("/v1.0/metadata");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_origin_is_let_in_when_it_is_named() {
        for (allowed, origin, let_in) in [
            ("*", "https://a.example", true),
            ("*", "", false),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "HTTPS://A.example", true),
            ("https://a.example", "https://b.example", false),
            ("https://a.example,https://b.example", "https://b.example", true),
            ("https://*.example", "https://a.example", true),
            ("https://*.example", "https://a.example.evil", false),
            ("https://a*a.example", "https://a.example", false),
        ] {
            let origin_value = HeaderValue::try_from(origin).unwrap();
            assert_eq!(Cors::parse(allowed).unwrap().allows(&origin_value), let_in, "{allowed} {origin}");
        }
        assert_eq!(Cors::parse(""), None);
    }

    #[test]
    fn a_preflight_is_answered_with_what_was_asked_for() {
        let cors = Cors::parse("https://a.example").unwrap();
        let asked = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "put"),
            ("access-control-request-headers", "x-one, x-two"),
        ];
        let answer = cors.preflight(&head("OPTIONS", &asked)).unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example");
        assert_eq!(answer.headers()["access-control-allow-methods"], "PUT");
        assert_eq!(answer.headers()["access-control-allow-headers"], "x-one, x-two");
        assert_eq!(answer.headers().get_all("vary").iter().count(), 3);
        for refused in [
            [("origin", "https://b.example"), ("access-control-request-method", "PUT")],
            [("origin", "https://a.example"), ("access-control-request-method", "BREW")],
        ] {
            let answer = cors.preflight(&head("OPTIONS", &refused)).unwrap();
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{refused:?}");
        }
        assert!(cors.preflight(&head("OPTIONS", &[("origin", "https://a.example")])).is_none());
        assert!(cors.preflight(&head("GET", &asked)).is_none());
    }
}
