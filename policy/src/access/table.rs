//! Access control as a table: what Dapr decides is what is decided here.

use outrigger_identity::SpiffeId;

use super::Action::{Allow, Deny};
use super::CallProtocol::{Grpc, Http};
use super::*;

pub(super) fn operation(name: &str, verbs: &[&str], action: Action) -> OperationSpec {
    OperationSpec { name: name.to_owned(), verbs: Verbs::parse(verbs).unwrap(), action }
}

pub(super) fn app(
    app_id: &str,
    namespace: &str,
    trust_domain: &str,
    default_action: Option<Action>,
    operations: Vec<OperationSpec>,
) -> AppPolicySpec {
    AppPolicySpec {
        app_id: app_id.to_owned(),
        namespace: namespace.to_owned(),
        trust_domain: trust_domain.to_owned(),
        default_action,
        operations,
    }
}

pub(super) fn spec(default_action: Option<Action>, policies: Vec<AppPolicySpec>) -> AccessControlSpec {
    AccessControlSpec { name: "acl".to_owned(), default_action, policies }
}

pub(super) fn caller(id: &str) -> Option<SpiffeId> {
    (!id.is_empty()).then(|| SpiffeId::parse(id).unwrap())
}

pub(super) fn decide(access: &AccessControl, from: &str, protocol: CallProtocol, verb: &str, path: &str) -> Decision {
    access.decide(&AccessRequest { caller: caller(from).as_ref(), protocol, verb, operation: path })
}

const APP1: &str = "spiffe://public/ns/ns1/app1";
const APP2: &str = "spiffe://domain1/ns/ns2/app2";
const APP3: &str = "spiffe://domain1/ns/ns1/app3";
const APP4: &str = "spiffe://domain1/ns/ns2/app4";
const APP1_NS4: &str = "spiffe://public/ns/ns4/app1";
const APP5: &str = "spiffe://public/ns/default/app5";

/// Policies that use every feature.
fn policies() -> AccessControl {
    AccessControl::new(spec(
        Some(Deny),
        vec![
            app(
                "app1",
                "ns1",
                "public",
                Some(Allow),
                vec![operation("/op1", &["POST", "GET"], Allow), operation("/op2", &["*"], Deny)],
            ),
            app(
                "app2",
                "ns2",
                "domain1",
                Some(Deny),
                vec![operation("/op3/a/*", &["PUT", "GET"], Allow), operation("op4", &["POST"], Allow)],
            ),
            app("app3", "ns1", "domain1", None, vec![operation("/op5", &["POST"], Allow)]),
            app(
                "app4",
                "ns2",
                "domain1",
                Some(Deny),
                vec![
                    operation("/op6", &[], Allow),
                    operation("/op7/a/b/*", &[], Allow),
                    operation("/op7/a/b/c/f", &[], Allow),
                    operation("/op7/a/b*", &[], Allow),
                    operation("/op7/c/**", &[], Allow),
                ],
            ),
            app("app1", "ns4", "public", Some(Allow), vec![operation("/op6", &["*"], Allow)]),
            app(
                "app5",
                "default",
                "public",
                Some(Allow),
                vec![
                    operation("/Admin", &["*"], Deny),
                    operation("/one/*", &["*"], Deny),
                    operation("/many/**", &["GET", "POST"], Deny),
                    operation("/mid/*/x", &["*"], Deny),
                    operation("/mid2/**/x", &["*"], Deny),
                    operation("/pre*fix", &["*"], Deny),
                    operation("/first*", &["*"], Allow),
                    operation("/first/second", &["*"], Deny),
                    operation("/deep", &[], Deny),
                    operation("/deep/er", &["*"], Deny),
                    operation("/", &["*"], Deny),
                    operation("/中", &["*"], Deny),
                    operation("/with space", &["*"], Deny),
                ],
            ),
        ],
    ))
}

