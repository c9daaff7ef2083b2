//! The JavaScript SDK.

use std::process::Command;

use outrigger_test_support::{Answer, App, GrpcApp, Home, Sidecar, free_port};
use serde_json::json;

use crate::{CALLER, Pair, beside, file, prove};

fn node(script: &str) -> Command {
    file("node_modules/@dapr/dapr");
    let mut command = Command::new("node");
    command.arg(file("javascript").join(script));
    command
}

#[test]
fn the_javascript_sdk_invokes_over_http() {
    let app = App::answering(|_| Answer::text("{\"saved\":true}").header("content-type", "application/json"));
    let pair = Pair::start(app.port(), "http");
    let answer = pair.answer_of(node("caller.js").arg("http"));
    assert_eq!(answer, json!({ "put": { "saved": true }, "got": { "saved": true } }));
    let seen = app.only("/orders/42");
    prove(&seen);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/orders/42?a=1"));
    assert_eq!(seen.text(), "{\"from\":\"javascript\"}");
    assert_eq!(app.only("/orders/43").method, "GET");
}

#[test]
fn the_javascript_sdk_invokes_over_grpc() {
    let app = GrpcApp::start();
    let pair = Pair::start(app.port(), "grpc");
    let answer = pair.answer_of(node("caller.js").arg("grpc"));
    assert_eq!(answer["unary"], "from javascript");
    assert_eq!(answer["bidi"], json!(["1", "2", "3"]));
    assert_eq!(answer["trailersOnly"], "NOT_FOUND: no such thing");
    prove(&app.only("Unary"));
    assert_eq!(app.only("Bidi").text(), "123");
}

#[test]
fn an_app_made_with_the_javascript_sdk_is_told_who_calls() {
    let home = Home::new();
    let port = free_port();
    let callee = Sidecar::of(&home, "callee").app(port, "http").start_unready();
    let app = beside(&callee, &home, node("callee.js").arg(port.to_string()));
    app.log().wait_for("started");
    let caller = Sidecar::of(&home, "caller").start();
    let headers = [("content-type", "application/json")];
    let reply = caller.request("POST", "/v1.0/invoke/callee/method/whoami", &headers, b"{\"n\":1}");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.json(), json!({ "body": "{\"n\":1}", "caller": CALLER, "wire": "native" }));
}
