//! What an HTTP request's path is called in metrics: `spec.metrics.http`.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Paths of the app that are their own label, whatever was asked for.
const STATIC: [&str; 4] = ["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"];

/// How paths become labels.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    patterns: Option<Node>,
    otherwise: Otherwise,
}

/// The label of a path that no pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// The name of the endpoint (`InvokeService`): ours, when nothing else was asked for.
    #[default]
    Endpoint,
    /// Nothing: stock's `increasedCardinality: false`.
    Nothing,
    /// The path itself, without keys and IDs where it has some: `increasedCardinality: true`.
    Path,
}

/// Why a pattern of `pathMatching` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} {reason}")]
pub struct PatternError {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What all patterns with the same beginning share, one segment a node.
#[derive(Debug, Clone, Default)]
struct Node {
    literal: BTreeMap<Box<str>, Node>,
    one: Option<Box<Node>>,
    many: Option<Leaf>,
    pattern: Option<Leaf>,
}

#[derive(Debug, Clone)]
struct Leaf {
    pattern: Box<str>,
    segments: usize,
    many: bool,
}

impl Paths {
    /// Labels by `patterns`, which are read as Go's `ServeMux` reads them: `/orders/{id}`, `/files/{path...}`, `/exact/{$}`, and
    /// `/below/` for everything below. A pattern that is no invocation counts for invocations of every app as well, as in stock.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn new(patterns: &[String], otherwise: Otherwise) -> Result<Self, PatternError> {
        let mut root = Node::default();
        for pattern in patterns {
            let path = merged(pattern);
            root.add(&path).map_err(|reason| PatternError { pattern: pattern.clone(), reason })?;
            if !path.starts_with("/v1.0/invoke/") {
                let invoked = format!("/v1.0/invoke/{{app_id}}/method{path}");
                root.add(&invoked).map_err(|reason| PatternError { pattern: pattern.clone(), reason })?;
            }
        }
        Ok(Self { patterns: (!patterns.is_empty()).then_some(root), otherwise })
    }

    /// Whether stock would keep `dapr_http_server_response_count`.
    pub(super) fn counts_responses(&self) -> bool {
        self.otherwise != Otherwise::Nothing
    }

    /// The label of a path as it was sent, of the endpoint that has this name.
    pub(crate) fn label(&self, path: &str, endpoint: &'static str) -> Cow<'static, str> {
        if STATIC.contains(&path) {
            return path.to_owned().into();
        }
        if let Some(patterns) = &self.patterns {
            let path = merged(path);
            if let Some(pattern) = patterns.find(&path) {
                return pattern.to_owned().into();
            }
            let short = without_keys(&path);
            if let Some(pattern) = patterns.find(&short).filter(|pattern| *pattern != "/") {
                return pattern.to_owned().into();
            }
        }
        match self.otherwise {
            Otherwise::Endpoint => endpoint.into(),
            Otherwise::Nothing => "".into(),
            Otherwise::Path => without_keys(&merged(path)).into_owned().into(),
        }
    }
}

impl Node {
    fn add(&mut self, pattern: &str) -> Result<(), &'static str> {
        let mut names = Vec::new();
        let segments: Vec<&str> = pattern.split('/').skip(1).collect();
        let leaf = |many| Leaf { pattern: pattern.into(), segments: segments.len(), many };
        let mut node = self;
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            if segment.is_empty() {
                // Only the last can be: repeated slashes are merged.
                node.many = Some(leaf(true));
                return Ok(());
            }
            let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                if segment.contains(['{', '}']) {
                    return Err("has a wildcard that is not a whole segment");
                }
                node = node.literal.entry((*segment).into()).or_default();
                continue;
            };
            if inner == "$" {
                if !last {
                    return Err("has {$} before its end");
                }
                node = node.literal.entry("/".into()).or_default();
                continue;
            }
            let (name, many) = inner.strip_suffix("...").map_or((inner, false), |name| (name, true));
            if !is_identifier(name) {
                return Err("has a wildcard whose name is no word");
            }
            if names.contains(&name) {
                return Err("has two wildcards of one name");
            }
            names.push(name);
            if many {
                if !last {
                    return Err("has {name...} before its end");
                }
                node.many = Some(leaf(true));
                return Ok(());
            }
            node = node.one.get_or_insert_default();
        }
        node.pattern = Some(leaf(false));
        Ok(())
    }

    /// The pattern of a path. As in Go a path without its last slash finds the pattern that is there with it.
    fn find(&self, path: &str) -> Option<&str> {
        let path = cleaned(path);
        let found = self.walk(&path);
        if !found.is_some_and(|leaf| leaf.is_exact(&path)) && !path.ends_with('/') {
            let below = format!("{path}/");
            if let Some(leaf) = self.walk(&below).filter(|leaf| leaf.is_exact(&below)) {
                return Some(&leaf.pattern);
            }
        }
        found.map(|leaf| &*leaf.pattern)
    }

    /// A literal goes before `{name}`, and that before what takes the rest.
    fn walk(&self, path: &str) -> Option<&Leaf> {
        if path.is_empty() {
            return self.pattern.as_ref();
        }
        let (segment, rest) = if path == "/" {
            ("/", "")
        } else {
            let path = path.strip_prefix('/').unwrap_or(path);
            path.find('/').map_or((path, ""), |at| path.split_at(at))
        };
        let literal = self.literal.get(segment).and_then(|node| node.walk(rest));
        let one = || self.one.as_ref().filter(|_| segment != "/").and_then(|node| node.walk(rest));
        literal.or_else(one).or(self.many.as_ref())
    }
}

