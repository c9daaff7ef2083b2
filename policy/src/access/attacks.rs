//! Access control as someone sees it who wants past it.

use std::fmt::Write as _;

use super::Action::{Allow, Deny};
use super::CallProtocol::{Grpc, Http};
use super::table::{app, decide, operation, spec};
use super::*;

const ME: &str = "spiffe://public/ns/default/me";

fn mine(default_action: Action, operations: Vec<OperationSpec>) -> AccessControl {
    AccessControl::new(spec(Some(Deny), vec![app("me", "default", "public", Some(default_action), operations)]))
}

/// Everything is allowed but what is secret.
fn secret() -> AccessControl {
    mine(
        Allow,
        vec![
            operation("/admin", &["*"], Deny),
            operation("/user/*", &["*"], Deny),
            operation("/files/**", &["*"], Deny),
            operation("/internal*", &["*"], Deny),
            operation("/pay", &["POST"], Deny),
            operation("/pkg.Svc/Drop", &[], Deny),
        ],
    )
}

/// Nothing is allowed but what is public.
fn public() -> AccessControl {
    mine(
        Deny,
        vec![
            operation("/public/**", &["*"], Allow),
            operation("/item/*", &["GET"], Allow),
            operation("/pkg.Svc/Get", &[], Allow),
        ],
    )
}

#[test]
fn no_spelling_of_a_denied_path_is_allowed() {
    for path in [
        "/admin/",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/admin/.",
        "/admin//x",
        "/ADMIN",
        "/aDmIn/x",
        "admin",
        "/%61dmin",
        "/%41DMIN",
        "/admin%2Fx",
        "/admin%2fx",
        "/x%2F..%2Fadmin",
        "/x%2f%2e%2e%2fadmin",
        "/%2e/admin",
        "/x/%2e%2e/admin",
        "/%252e%252e/admin",
        "/x/%252e%252e/admin",
        "/%2561dmin",
        "/admin%252Fx",
        "/admin%25252Fx",
        "/admin;x=1",
        "/admin;x=1/users",
        ";/admin",
        "/;a/admin",
        "/x/..;/admin",
        "/x;y/..;z/admin",
        "/admin;",
        "/\\admin",
        "/x\\..\\admin",
        "/%5Cadmin",
        "/x%5C..%5Cadmin",
        "/admin\\x",
        "/admin%5Cx",
        "/admin%3Bx",
        "/admin%3bx/y",
        "/..%2F..%2Fadmin",
        "/user/1",
        "/user/",
        "/user",
        "/user/a%2Fb",
        "/user//a",
        "/user/1;v=2",
        "/user/a%5Cb",
        "/files/a/b/../c",
        "/files",
        "/files/",
        "/files/..%2Ffiles",
        "/internal",
        "/internal-x",
        "/INTERNAL.x/y",
        "/internal%2Fx",
        "/intern\u{0061}l",
        "/%69nternal",
        "/adm\u{0131}n/../admin",
        // The Kelvin sign and the dotted capital I are lower-cased to plain letters, as Go does it.
        "/\u{212a}/../admin",
        "/ADM\u{0130}N",
        "/adm%C4%B0n",
    ] {
        let decision = decide(&secret(), ME, Http, "GET", path);
        assert_eq!(decision.action, Deny, "{path}");
        assert!(!decision.remedy().is_empty(), "{path}");
    }
}

#[test]
fn no_spelling_leads_out_of_what_is_allowed() {
    for path in [
        "/public/../admin",
        "/public/..",
        "/public/%2e%2e/admin",
        "/public/..%2Fadmin",
        "/public%2F..%2Fadmin",
        "/public/..;/admin",
        "/public/..;x=y/admin",
        "/public/%2e%2e;/admin",
        "/public\\..\\admin",
        "/public/..\\admin",
        "/public%5C..%5Cadmin",
        "/public/%252e%252e/admin",
        "/public/%25252e%25252e/admin",
        "/public/..%252Fadmin",
        "/public/x/../../admin",
        "/publicx",
        "/publi",
        "/item/1/2",
        "/item/a%2Fb",
        "/item/a%5Cb",
        "/item/..%2Fx",
        "/item/%2e%2e",
        "/item/..",
        "/",
        "",
        "/*",
        "/**",
        "/%2A%2A",
        "/public\u{0}/../admin",
        "/\u{ff0f}public/x",
    ] {
        assert_eq!(decide(&public(), ME, Http, "GET", path).action, Deny, "{path}");
    }
}