#[test]
fn what_each_call_is_decided_to_be_and_by_which_policy() {
    let access = policies();
    let app1 = "acl: app1.ns1";
    let app2 = "acl: app2.ns2";
    let app5 = "acl: app5.default";
    let default = "acl (default)";
    let rows = [
        // Who is known, and who is not.
        ("", Http, "POST", "/op1", Deny, default.to_owned()),
        ("spiffe://public/ns/ns1/appx", Http, "POST", "/op1", Deny, default.to_owned()),
        ("spiffe://private/ns/ns1/app1", Http, "POST", "/op1", Deny, default.to_owned()),
        ("spiffe://public/ns/abcd/app1", Http, "POST", "/op1", Deny, default.to_owned()),
        ("spiffe://public/ns/ns1/sa/app1", Http, "POST", "/op1", Deny, "acl (caller is no app)".to_owned()),
        ("spiffe://public/ns/ns1/app1/x", Http, "POST", "/op1", Deny, "acl (caller is no app)".to_owned()),
        ("spiffe://public/app1", Http, "POST", "/op1", Deny, "acl (caller is no app)".to_owned()),
        (APP1, Http, "POST", "/op1", Allow, format!("{app1} /op1")),
        // Operations and verbs of one app; the default of the app; letter case.
        (APP1, Http, "GET", "/op1", Allow, format!("{app1} /op1")),
        (APP1, Http, "PUT", "/op1", Allow, format!("{app1} (default)")),
        (APP1, Http, "POST", "/opX", Allow, format!("{app1} (default)")),
        (APP1, Http, "POST", "op1", Allow, format!("{app1} /op1")),
        (APP1, Http, "POST", "/Op2", Deny, format!("{app1} /op2")),
        (APP1, Http, "PUT", "/op2", Deny, format!("{app1} /op2")),
        (APP1, Http, "post", "/op2", Deny, format!("{app1} /op2")),
        (APP1, Grpc, "", "/op2", Deny, format!("{app1} /op2")),
        (APP1, Grpc, "", "/Op2", Allow, format!("{app1} (default)")),
        (APP2, Http, "PUT", "/op4", Deny, format!("{app2} (default)")),
        (APP2, Http, "POST", "/op4", Allow, format!("{app2} op4")),
        (APP2, Http, "post", "/op4", Allow, format!("{app2} op4")),
        (APP2, Http, "PURGE", "/op4", Deny, format!("{app2} (default)")),
        (APP2, Http, "", "/op4", Deny, format!("{app2} (default)")),
        (APP2, Grpc, "", "/op4", Allow, format!("{app2} op4")),
        (APP2, Grpc, "", "/OP4", Deny, format!("{app2} (default)")),
        (APP2, Grpc, "POST", "/op4", Allow, format!("{app2} op4")),
        // `/*` at the end: one more segment, or none.
        (APP2, Http, "PUT", "/op3/a", Allow, format!("{app2} /op3/a/*")),
        (APP2, Http, "PUT", "/op3/a/b", Allow, format!("{app2} /op3/a/*")),
        (APP2, Http, "PUT", "/op3/a/b/c", Deny, format!("{app2} (default)")),
        (APP2, Http, "PUT", "/op3/b/b", Deny, format!("{app2} (default)")),
        (APP2, Http, "PUT", "/op3", Deny, format!("{app2} (default)")),
        (APP2, Http, "POST", "/op3/a/b", Deny, format!("{app2} (default)")),
        // Without a default of its own the app has that of the whole.
        (APP3, Http, "PUT", "/op5", Deny, default.to_owned()),
        (APP3, Http, "POST", "/op5", Allow, "acl: app3.ns1 /op5".to_owned()),
        (APP3, Http, "PURGE", "/op5", Deny, "acl: app3.ns1 (default)".to_owned()),
        // Without verbs a rule decides gRPC calls only; order and no way back in the tree.
        (APP4, Grpc, "", "/op6", Allow, "acl: app4.ns2 /op6".to_owned()),
        (APP4, Http, "GET", "/op6", Deny, "acl: app4.ns2 (default)".to_owned()),
        (APP4, Grpc, "", "/op7/a/b/c", Allow, "acl: app4.ns2 /op7/a/b/*".to_owned()),
        (APP4, Grpc, "", "/op7/a/b/c/d", Deny, "acl: app4.ns2 (default)".to_owned()),
        (APP4, Grpc, "", "/op7/a/b/c/f", Allow, "acl: app4.ns2 /op7/a/b/c/f".to_owned()),
        (APP4, Grpc, "", "/op7/a/bc", Allow, "acl: app4.ns2 /op7/a/b*".to_owned()),
        (APP4, Grpc, "", "/op7/a/bc/d", Allow, "acl: app4.ns2 /op7/a/b*".to_owned()),
        (APP4, Grpc, "", "/op7/c", Allow, "acl: app4.ns2 /op7/c/**".to_owned()),
        (APP4, Grpc, "", "/op7/c/d/e", Allow, "acl: app4.ns2 /op7/c/**".to_owned()),
        (APP4, Grpc, "", "/op7", Deny, "acl: app4.ns2 (default)".to_owned()),
        // The same app ID in another namespace is another app.
        (APP1_NS4, Http, "DELETE", "/op6", Allow, "acl: app1.ns4 /op6".to_owned()),
        (APP1_NS4, Http, "POST", "/op2", Allow, "acl: app1.ns4 (default)".to_owned()),
        // A name without a wildcard covers what is under it; `*` covers text within a segment.
        (APP5, Http, "GET", "/admin", Deny, format!("{app5} /Admin")),
        (APP5, Http, "GET", "/ADMIN/users/1", Deny, format!("{app5} /Admin")),
        (APP5, Http, "GET", "/administrator", Allow, format!("{app5} (default)")),
        (APP5, Http, "GET", "/one", Deny, format!("{app5} /one/*")),
        (APP5, Http, "GET", "/one/x", Deny, format!("{app5} /one/*")),
        (APP5, Http, "GET", "/one/x/y", Allow, format!("{app5} (default)")),
        (APP5, Http, "GET", "/many", Deny, format!("{app5} /many/**")),
        (APP5, Http, "GET", "/many/x/y/z", Deny, format!("{app5} /many/**")),
        (APP5, Http, "PATCH", "/many/x", Allow, format!("{app5} (default)")),
        (APP5, Http, "GET", "/mid/a/x", Allow, format!("{app5} (default)")),
        (APP5, Http, "GET", "/mid/*/x", Deny, format!("{app5} /mid/*/x")),
        (APP5, Http, "GET", "/mid2/a/x", Deny, format!("{app5} /mid2/**/x")),
        (APP5, Http, "GET", "/mid2/a/b/x", Allow, format!("{app5} (default)")),
        (APP5, Http, "GET", "/prefix", Deny, format!("{app5} /pre*fix")),
        (APP5, Http, "GET", "/pre-and-fix/more", Deny, format!("{app5} /pre*fix")),
        (APP5, Http, "GET", "/first/second", Allow, format!("{app5} /first*")),
        (APP5, Http, "GET", "/deep/er", Allow, format!("{app5} (default)")),
        (APP5, Grpc, "", "/deep/er", Deny, format!("{app5} /deep")),
        (APP5, Http, "GET", "/", Deny, format!("{app5} /")),
        (APP5, Http, "GET", "", Deny, format!("{app5} /")),
        // A verb no rule can name is not let past a `*` that denies.
        (APP5, Http, "PURGE", "/admin", Deny, format!("{app5} /Admin")),
        (APP5, Http, "PURGE", "/free", Allow, format!("{app5} (default)")),
        // Names are compared decoded, and told in visible ASCII.
        (APP5, Http, "GET", "/%E4%B8%AD", Deny, format!("{app5} /\\u{{4e2d}}")),
        (APP5, Http, "GET", "/with%20space", Deny, format!("{app5} /with space")),
    ];
    assert!(rows.len() > 50);
    for (from, protocol, verb, path, action, policy) in rows {
        let decision = decide(&access, from, protocol, verb, path);
        assert_eq!(
            (decision.action, &*decision.policy),
            (action, policy.as_str()),
            "{from} {protocol:?} {verb} {path}"
        );
    }
}

