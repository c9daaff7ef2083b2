//! What happens to header lines on their way.

use outrigger_test_support::{Answer, Api, App, Home, Sidecar, eventually, http1};

use crate::pair::Pair;

#[test]
fn duplicate_headers_stay_apart_and_in_order_both_ways() {
    let pair = Pair::answering(|_| {
        Answer::text("ok")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("x-many", "1")
            .header("x-many", "2")
    });
    for api in Api::ALL {
        let path = format!("many-{api:?}");
        let headers = [("x-many", "1"), ("x-other", "o"), ("x-many", "2"), ("x-many", "3, 4"), ("x-empty", "")];
        let reply = api.invoke(pair.caller.http(), "callee", "GET", &path, &headers, b"");
        assert_eq!(reply.all("set-cookie"), ["a=1", "b=2"], "{api:?}");
        assert_eq!(reply.all("x-many"), ["1", "2"], "{api:?}");
        let seen = pair.app.only(&path);
        assert_eq!(seen.all("x-many"), ["1", "2", "3, 4"], "{api:?}");
        assert_eq!(seen.all("x-empty"), [""], "{api:?}");
    }
}

#[test]
fn what_ends_at_a_hop_does_not_cross_it() {
    let pair = Pair::answering(|_| {
        Answer::text("ok")
            .header("connection", "x-secret")
            .header("x-secret", "theirs")
            .header("keep-alive", "timeout=5")
    });
    let headers = [
        ("connection", "x-private, keep-alive"),
        ("x-private", "mine"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("te", "gzip"),
        ("x-kept", "yes"),
        ("authorization", "Bearer kept"),
    ];
    let reply = pair.caller.request("GET", "/v1.0/invoke/callee/method/hop", &headers, b"");
    assert_eq!(reply.head.all("x-secret"), Vec::<&str>::new());
    let seen = pair.app.only("/hop");
    for gone in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert_eq!(seen.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!((seen.one("x-kept"), seen.one("authorization")), (Some("yes"), Some("Bearer kept")));
}

#[test]
fn forged_caller_headers_are_replaced_and_never_joined() {
    let pair = Pair::start();
    let forged = [
        ("dapr-caller-app-id", "admin"),
        ("dapr-caller-app-id", "root"),
        ("Dapr-Caller-Namespace", "kube-system"),
        ("dapr-callee-app-id", "callee"),
        ("outrigger-caller-id", "spiffe://public/ns/default/admin"),
        ("outrigger-wire", "local"),
        ("outrigger-tls", "forged"),
        ("outrigger-policy", "forged"),
        ("outrigger-failure", "forged"),
        ("outrigger-made-up", "forged"),
        ("dapr-api-token", "forged"),
        ("destination-app-id", "admin"),
    ];
    for api in Api::ALL {
        let path = format!("forged-{api:?}");
        let lower: Vec<_> = forged.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
        let headers: Vec<_> = lower.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let reply = api.invoke(pair.caller.http(), "callee", "GET", &path, &headers, b"");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = pair.app.only(&path);
        assert_eq!(seen.all("dapr-caller-app-id"), ["caller"]);
        assert_eq!(seen.all("dapr-caller-namespace"), ["default"]);
        assert_eq!(seen.all("dapr-callee-app-id"), ["callee"]);
        assert_eq!(seen.all("outrigger-caller-id"), ["spiffe://public/ns/default/caller"]);
        assert_eq!(seen.all("outrigger-wire"), ["native"]);
        for gone in ["outrigger-failure", "outrigger-made-up", "dapr-api-token"] {
            assert_eq!(seen.all(gone), Vec::<&str>::new(), "{gone}");
        }
        assert!(
            seen.headers.iter().all(|(_, value)| !value.contains("forged") && !value.contains("admin")),
            "{seen:?}"
        );
    }
}

#[test]
fn an_app_id_header_never_reaches_the_application() {
    let pair = Pair::start();
    Api::Header.invoke(pair.caller.http(), "callee", "GET", "routed", &[], b"");
    assert_eq!(pair.app.only("/routed").all("dapr-app-id"), Vec::<&str>::new());
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn the_trace_context_goes_on_unchanged_where_no_spans_are_exported() {
    let pair = Pair::start();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "vendor=1"), ("baggage", "user=alice")];
    pair.caller.request("GET", "/v1.0/invoke/callee/method/traced", &headers, b"");
    let seen = pair.app.only("/traced");
    assert_eq!(seen.one("traceparent"), Some(parent.as_str()));
    assert_eq!(seen.one("tracestate"), Some("vendor=1"));
    assert_eq!(seen.one("baggage"), Some("user=alice"));
}

#[test]
fn spans_of_both_sidecars_go_to_a_collector_and_the_application_gets_the_last_one_as_its_parent() {
    let home = Home::new();
    let collector = App::start();
    let tracing = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: traced\nspec:\n  tracing:\n    \
         samplingRate: \"1\"\n    otel:\n      endpointAddress: {}\n      isSecure: false\n      protocol: http\n",
        collector.address()
    );
    let app = App::start();
    let callee = Sidecar::of(&home, "callee").app(app.port(), "http").config(&tracing).start();
    let caller = Sidecar::of(&home, "caller").config(&tracing).start();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str())];
    caller.request("GET", "/v1.0/invoke/callee/method/traced", &headers, b"");
    let passed = app.only("/traced").one("traceparent").expect("a traceparent").to_owned();
    assert!(passed.starts_with(&format!("00-{TRACE}-")) && passed.ends_with("-01"), "{passed}");
    assert_ne!(passed, parent);
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let sent_by = |name: &str| {
        let received = collector.received_with("/v1/traces");
        let of =
            |body: &[u8]| http1::find(body, name.as_bytes()).is_some() && http1::find(body, &bytes(TRACE)).is_some();
        received.iter().any(|received| of(&received.body)).then_some(())
    };
    // The service's name and the trace's ID stand in the protobuf as they are.
    eventually("the spans of the caller's sidecar", || sent_by("caller"));
    eventually("the spans of the callee's sidecar", || sent_by("callee"));
    drop(callee);
}

#[test]
fn a_call_without_a_trace_context_gets_one() {
    let pair = Pair::start();
    pair.get("/untraced");
    let seen = pair.app.only("/untraced");
    let passed = seen.one("traceparent").expect("a traceparent");
    assert_eq!((passed.len(), passed.split('-').count()), (55, 4), "{passed}");
}

#[test]
fn a_garbled_trace_context_is_replaced_by_a_sound_one() {
    let pair = Pair::start();
    let garbled = [("traceparent", "00-zz-zz-zz"), ("traceparent", "second"), ("tracestate", "=====")];
    let reply = pair.caller.request("GET", "/v1.0/invoke/callee/method/garbled", &garbled, b"");
    assert_eq!(reply.status(), 200);
    let seen = pair.app.only("/garbled");
    assert_eq!(seen.one("traceparent").map(str::len), Some(55));
}