#[test]
fn harmless_escapes_do_not_shut_anyone_out() {
    for path in [
        "/public/a%20b",
        "/public/100%25",
        "/public/%E4%B8%AD",
        "/public/a;v=1",
        "/public/a%2Fb",
        "/public/%7Euser",
        "/PUBLIC/x",
        "/public",
        "/public/",
        "/item/1",
        "/item/a%20b",
        "/item/1;v=2",
        "/item",
        "/public/a%3Fb%23c",
    ] {
        assert_eq!(decide(&public(), ME, Http, "GET", path).action, Allow, "{path}");
    }
}

#[test]
fn no_case_or_kind_of_verb_escapes_a_rule() {
    for (verb, action) in [
        ("POST", Deny),
        ("post", Deny),
        ("Post", Deny),
        ("GET", Allow),
        ("get", Allow),
        ("PO\u{17f}T", Allow),
        ("POST ", Allow),
        ("NONE", Allow),
        ("*", Allow),
        ("", Allow),
    ] {
        assert_eq!(decide(&secret(), ME, Http, verb, "/pay").action, action, "{verb:?}");
    }
    for verb in ["GET", "get", "PURGE", "NONE", "*", "", "PROPFIND", "X\u{0}"] {
        assert_eq!(decide(&secret(), ME, Http, verb, "/admin").action, Deny, "{verb:?}");
    }
    for verb in ["PURGE", "NONE", "*", "", "POST", "GETT", "GE"] {
        assert_eq!(decide(&public(), ME, Http, verb, "/item/1").action, Deny, "{verb:?}");
    }
}

#[test]
fn grpc_methods_are_compared_letter_by_letter() {
    for (path, action) in [
        ("/pkg.Svc/Get", Allow),
        ("pkg.Svc/Get", Allow),
        ("/pkg.Svc/get", Deny),
        ("/PKG.Svc/Get", Deny),
        ("/pkg.Svc/Ge", Deny),
        ("/pkg.Svc/GetAll", Deny),
        ("/pkg.Svc/*", Deny),
        ("/pkg.Svc", Deny),
        ("/pkg.Svc/Get%2F..%2FDrop", Deny),
        ("/other/../pkg.Svc/Drop", Deny),
    ] {
        assert_eq!(decide(&public(), ME, Grpc, "POST", path).action, action, "{path}");
    }
    assert_eq!(decide(&secret(), ME, Grpc, "POST", "/pkg.Svc/Drop").action, Deny);
    assert_eq!(decide(&secret(), ME, Grpc, "POST", "/pkg.Svc/%44rop").action, Deny);
    // A rule without verbs is for gRPC; over HTTP the same words are another operation.
    assert_eq!(decide(&public(), ME, Http, "POST", "/pkg.Svc/Get").action, Deny);
}

#[test]
fn a_caller_that_says_grpc_gains_nothing_at_an_app_that_takes_both() {
    let names_verbs = || mine(Deny, vec![operation("/stock", &["GET"], Allow)]);
    assert_eq!(decide(&names_verbs(), ME, Grpc, "POST", "/stock").action, Allow, "for a gRPC app verbs do not count");
    let h2c = names_verbs().decided_as(Http);
    assert_eq!(decide(&h2c, ME, Grpc, "POST", "/stock").action, Deny);
    assert_eq!(decide(&h2c, ME, Http, "POST", "/stock").action, Deny);
    assert_eq!(decide(&h2c, ME, Grpc, "GET", "/stock").action, Allow);

    let h2c = secret().decided_as(Http);
    for protocol in [Http, Grpc] {
        assert_eq!(decide(&h2c, ME, protocol, "POST", "/ADMIN").action, Deny);
    }
    let grpc = mine(Allow, vec![operation("/pkg.Svc/Drop", &[], Deny)]).decided_as(Grpc);
    assert_eq!(decide(&grpc, ME, Http, "POST", "/pkg.Svc/Drop").action, Deny, "nor does one that does not say it");
}