impl Leaf {
    fn is_exact(&self, path: &str) -> bool {
        !self.many || (path.ends_with('/') && self.segments == path.matches('/').count())
    }
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_') && name.chars().next().is_some_and(|c| !c.is_numeric())
}

/// The path with a slash at its beginning and none beside another.
fn merged(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') && !path.contains("//") {
        return path.into();
    }
    let mut merged = String::with_capacity(path.len() + 1);
    for c in std::iter::once('/').chain(path.chars()) {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged.into()
}

/// A merged path without `.` and `..`.
fn cleaned(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return path.into();
    }
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." | "" => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/")).into()
}

/// Stock's shorter form of a merged path: no keys of state and secrets, no IDs of actors and workflows.
fn without_keys(path: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = path.trim_start_matches('/').splitn(6, '/').collect();
    match *parts.as_slice() {
        ["actors", kind, _, ref rest @ ..] => join("actors", &[&[kind, "{id}"], rest]).into(),
        [version, api @ ("state" | "secrets"), name, ..] => format!("/{version}/{api}/{name}").into(),
        [version, "actors", kind, _, what, ..] => format!("/{version}/actors/{kind}/{{id}}/{what}").into(),
        [version, "workflows", component, _] => format!("/{version}/workflows/{component}/{{instanceId}}").into(),
        [version, "workflows", component, name, start] if start.starts_with("start") => {
            format!("/{version}/workflows/{component}/{name}/start").into()
        }
        [version, "workflows", component, _, "raiseEvent", event] if !event.is_empty() => {
            format!("/{version}/workflows/{component}/{{instanceId}}/raiseEvent/{{eventName}}").into()
        }
        [version, "workflows", component, _, what, ..] => {
            format!("/{version}/workflows/{component}/{{instanceId}}/{what}").into()
        }
        _ => path.into(),
    }
}

fn join(first: &str, rest: &[&[&str]]) -> String {
    let mut path = first.to_owned();
    for part in rest.iter().copied().flatten() {
        path.push('/');
        path.push_str(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(patterns: &[&str], otherwise: Otherwise) -> Paths {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Paths::new(&patterns, otherwise).unwrap()
    }

    #[test]
    fn the_most_specific_pattern_names_a_path() {
        let paths = paths(
            &[
                "/v1.0/invoke/shop/method/orders/1234",
                "/v1.0/invoke/shop/method/orders/{id}",
                "/items/{id}",
                "/files/{path...}",
                "/below/",
                "/exact/{$}",
            ],
            Otherwise::Nothing,
        );
        for (path, label) in [
            ("/v1.0/invoke/shop/method/orders/1234", "/v1.0/invoke/shop/method/orders/1234"),
            ("//v1.0/invoke//shop/method/orders/9", "/v1.0/invoke/shop/method/orders/{id}"),
            ("/v1.0/invoke/shop/method/orders/9/lines", ""),
            ("/items/7", "/items/{id}"),
            ("/items/", ""),
            ("/v1.0/invoke/any/method/items/7", "/v1.0/invoke/{app_id}/method/items/{id}"),
            ("/files/a/b/c", "/files/{path...}"),
            ("/below/x/y", "/below/"),
            ("/below", "/below/"),
            ("/exact/", "/exact/{$}"),
            ("/exact/x", ""),
            ("/items/x/../7", "/items/{id}"),
        ] {
            assert_eq!(paths.label(path, "InvokeService"), label, "{path}");
        }
    }

    #[test]
    fn a_literal_that_leads_nowhere_leaves_the_way_to_a_wildcard() {
        let paths = paths(&["/a/b/c", "/{x}/b/d"], Otherwise::Nothing);
        assert_eq!(paths.label("/a/b/d", ""), "/{x}/b/d");
    }

    #[test]
    fn a_path_without_a_pattern_is_named_as_was_asked_for() {
        for (otherwise, label) in [
            (Otherwise::Endpoint, "InvokeService"),
            (Otherwise::Nothing, ""),
            (Otherwise::Path, "/v1.0/invoke/shop/method/x"),
        ] {
            assert_eq!(paths(&["/y"], otherwise).label("/v1.0/invoke/shop/method/x", "InvokeService"), label);
            assert_eq!(paths(&[], otherwise).label("/v1.0/invoke/shop/method/x", "InvokeService"), label);
        }
    }

    #[test]
    fn keys_and_ids_are_no_labels() {
        let paths = paths(&[], Otherwise::Path);
        for (path, label) in [
            ("/v1.0/state/store/key", "/v1.0/state/store"),
            ("/v1.0/state/store", "/v1.0/state/store"),
            ("/v1.0/secrets/vault/a/b", "/v1.0/secrets/vault"),
            ("/v1.0/actors/kind/7/method/m", "/v1.0/actors/kind/{id}/method"),
            ("/actors/kind/7/method/m", "actors/kind/{id}/method/m"),
            ("/v1.0/workflows/dapr/7", "/v1.0/workflows/dapr/{instanceId}"),
            ("/v1.0/workflows/dapr/order/start", "/v1.0/workflows/dapr/order/start"),
            ("/v1.0/workflows/dapr/7/raiseEvent/paid", "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}"),
            ("/v1.0/workflows/dapr/7/pause", "/v1.0/workflows/dapr/{instanceId}/pause"),
            ("//v1.0//healthz", "/v1.0/healthz"),
        ] {
            assert_eq!(paths.label(path, ""), label, "{path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["/a{b}", "/{a}/{a}", "/{a...}/b", "/{$}/b", "/{}", "/{1}"] {
            assert!(Paths::new(&[pattern.to_owned()], Otherwise::Nothing).is_err(), "{pattern}");
        }
    }
}