#[test]
fn the_default_of_the_whole_follows_from_what_is_written() {
    let one = || vec![app("a", "n", "public", None, vec![])];
    for (default_action, policies, expected) in
        [(None, vec![], Allow), (None, one(), Deny), (Some(Allow), one(), Allow), (Some(Deny), vec![], Deny)]
    {
        let access = AccessControl::new(spec(default_action, policies));
        for from in ["", "spiffe://public/ns/n/other", "spiffe://public/ns/n/a"] {
            assert_eq!(decide(&access, from, Http, "GET", "/x").action, expected, "{default_action:?} {from}");
        }
    }
}

#[test]
fn without_access_control_everyone_may_call() {
    let decision = decide(&AccessControl::allow_all(), "", Http, "GET", "/x");

    assert_eq!((decision.action, &*decision.policy), (Allow, "none"));
    assert_eq!(decision.remedy(), "");
}

#[test]
fn of_two_policies_for_one_app_the_later_counts_alone() {
    let access = AccessControl::new(spec(
        Some(Deny),
        vec![
            app("a", "n", "public", Some(Allow), vec![]),
            app("a", "n", "public", Some(Deny), vec![operation("/x", &["*"], Allow)]),
        ],
    ));

    assert_eq!(decide(&access, "spiffe://public/ns/n/a", Http, "GET", "/y").action, Deny);
    assert_eq!(decide(&access, "spiffe://public/ns/n/a", Http, "GET", "/x").action, Allow);
}