#[test]
fn only_the_exact_identity_is_the_caller_that_a_policy_names() {
    for from in [
        "spiffe://public/ns/default/me2",
        "spiffe://public/ns/default/Me",
        "spiffe://public/ns/defaults/me",
        "spiffe://public.evil/ns/default/me",
        "spiffe://ublic/ns/default/me",
        "spiffe://public/ns/default/me/x",
        "spiffe://public/ns/x/default/me",
        "spiffe://public/ns/default/sa/me",
        "spiffe://public/me",
        "spiffe://public/default/me",
        "spiffe://public/NS/default/me",
        "spiffe://public/ns/me/default",
    ] {
        assert_eq!(decide(&public(), from, Http, "GET", "/public/x").action, Deny, "{from}");
    }
    assert_eq!(decide(&public(), ME, Http, "GET", "/public/x").action, Allow);
}

#[test]
fn a_remedy_never_offers_more_than_was_asked_for() {
    for path in ["/**", "/*", "/a*", "/x/%2A%2A", "/%2a"] {
        let remedy = decide(&public(), ME, Http, "GET", path).remedy();
        assert!(!remedy.contains("name:"), "{path}: {remedy}");
    }
    let inside = decide(&public(), ME, Http, "GET", "/x%22%0a    action: allow%0a  - name: \"/**").remedy();
    assert!(!inside.contains("name: \"/**"), "{inside}");
    let quoted = decide(&public(), ME, Http, "GET", "/x\" # \\ \u{85}\u{2028}é").remedy();
    assert!(!quoted.contains('\u{85}') && !quoted.contains('\u{2028}'), "{quoted}");
    let long = decide(&public(), ME, Http, "GET", &format!("/{}", "x".repeat(9000))).remedy();
    assert!(long.len() < 300, "{long}");
}

#[test]
fn the_decision_of_a_path_is_that_of_its_canonical_form() {
    use outrigger_wire::path::{CanonicalPath, Rules};

    let controls = [secret(), public()];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let words = ["admin", "user", "files", "internal", "public", "item", "x", "1", "..", ".", "", "a b", "pay", "中"];
    let mut compared = 0;
    for _ in 0..20_000 {
        let segments: Vec<&str> = (0..=next(4)).map(|_| words[next(words.len())]).collect();
        let mut spelled = String::new();
        for segment in &segments {
            spelled.push('/');
            for byte in segment.bytes() {
                match next(4) {
                    0 => write!(spelled, "%{byte:02X}").unwrap(),
                    1 => write!(spelled, "%{byte:02x}").unwrap(),
                    _ if byte.is_ascii_graphic() => spelled.push(char::from(byte)),
                    _ => write!(spelled, "%{byte:02X}").unwrap(),
                }
            }
        }
        let Ok(path) = CanonicalPath::parse(&spelled, Rules::Open) else { continue };
        for access in &controls {
            for verb in ["GET", "POST"] {
                let canonical = decide(access, ME, Http, verb, path.as_str());
                for other in [path.forward(), spelled.as_str()] {
                    let decision = decide(access, ME, Http, verb, other);
                    assert_eq!(
                        (decision.action, &decision.policy),
                        (canonical.action, &canonical.policy),
                        "{verb} {spelled} {other}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 50_000, "{compared}");
}

#[test]
fn no_text_makes_a_decision_panic_or_run_for_ever() {
    let stars = "/".to_owned() + &"*a".repeat(2_000);
    let access = mine(
        Deny,
        vec![
            operation(&stars, &["*"], Allow),
            operation(&"/*".repeat(500), &["*"], Allow),
            operation("", &["*"], Allow),
        ],
    );
    for path in [
        "/".repeat(100_000),
        "/..".repeat(30_000),
        "%".repeat(60_000),
        "%2F".repeat(20_000),
        "/;".repeat(30_000),
        "/".to_owned() + &"a".repeat(60_000),
        "\u{0}".to_owned(),
        "%ff%fe".repeat(10_000),
        "/\u{10ffff}".repeat(5_000),
    ] {
        for protocol in [Http, Grpc] {
            let _ = decide(&access, ME, protocol, "GET", &path).remedy();
        }
    }
}
