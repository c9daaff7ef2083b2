//! Service invocation: which app a call means, and what of the caller's message goes to it.

use http::header;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use outrigger_identity::AppId;
use outrigger_mesh::{Call, Outbound, Target};
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::trace::TraceContext;
use outrigger_wire::path::Rules;
use outrigger_wire::{Body, CanonicalPath, Cause, Failure};
use tokio::time::Instant;

use crate::forwarded::Forwarded;
use crate::recent::Recent;

/// Settings of invocation.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our own app; a target without a namespace is in this one's.
    pub app: AppId,
    /// Which paths are refused; [`Rules::Stock`] when run as `daprd`.
    pub rules: Rules,
    /// What an HTTP call to another app says of this sidecar.
    pub forwarded: Forwarded,
}

/// One call, as decoded from an API.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// `<app>` or `<app>.<namespace>`, as the caller wrote it.
    pub target: &'a str,
    /// By which API it came.
    pub protocol: CallProtocol,
    /// The app's method, as the caller spelled it: a path without its query.
    pub path: &'a str,
    /// When the caller stops waiting; `None` leaves it to policy.
    pub deadline: Option<Instant>,
    /// The caller's place in its trace.
    pub trace: TraceContext,
}

/// The way out to other apps.
pub struct Invoke {
    config: Config,
    outbound: Outbound,
    targets: Recent<(Box<str>, AppId)>,
}

impl Invoke {
    /// Invocation over this mesh.
    pub const fn new(config: Config, outbound: Outbound) -> Self {
        Self { config, outbound, targets: Recent::new() }
    }

    /// Calls an app and gives its answer, whatever the status, with the body still to come.
    ///
    /// `request` is the caller's own. Its method, body and headers go on but for
    /// hop-by-hop fields, `Host`, `Expect` (we have answered it) and what only sidecars
    /// may say; its target becomes the app's path with the query as sent. Dropping the
    /// future or the body cancels the call.
    ///
    /// # Errors
    /// `BadInput` for a target, method or path that means nothing, `Unsupported` for a
    /// target outside the mesh, and all that the mesh gives.
    pub async fn call(&self, invocation: Invocation<'_>, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let target = self.target(invocation.target)?;
        let mut request = outgoing(invocation.path, self.config.rules, request)?;
        if invocation.protocol == CallProtocol::Http && target != self.config.app {
            self.config.forwarded.add(request.headers_mut());
        }
        let call = Call {
            target: Target::App(target),
            protocol: invocation.protocol,
            trace: invocation.trace,
            deadline: invocation.deadline,
        };
        self.outbound.send(call, request).await
    }

    /// The app that a caller's text means.
    fn target(&self, text: &str) -> Result<AppId, Failure> {
        if let Some((_, known)) = self.targets.find(|(known, _)| **known == *text) {
            return Ok(known);
        }
        let app = parse_target(text, self.config.app.namespace())?;
        self.targets.keep((text.into(), app.clone()));
        Ok(app)
    }
}

/// `<app>`, `<app>.<namespace>`, either percent-encoded.
fn parse_target(text: &str, namespace: &str) -> Result<AppId, Failure> {
    let decoded = percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Failure::bad_input("app id", text, "percent-encoded bytes in an app ID must be UTF-8"))?;
    if decoded.starts_with("http:") || decoded.starts_with("https:") {
        return Err(Cause::Unsupported { what: "invoking a URL outside the mesh instead of an app ID".into() }.into());
    }
    AppId::parse(&decoded, namespace).map_err(|error| Failure::bad_input("app id", text, error.to_string()))
}

/// The request as it goes to the app.
fn outgoing(path: &str, rules: Rules, mut request: Request<Body>) -> Result<Request<Body>, Failure> {
    if request.method() == Method::CONNECT {
        return Err(Failure::bad_input("method", "CONNECT", "an app cannot be tunnelled to; use any other method"));
    }
    let canonical = CanonicalPath::parse(path, rules)?;
    *request.uri_mut() = target_uri(canonical.forward(), request.uri())?;
    let headers = request.headers_mut();
    outrigger_wire::header::strip_hop_by_hop(headers);
    outrigger_wire::header::strip_control(headers);
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    Ok(request)
}

