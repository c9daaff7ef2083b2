//! Policy, sidecar and application see the same path (design decision 9, threat T9).

use outrigger_test_support::{Api, RawConnection};
use std::time::Duration;

use crate::pair::{Pair, caller_may};

#[test]
fn a_path_arrives_with_the_bytes_that_were_sent_wherever_they_mean_the_same() {
    let pair = Pair::start();
    for (number, (sent, arrives)) in [
        ("a/b", "/a/b"),
        ("a/b/", "/a/b/"),
        ("a%2Fb", "/a%2Fb"),
        ("a%2fb", "/a%2fb"),
        ("a%20b", "/a%20b"),
        ("%61", "/%61"),
        ("a;v=1/b", "/a;v=1/b"),
        ("a+b", "/a+b"),
        ("%E4%B8%AD", "/%E4%B8%AD"),
        ("a//b", "/a/b"),
        ("a/./b", "/a/b"),
        ("a/../b", "/b"),
        ("a/%2e%2e/b", "/b"),
        ("../../b", "/b"),
        ("a%2F..%2Fb", "/b"),
        ("..%2fb", "/b"),
        ("", "/"),
    ]
    .into_iter()
    .enumerate()
    {
        for api in Api::ALL {
            let mark = format!("n={number}{api:?}");
            let reply = api.invoke(pair.caller.http(), "callee", "GET", &format!("{sent}?{mark}"), &[], b"");
            assert_eq!(reply.status, 200, "{api:?} {sent:?}: {}", reply.text());
            assert_eq!(pair.app.only(&mark).target, format!("{arrives}?{mark}"), "{api:?} {sent:?}");
        }
    }
}

#[test]
fn a_path_that_two_readers_could_read_differently_is_refused() {
    let pair = Pair::start();
    for sent in ["a%00", "a%0a", "a%", "a%zz", "a%ff", "%c0%ae%c0%ae/b", "a%5C..%5Cb", "..;/b"] {
        for api in Api::ALL {
            let reply = api.invoke(pair.caller.http(), "callee", "GET", sent, &[], b"");
            assert_eq!(reply.status, 400, "{api:?} {sent:?}: {}", reply.text());
        }
    }
    assert!(pair.app.received().is_empty());
}

#[test]
fn no_spelling_of_a_path_gets_around_a_policy() {
    // The first rule that fits decides, so the exception stands before the rule.
    let operations =
        "- name: /open/secret\n  httpVerb: ['*']\n  action: deny\n- name: /open/**\n  httpVerb: ['*']\n  action: allow";
    let pair = Pair::with_policy(&caller_may(operations));
    assert_eq!(pair.get("/open/door").status(), 200);
    for sent in [
        "/open/secret",
        "/open/secret/",
        "/open//secret",
        "/open/./secret",
        "/open/x/../secret",
        "/open/x/%2e%2e/secret",
        "/open/%73ecret",
        "/%6fpen/secret",
        "/open/x%2f..%2fsecret",
        "/open/x%2F%2e%2e%2Fsecret",
        "/open/SECRET",
        "/open/secret?x=1",
        "//open/secret",
        "/open/door/../../open/secret",
        "/closed",
        "/",
    ] {
        let mut connection = RawConnection::open(pair.caller.http());
        connection.send(format!("GET /v1.0/invoke/callee/method{sent} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let reply = connection.response("GET", Duration::from_secs(20)).expect("an answer");
        assert!(matches!(reply.status(), 400 | 403), "{sent}: {} {}", reply.status(), reply.text());
    }
    let reached: Vec<_> = pair.app.received().into_iter().map(|received| received.target).collect();
    assert_eq!(reached, ["/open/door"]);
}
