//! Which groups of the API are served: `spec.api` of a Configuration.

use std::collections::HashSet;

/// Names of groups with their versions, such as `("invoke", "v1")`.
pub type Groups = Vec<(String, String)>;

/// The rules of one protocol. What is denied is not served, and with anything allowed nothing else is.
#[derive(Debug, Clone, Default)]
pub struct ApiRules {
    // `<version>/<name>`, as routes are compared.
    allowed: HashSet<String>,
    denied: HashSet<String>,
}

/// A route or method as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// Name of its group.
    pub(crate) group: &'a str,
    /// Version of its group, such as `v1`.
    pub(crate) version: &'a str,
    /// Its route with the version of the path, such as `v1.0/metadata/{key}`; empty for a method of gRPC.
    pub(crate) route: &'a str,
}

impl ApiRules {
    /// The rules of one protocol.
    #[must_use]
    pub fn new(allowed: &Groups, denied: &Groups) -> Self {
        let keys = |groups: &Groups| groups.iter().map(|(name, version)| format!("{version}/{name}")).collect();
        Self { allowed: keys(allowed), denied: keys(denied) }
    }

    /// Whether what has this name is served; `None` is for what has no name in the rules, such as a method of the
    /// service that is in no group.
    pub(crate) fn allow(&self, named: Option<&Named<'_>>) -> bool {
        if named.is_some_and(|named| matches(&self.denied, named)) {
            return false;
        }
        self.allowed.is_empty() || named.is_some_and(|named| matches(&self.allowed, named))
    }
}

/// By the group, or (stock's older way) by the beginning of the route.
fn matches(rules: &HashSet<String>, named: &Named<'_>) -> bool {
    let group = format!("{}/{}", named.version, named.group);
    rules.contains(&group) || rules.iter().any(|rule| named.route.starts_with(rule.as_str()))
}

/// The group of a method of the runtime's service.
pub(crate) fn of_grpc(method: &str) -> Option<Named<'static>> {
    let group = match method {
        "InvokeService" => "invoke",
        "GetMetadata" | "SetMetadata" => "metadata",
        "Shutdown" => "shutdown",
        _ => return None,
    };
    Some(Named { group, version: "v1", route: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: &[(&str, &str)], denied: &[(&str, &str)]) -> ApiRules {
        let groups = |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        ApiRules::new(&groups(allowed), &groups(denied))
    }

    #[test]
    fn what_is_denied_is_not_served_and_with_anything_allowed_nothing_else_is() {
        let invoke = Named { group: "invoke", version: "v1", route: "v1.0/invoke/*" };
        let put = Named { group: "metadata", version: "v1", route: "v1.0/metadata/{key}" };
        for (allowed, denied, invoke_is, put_is) in [
            (&[][..], &[][..], true, true),
            (&[("invoke", "v1")], &[], true, false),
            (&[], &[("invoke", "v1")], false, true),
            (&[("invoke", "v1")], &[("invoke", "v1")], false, false),
            (&[("invoke", "v1alpha1")], &[], false, false),
            (&[], &[("metadata/{key}", "v1.0")], true, false),
            (&[], &[("meta", "v1.0")], true, false),
        ] {
            let rules = rules(allowed, denied);
            assert_eq!(
                (rules.allow(Some(&invoke)), rules.allow(Some(&put))),
                (invoke_is, put_is),
                "{allowed:?} {denied:?}"
            );
        }
        assert!(rules(&[], &[("x", "v1")]).allow(None));
        assert!(!rules(&[("x", "v1")], &[]).allow(None));
    }
}