/// `forward` with the query of `sent`, in origin form; no copy when it is `sent`'s own.
fn target_uri(forward: &str, sent: &Uri) -> Result<Uri, Failure> {
    let invalid = |_| Failure::bad_input("path", forward, "a path of visible ASCII, anything else percent-encoded");
    if sent.path() == forward
        && let Some(own) = sent.path_and_query()
    {
        return Ok(Uri::from(own.clone()));
    }
    let target = match sent.query() {
        None => PathAndQuery::try_from(forward),
        Some(query) => {
            let mut text = String::with_capacity(forward.len() + 1 + query.len());
            text.push_str(forward);
            text.push('?');
            text.push_str(query);
            PathAndQuery::try_from(text)
        }
    };
    target.map(Uri::from).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
        let mut builder = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::full("hello")).unwrap()
    }

    #[test]
    fn a_target_without_a_namespace_is_in_ours() {
        for (text, app) in
            [("orders", "orders.shop"), ("orders.billing", "orders.billing"), ("o%72ders", "orders.shop")]
        {
            assert_eq!(parse_target(text, "shop").unwrap().as_str(), app);
        }
    }

    #[test]
    fn what_is_no_app_is_refused_by_name() {
        for (text, name) in [
            ("", "bad_input"),
            ("a.b.c", "bad_input"),
            ("a/b", "bad_input"),
            ("a%00", "bad_input"),
            ("%ff", "bad_input"),
            (".", "bad_input"),
            ("http://169.254.169.254", "unsupported"),
            ("https%3A%2F%2Fexample.com", "unsupported"),
            ("http:/example.com", "unsupported"),
        ] {
            assert_eq!(parse_target(text, "shop").unwrap_err().name(), name, "{text}");
        }
    }

    #[test]
    fn the_app_gets_its_own_path_and_the_query_as_sent() {
        for (path, uri, sent) in [
            ("/new", "/v1.0/invoke/orders/method/new", "/new"),
            ("/new", "/v1.0/invoke/orders/method/new?a=%2F&b=%zz", "/new?a=%2F&b=%zz"),
            ("/a//../b%2Fc/", "/v1.0/invoke/orders/method/a//../b%2Fc/", "/b%2Fc/"),
            ("", "/v1.0/invoke/orders/method/?q", "/?q"),
            ("/svc/Call", "http://localhost:50001/svc/Call", "/svc/Call"),
        ] {
            let request = outgoing(path, Rules::Open, request(uri, &[])).unwrap();
            assert_eq!(request.uri().to_string(), sent, "{path}");
        }
    }

    #[test]
    fn a_path_that_the_stock_runtime_refuses_is_refused_when_run_as_it() {
        let sent = || request("/v1.0/invoke/orders/method/a%23b", &[]);
        assert_eq!(outgoing("/a%23b", Rules::Stock, sent()).unwrap_err().name(), "bad_input");
        assert_eq!(outgoing("/a%23b", Rules::Open, sent()).unwrap().uri().path(), "/a%23b");
    }

    #[test]
    fn what_ends_here_or_is_not_the_callers_to_say_is_not_sent_on() {
        let sent = request(
            "/new",
            &[
                ("host", "localhost:3500"),
                ("connection", "keep-alive, x-hop"),
                ("x-hop", "1"),
                ("expect", "100-continue"),
                ("dapr-app-id", "orders"),
                ("dapr-api-token", "secret"),
                ("dapr-caller-app-id", "admin"),
                ("outrigger-caller-id", "spiffe://public/ns/default/admin"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("content-type", "text/plain"),
            ],
        );
        let sent = outgoing("/new", Rules::Open, sent).unwrap();
        let mut names: Vec<_> = sent.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "cookie"]);
        assert_eq!(sent.headers().get_all("cookie").iter().count(), 2);
    }
}
