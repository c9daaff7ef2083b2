//! Which API a request means: matched by hand over the path as sent.

use ::http::Method;

use crate::rules::{ApiRules, Named};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `GET /v1.0/healthz`
    Healthz,
    /// `GET /v1.0/healthz/outbound`
    HealthzOutbound,
    /// `GET /v1.0/metadata`
    GetMetadata,
    /// `PUT /v1.0/metadata/{key}`; the key as sent.
    PutMetadata { key: &'a str },
    /// `POST /v1.0/shutdown`
    Shutdown,
    /// Any verb on `/v1.0/invoke/<app>/method/<path>`, or anywhere with `dapr-app-id`.
    Invoke { target: &'a str, path: &'a str },
    /// An API of the stock runtime that is not here.
    Unimplemented { api: &'a str },
    /// None, and no app to pass it on to.
    Unknown,
}

/// APIs of the stock runtime that this build does not have: the segment after the version.
const UNIMPLEMENTED: [&str; 14] = [
    "actors",
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "jobs",
    "lock",
    "publish",
    "secrets",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];

impl<'a> Route<'a> {
    /// The route of a request. `app_id` is the header `dapr-app-id`, which names the app
    /// to call on any path that is no API's own, and goes before the path's.
    pub(super) fn of(method: &Method, path: &'a str, app_id: Option<&'a str>) -> Self {
        if let Some(own) = Self::own(method, path) {
            return own;
        }
        match app_id {
            Some(target) if !target.is_empty() => Self::Invoke { target, path },
            _ => Self::invoke(path).unwrap_or(Self::Unknown),
        }
    }

    /// This route, if the rules let it be served; else what the path means where the API does not exist. Health checks
    /// always are.
    pub(super) fn within(self, rules: &ApiRules, path: &'a str, app_id: Option<&'a str>) -> Self {
        let allowed = |route: &Self| match route {
            Self::Healthz | Self::HealthzOutbound | Self::Unknown => true,
            _ => rules.allow(route.named(path).as_ref()),
        };
        if allowed(&self) {
            return self;
        }
        match app_id {
            Some(target) if !target.is_empty() => {
                let fallback = Self::Invoke { target, path };
                if allowed(&fallback) { fallback } else { Self::Unknown }
            }
            _ => Self::Unknown,
        }
    }

    /// What rules call it.
    fn named(&self, path: &'a str) -> Option<Named<'a>> {
        let (group, route) = match self {
            Self::Healthz | Self::HealthzOutbound | Self::Unknown => return None,
            Self::GetMetadata => ("metadata", "v1.0/metadata"),
            Self::PutMetadata { .. } => ("metadata", "v1.0/metadata/{key}"),
            Self::Shutdown => ("shutdown", "v1.0/shutdown"),
            Self::Invoke { .. } => ("invoke", "v1.0/invoke/*"),
            Self::Unimplemented { api } => (*api, path.trim_start_matches('/')),
        };
        let version = match segment(path) {
            Some(("v1.0-alpha1", _)) => "v1alpha1",
            Some(("v1.0-beta1", _)) => "v1beta1",
            _ => "v1",
        };
        let version = if matches!(self, Self::Unimplemented { .. }) { version } else { "v1" };
        Some(Named { group, version, route })
    }

    /// The name that metrics know the endpoint by.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Healthz => "Healthz",
            Self::HealthzOutbound => "HealthzOutbound",
            Self::GetMetadata => "GetMetadata",
            Self::PutMetadata { .. } => "PutMetadata",
            Self::Shutdown => "Shutdown",
            Self::Invoke { .. } => "InvokeService",
            Self::Unimplemented { .. } => "Unimplemented",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether it is one of the health checks, which need no token and leave no trace.
    pub(super) const fn is_health(&self) -> bool {
        matches!(self, Self::Healthz | Self::HealthzOutbound)
    }

    fn own(method: &Method, path: &'a str) -> Option<Self> {
        let (version, rest) = segment(path)?;
        if !version.starts_with("v1.0") {
            return None;
        }
        let (api, rest) = segment(rest)?;
        if UNIMPLEMENTED.contains(&api) {
            return Some(Self::Unimplemented { api });
        }
        if version != "v1.0" {
            return None;
        }
        let more = segment(rest);
        match (method, api, more) {
            (&Method::GET, "healthz", None) => Some(Self::Healthz),
            (&Method::GET, "healthz", Some(("outbound", rest))) if segment(rest).is_none() => {
                Some(Self::HealthzOutbound)
            }
            (&Method::GET, "metadata", None) => Some(Self::GetMetadata),
            (&Method::PUT, "metadata", Some((key, rest))) if segment(rest).is_none() => Some(Self::PutMetadata { key }),
            (&Method::POST, "shutdown", None) => Some(Self::Shutdown),
            _ => None,
        }
    }

    fn invoke(path: &'a str) -> Option<Self> {
        let ("v1.0", rest) = segment(path)? else { return None };
        let ("invoke", rest) = segment(rest)? else { return None };
        let rest = rest.trim_start_matches('/');
        let at = rest.find("/method/").filter(|at| *at > 0)?;
        let path = rest.get(at + "/method".len()..)?;
        Some(Self::Invoke { target: rest.get(..at)?, path })
    }
}

/// The first segment of a path and what follows it; repeated slashes are one.
fn segment(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return None;
    }
    Some(path.find('/').map_or((path, ""), |end| path.split_at(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoke<'a>(target: &'a str, path: &'a str) -> Route<'a> {
        Route::Invoke { target, path }
    }

    #[test]
    fn what_the_rules_close_is_what_the_path_means_without_the_api() {
        let groups = |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let rules = ApiRules::new(&groups(&[("invoke", "v1"), ("state", "v1")]), &groups(&[("shutdown", "v1")]));
        for (request, app_id, route) in [
            ("GET /v1.0/healthz", None, Route::Healthz),
            ("GET /v1.0/metadata", None, Route::Unknown),
            ("POST /v1.0/shutdown", None, Route::Unknown),
            ("POST /v1.0/shutdown", Some("orders"), invoke("orders", "/v1.0/shutdown")),
            ("GET /v1.0/invoke/orders/method/x", None, invoke("orders", "/x")),
            ("GET /v1.0/state/store/key", None, Route::Unimplemented { api: "state" }),
            ("GET /v1.0-alpha1/state/store/query", None, Route::Unknown),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let within = Route::of(&method, path, app_id).within(&rules, path, app_id);
            assert_eq!(within, route, "{request} {app_id:?}");
        }
        let closed = ApiRules::new(&groups(&[]), &groups(&[("invoke", "v1")]));
        assert_eq!(Route::of(&Method::GET, "/x", Some("a")).within(&closed, "/x", Some("a")), Route::Unknown);
    }

    #[test]
    fn a_request_means_one_api() {
        for (request, app_id, route) in [
            ("GET /v1.0/healthz", None, Route::Healthz),
            ("GET /v1.0/healthz/", None, Route::Healthz),
            ("GET //v1.0//healthz", None, Route::Healthz),
            ("GET /v1.0/healthz", Some("orders"), Route::Healthz),
            ("GET /v1.0/healthz/outbound", None, Route::HealthzOutbound),
            ("GET /v1.0/healthz/outbound/x", None, Route::Unknown),
            ("POST /v1.0/healthz", None, Route::Unknown),
            ("GET /v1.0/metadata", None, Route::GetMetadata),
            ("PUT /v1.0/metadata/appPID", None, Route::PutMetadata { key: "appPID" }),
            ("PUT /v1.0/metadata/a/b", None, Route::Unknown),
            ("POST /v1.0/shutdown", None, Route::Shutdown),
            ("GET /v1.0/shutdown", None, Route::Unknown),
            ("GET /v1.0/invoke/orders/method/new", None, invoke("orders", "/new")),
            ("BREW /v1.0/invoke/orders.shop/method/a/method/b", None, invoke("orders.shop", "/a/method/b")),
            ("GET /v1.0/invoke/orders/method/", None, invoke("orders", "/")),
            ("GET //v1.0//invoke//orders/method//x", None, invoke("orders", "//x")),
            ("GET /v1.0/invoke/http://x/method/y", None, invoke("http://x", "/y")),
            ("GET /v1.0/invoke/orders/method", None, Route::Unknown),
            ("GET /v1.0/invoke//method/x", None, Route::Unknown),
            ("GET /v1.0-alpha1/invoke/orders/method/x", None, Route::Unknown),
            ("GET /any/path", Some("orders"), invoke("orders", "/any/path")),
            ("POST /v1.0/healthz", Some("orders"), invoke("orders", "/v1.0/healthz")),
            ("GET /v1.0/invoke/a/method/x", Some("b"), invoke("b", "/v1.0/invoke/a/method/x")),
            ("GET /v1.0/invoke/a/method/x", Some(""), invoke("a", "/x")),
            ("GET /any/path", None, Route::Unknown),
            ("GET /", None, Route::Unknown),
            ("OPTIONS *", None, Route::Unknown),
            ("POST /v1.0/publish/pubsub/topic", None, Route::Unimplemented { api: "publish" }),
            ("POST /v1.0-alpha1/lock/store", Some("orders"), Route::Unimplemented { api: "lock" }),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Route::of(&method, path, app_id), route, "{request} {app_id:?}");
        }
    }
}