#[test]
fn a_remedy_says_where_and_what_to_paste() {
    let access = AccessControl::new(spec(
        Some(Deny),
        vec![app("checkout", "default", "public", Some(Deny), vec![operation("/orders", &["GET"], Allow)])],
    ));
    let remedy = |from, protocol, verb, path| decide(&access, from, protocol, verb, path).remedy();
    let checkout = "spiffe://public/ns/default/checkout";

    assert_eq!(
        remedy("spiffe://public/ns/shop/cart", Http, "POST", "/orders/42"),
        "to allow it, add this policy to the Configuration `acl` of the called app:\n\
         spec:\n  accessControl:\n    policies:\n    - appId: \"cart\"\n      namespace: \"shop\"\n      \
         trustDomain: \"public\"\n      defaultAction: deny\n      operations:\n      - name: \"/orders/42\"\n        \
         httpVerb: [\"POST\"]\n        action: allow\n"
    );
    assert_eq!(
        remedy(checkout, Http, "GET", "/stock"),
        "to allow it, put this rule first among `spec.accessControl.policies[0].operations` of the Configuration \
         `acl` of the called app:\n      - name: \"/stock\"\n        httpVerb: [\"GET\"]\n        action: allow\n"
    );
    assert_eq!(
        remedy(checkout, Http, "DELETE", "/orders"),
        "to allow it, change `spec.accessControl.policies[0].operations[0]` of the Configuration `acl` of the \
         called app, and so all that this rule covers, to:\n      - name: \"/orders\"\n        \
         httpVerb: [\"GET\", \"DELETE\"]\n        action: allow\n"
    );
    assert!(
        remedy(checkout, Grpc, "", "/shop.Stock/Get").ends_with("- name: \"/shop.Stock/Get\"\n        action: allow\n")
    );
    assert!(remedy("", Http, "GET", "/orders").starts_with("the caller proved no identity"));
    assert!(
        remedy("spiffe://public/ns/a/sa/b", Http, "GET", "/x").starts_with("the caller's SPIFFE ID is not of the form")
    );
    assert!(
        remedy("spiffe://other/ns/default/checkout", Http, "GET", "/x")
            .starts_with("the policy of this app is for another trust domain")
    );
    assert!(remedy(checkout, Http, "PURGE", "/orders").starts_with("access control cannot name this HTTP verb"));
}

#[test]
fn the_remedy_of_every_denied_call_allows_it() {
    let access = policies();
    let callers =
        [APP1, APP2, APP3, APP4, APP1_NS4, APP5, "spiffe://public/ns/ns1/appx", "spiffe://private/ns/ns1/app1"];
    let paths = [
        "/op1",
        "/op2",
        "/op2/x",
        "/op3",
        "/op3/a/b",
        "/op3/a/b/c",
        "/op4",
        "/op5",
        "/op6",
        "/op7/a/b/c/d",
        "/Admin",
        "/admin/users",
        "/one/x",
        "/many/x/y",
        "/mid/a/x",
        "/mid2/a/x",
        "/prefix",
        "/first/second",
        "/deep/er",
        "/",
        "/%E4%B8%AD",
        "/with%20space/x",
        "/new",
    ];
    let mut repaired = 0;
    for from in callers {
        for path in paths {
            for (protocol, verb) in [(Http, "GET"), (Http, "POST"), (Http, "delete"), (Grpc, "")] {
                let decision = decide(&access, from, protocol, verb, path);
                if decision.is_allowed() {
                    continue;
                }
                let Some(spec) = decision.repaired() else {
                    let remedy = decision.remedy();
                    assert!(remedy.ends_with("its rules would decide the call"), "{from} {verb} {path}: {remedy}");
                    continue;
                };
                let after = decide(&AccessControl::new(spec), from, protocol, verb, path);
                assert!(after.is_allowed(), "{from} {protocol:?} {verb} {path}");
                repaired += 1;
            }
        }
    }
    assert!(repaired > 200, "{repaired}");
}
