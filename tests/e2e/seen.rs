//! What the sidecar shows of itself.

use outrigger_test_support::{App, Home, Sidecar, eventually};

use crate::pair::{Pair, caller_may};

#[test]
fn health_tells_whose_it_is() {
    let pair = Pair::start();
    assert_eq!(pair.callee.get("/v1.0/healthz").status(), 204);
    assert_eq!(pair.callee.get("/v1.0/healthz?appid=callee").status(), 204);
    let reply = pair.callee.get("/v1.0/healthz?appid=other");
    assert_eq!(reply.status(), 500);
    assert!(reply.text().contains("ERR_HEALTH_APPID_NOT_MATCH"), "{}", reply.text());
    assert_eq!(pair.callee.get("/v1.0/healthz/outbound").status(), 204);
}

#[test]
fn a_sidecar_whose_application_does_not_listen_yet_is_not_healthy_but_calls_out() {
    let home = Home::new();
    let port = outrigger_test_support::free_port();
    let sidecar = Sidecar::of(&home, "early").app(port, "http").start_unready();
    let status =
        |path: &str| outrigger_test_support::http1::try_request(sidecar.http(), "GET", path).map(|r| r.status());
    eventually("outbound health", || (status("/v1.0/healthz/outbound") == Some(204)).then_some(()));
    assert_eq!(status("/v1.0/healthz"), Some(500));
}

#[test]
fn without_mutual_tls_sidecars_call_each_other_by_the_dapr_wire() {
    let home = Home::new();
    let app = App::answering(|_| outrigger_test_support::Answer::text("in clear"));
    let callee = Sidecar::of(&home, "callee").app(app.port(), "http").flag("--enable-mtls=false").start();
    let caller = Sidecar::of(&home, "caller").flag("--enable-mtls=false").start();
    let reply = caller.request("POST", "/v1.0/invoke/callee/method/in-clear?q=1", &[("x-a", "1")], b"a body");
    assert_eq!((reply.status(), reply.text().as_str()), (200, "in clear"));
    let got = app.only("/in-clear?q=1");
    assert_eq!((got.one("outrigger-wire"), got.one("x-a"), got.text().as_str()), (Some("dapr"), Some("1"), "a body"));
    assert_eq!((got.one("dapr-caller-app-id"), got.one("outrigger-caller-id")), (Some("caller"), None));
    assert_eq!(caller.get("/v1.0/invoke/callee/method/bodyless").status(), 200);
    assert_eq!(app.only("/bodyless").one("transfer-encoding"), None, "a GET must not look as if a body might come");
    drop(callee);
}

#[test]
fn metadata_says_who_and_which_version() {
    let pair = Pair::start();
    let metadata = pair.callee.get("/v1.0/metadata").json();
    assert_eq!(metadata["id"], "callee");
    assert!(metadata["runtimeVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{metadata}");
    assert_eq!(metadata["appConnectionProperties"]["port"], pair.app.port());
    assert_eq!(metadata["appConnectionProperties"]["protocol"], "http");
    let put = pair.callee.request("PUT", "/v1.0/metadata/mine", &[], b"a value");
    assert_eq!(put.status(), 204, "{}", put.text());
    assert_eq!(pair.callee.get("/v1.0/metadata").json()["extended"]["mine"], "a value");
}

#[test]
fn metrics_count_calls_on_both_sides() {
    let pair = Pair::with_policy(&caller_may("- name: /open\n  httpVerb: ['GET']\n  action: allow"));
    for _ in 0..3 {
        pair.get("/open");
    }
    pair.get("/shut");
    let text = |sidecar: &Sidecar| {
        let page = outrigger_test_support::http1::request(sidecar.metrics(), "GET", "/", &[], b"");
        assert_eq!(page.status(), 200);
        page.text()
    };
    for (sidecar, needle) in [(&pair.caller, "dapr_http_server_request_count"), (&pair.callee, "dapr_runtime_acl")] {
        let page = text(sidecar);
        assert!(page.contains(needle), "{needle} is not in\n{page}");
    }
    assert!(text(&pair.caller).lines().all(|line| line.starts_with('#') || line.contains(' ')));
}

#[test]
fn a_thousand_names_that_a_client_makes_up_do_not_fill_the_metrics() {
    let pair = Pair::start();
    for number in 0..1000 {
        pair.caller.get(&format!("/v1.0/invoke/made-up-{number}/method/path-{number}?q={number}"));
    }
    let page = outrigger_test_support::http1::request(pair.caller.metrics(), "GET", "/", &[], b"").text();
    let made_up = page.lines().filter(|line| line.contains("path-")).count();
    assert!(made_up < 110 && page.len() < 2 << 20, "{made_up} series, {} bytes", page.len());
}

#[test]
fn each_call_leaves_one_access_record_with_its_facts() {
    let home = Home::new();
    let app = App::start();
    let callee = Sidecar::of(&home, "callee").app(app.port(), "http").flag("--log-as-json").start();
    let caller = Sidecar::of(&home, "caller").flag("--log-as-json").start();
    assert_eq!(caller.get("/v1.0/invoke/callee/method/recorded%0a").status(), 400);
    assert_eq!(caller.get("/v1.0/invoke/callee/method/recorded").status(), 200);
    let line = callee.log().wait_for("/recorded");
    let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|err| panic!("{err}: {line}"));
    let text = record.to_string();
    for needle in ["spiffe://public/ns/default/caller", "200", "native"] {
        assert!(text.contains(needle), "{needle} is not in {text}");
    }
    let same =
        callee.log().lines().iter().filter(|line| line.contains("spiffe://") && line.contains("/recorded")).count();
    assert_eq!(same, 1);
    for sidecar in [&caller, &callee] {
        for line in sidecar.log().lines() {
            let parsed = serde_json::from_str::<serde_json::Value>(&line);
            assert!(parsed.is_ok(), "no JSON: {line}");
        }
    }
}

#[test]
fn what_a_client_sends_cannot_forge_a_line_of_the_log() {
    let pair = Pair::start();
    let forged = "x\u{1b}[31m%0alevel=error msg=forged";
    let headers = [("user-agent", "agent\u{1b}[2J"), ("traceparent", "00-forged"), ("x-a", forged)];
    pair.caller.request("GET", "/v1.0/invoke/callee/method/log%1b", &headers, b"");
    pair.caller.request("GET", "/v1.0/invoke/no%22such%5c/method/log", &headers, b"");
    for line in pair.caller.log().lines().iter().chain(&pair.callee.log().lines()) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        assert!(!line.starts_with("level=error"), "{line:?}");
    }
}
