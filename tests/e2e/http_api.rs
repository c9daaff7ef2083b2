//! What an HTTP client may do with the API beside plain invocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_test_support::{Answer, Sidecar};

use crate::pair::Pair;

/// `dapr-app-id:callee`, as a client writes the user information of a URL.
const BASIC: (&str, &str) = ("authorization", "Basic ZGFwci1hcHAtaWQ6Y2FsbGVl");

#[test]
fn an_app_is_named_by_basic_authentication_and_the_credential_ends_there() {
    let pair = Pair::start();
    assert_eq!(pair.caller.request("GET", "/basic?a=1", &[BASIC], b"").status(), 200);
    let seen = pair.app.only("/basic");
    assert_eq!((seen.target.as_str(), seen.one("authorization")), ("/basic?a=1", None));
    let before = pair.caller.request("GET", "/both", &[BASIC, ("dapr-app-id", "nobody")], b"");
    assert!(before.status() >= 500 && before.text().contains("nobody"), "{}", before.text());
    let other = [("dapr-app-id", "callee"), ("authorization", "Basic dXNlcjpwYXNz")];
    assert_eq!(pair.caller.request("GET", "/others", &other, b"").status(), 200);
    assert_eq!(pair.app.only("/others").one("authorization"), Some("Basic dXNlcjpwYXNz"));
}

#[test]
fn a_call_says_by_whom_it_was_forwarded_behind_what_the_app_said() {
    let pair = Pair::start();
    let sent = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")];
    pair.caller.request("GET", "/v1.0/invoke/callee/method/forwarded", &sent, b"");
    let seen = pair.app.only("/forwarded");
    for (name, first) in [("x-forwarded-for", Some("192.0.2.7")), ("forwarded", Some("for=192.0.2.7"))] {
        let all = seen.all(name);
        assert_eq!((all.len(), all.first().copied()), (2, first), "{name}: {all:?}");
    }
    assert!(seen.all("forwarded").iter().any(|value| value.contains("host=")), "{:?}", seen.all("forwarded"));
    assert_eq!(seen.all("x-forwarded-host").len(), 1);
}

#[test]
fn a_page_of_a_named_origin_may_call_and_another_may_not() {
    let pair = Pair::start();
    let allowing = Sidecar::of(&pair.home, "allowing").flag("--allowed-origins=https://a.example").start();
    let preflight = |origin: &str| {
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        allowing.request("OPTIONS", "/v1.0/invoke/callee/method/x", &asked, b"")
    };
    let answer = preflight("https://a.example");
    assert_eq!((answer.status(), answer.head.one("access-control-allow-origin")), (200, Some("https://a.example")));
    assert_eq!(preflight("https://b.example").head.one("access-control-allow-origin"), None);
    assert!(pair.app.received().is_empty(), "a preflight reached the app");
    let call = |origin| allowing.request("POST", "/v1.0/invoke/callee/method/page", &[("origin", origin)], b"");
    let answer = call("https://a.example");
    assert_eq!((answer.status(), answer.head.one("access-control-allow-origin")), (200, Some("https://a.example")));
    assert_eq!(call("https://b.example").status(), 403);
}

#[test]
fn no_more_calls_are_in_the_app_than_it_allows_and_the_others_wait() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, seen) = (Arc::clone(&inside), Arc::clone(&most));
    let pair = Pair::with_flag("--app-max-concurrency=2", move |_| {
        seen.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        count.fetch_sub(1, Ordering::SeqCst);
        Answer::text("done")
    });
    std::thread::scope(|scope| {
        for number in 0..12 {
            let pair = &pair;
            scope.spawn(move || assert_eq!(pair.get(&format!("/{number}")).status(), 200));
        }
    });
    assert_eq!((pair.app.received().len(), most.load(Ordering::SeqCst)), (12, 2));
}
