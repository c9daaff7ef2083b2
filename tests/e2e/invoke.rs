//! Invocation in every form and with every verb; what the application answers comes back as it is.

use outrigger_test_support::{Answer, Api};

use crate::pair::Pair;

const VERBS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"];

#[test]
fn every_verb_arrives_in_every_form_with_its_body_and_query() {
    let pair = Pair::answering(|received| Answer::text(format!("{} {}", received.method, received.target)));
    for api in Api::ALL {
        for verb in VERBS {
            let path = format!("{api:?}/{verb}?a=1&b=%2F&a=2");
            let body = if verb == "GET" { "" } else { "a body" };
            let reply = api.invoke(pair.caller.http(), "callee", verb, &path, &[], body.as_bytes());
            assert_eq!((reply.status, reply.text()), (200, format!("{verb} /{path}")), "{api:?}");
            let seen = pair.app.only(&format!("{api:?}/{verb}?"));
            assert_eq!((seen.method.as_str(), seen.text().as_str()), (verb, body), "{api:?}");
        }
    }
}

#[test]
fn the_same_holds_for_an_application_that_speaks_h2c() {
    let pair = Pair::speaking("h2c", |received| Answer::text(format!("{} {}", received.method, received.target)));
    for api in Api::ALL {
        let path = format!("{api:?}?a=1");
        let reply = api.invoke(pair.caller.http(), "callee", "POST", &path, &[("x-a", "1")], b"a body");
        assert_eq!((reply.status, reply.text()), (200, format!("POST /{path}")));
        let seen = pair.app.only(&format!("/{api:?}"));
        assert_eq!(seen.version, "HTTP/2");
        assert_eq!((seen.text().as_str(), seen.one("x-a")), ("a body", Some("1")));
    }
}

#[test]
fn head_brings_the_headers_and_no_body() {
    let pair = Pair::answering(|_| Answer::status(200).header("x-kept", "yes").header("content-length", "1234"));
    let reply = pair.caller.request("HEAD", "/v1.0/invoke/callee/method/head", &[], b"");
    assert_eq!((reply.status(), reply.body.len()), (200, 0));
    assert_eq!(reply.head.one("x-kept"), Some("yes"));
    assert_eq!(pair.app.only("/head").method, "HEAD");
}

#[test]
fn an_error_of_the_application_comes_back_untouched() {
    let pair = Pair::answering(|received| {
        let status = received.target.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(200);
        Answer::status(status).header("x-mine", "yes").body("{\"mine\": true}")
    });
    for api in Api::ALL {
        for status in [400, 401, 403, 404, 409, 418, 422, 429, 500, 501, 502, 503, 504, 599] {
            let path = format!("{api:?}/{status}");
            let reply = api.invoke(pair.caller.http(), "callee", "POST", &path, &[], b"x");
            assert_eq!((reply.status, reply.text()), (status, "{\"mine\": true}".to_owned()), "{api:?}");
            assert_eq!(reply.all("x-mine"), ["yes"]);
            // No retry on an application's own word.
            pair.app.only(&format!("/{path}"));
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let pair = Pair::answering(|received| Answer::status(if received.target.contains("204") { 204 } else { 304 }));
    for status in [204, 304] {
        let reply = pair.get(&format!("/{status}"));
        assert_eq!((reply.status(), reply.body.len()), (status, 0));
    }
}

#[test]
fn bytes_arrive_as_they_were_sent() {
    let every: Vec<u8> = (0..=255).collect();
    let answer = every.clone();
    let pair = Pair::answering(move |_| Answer::status(200).body(answer.clone()));
    for api in Api::ALL {
        let path = format!("bytes-{api:?}");
        let headers = [("content-type", "application/octet-stream")];
        let reply = api.invoke(pair.caller.http(), "callee", "POST", &path, &headers, &every);
        assert_eq!(reply.body, every);
        let seen = pair.app.only(&path);
        assert_eq!((seen.body.as_slice(), seen.one("content-type")), (every.as_slice(), Some(headers[0].1)));
    }
}

#[test]
fn an_app_that_nobody_knows_is_an_error_that_names_it() {
    let pair = Pair::start();
    for api in Api::ALL {
        let reply = api.invoke(pair.caller.http(), "nobody", "GET", "x", &[], b"");
        assert!(reply.status >= 500, "{api:?}: {} {}", reply.status, reply.text());
        assert!(reply.text().contains("ERR_DIRECT_INVOKE") && reply.text().contains("nobody"), "{}", reply.text());
    }
}

#[test]
fn an_application_that_does_not_listen_is_an_error_that_says_so() {
    let pair = Pair::start();
    pair.app.stop();
    let reply = pair.get("/gone");
    assert!(reply.status() >= 500, "{} {}", reply.status(), reply.text());
    assert!(reply.text().contains("app"), "{}", reply.text());
    pair.callee.get("/v1.0/metadata");
}

#[test]
fn a_path_that_is_no_api_and_names_no_app_is_404() {
    let pair = Pair::start();
    let reply = pair.caller.get("/no/such/api");
    assert_eq!(reply.status(), 404);
    assert!(reply.text().contains("ERR_DIRECT_INVOKE"), "{}", reply.text());
}

#[test]
fn a_thousand_calls_share_few_connections() {
    let pair = Pair::start();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let pair = &pair;
            scope.spawn(move || {
                for number in 0..250 {
                    assert_eq!(pair.get(&format!("/{worker}/{number}")).status(), 200);
                }
            });
        }
    });
    assert_eq!(pair.app.received().len(), 1000);
    assert!(pair.app.connections() < 50, "{} connections", pair.app.connections());
}

#[test]
fn a_body_past_the_limit_is_refused_with_the_name_of_the_limit() {
    let pair = Pair::start();
    let body = vec![b'x'; 5 << 20];
    let reply = pair.caller.request("POST", "/v1.0/invoke/callee/method/large", &[], &body);
    assert_eq!(reply.status(), 413, "{}", reply.text());
    assert!(reply.text().contains("max-body-size") || reply.text().contains("body"), "{}", reply.text());
    assert!(pair.app.received_with("/large").iter().all(|received| !received.complete));
}
