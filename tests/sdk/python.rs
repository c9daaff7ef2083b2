//! The Python SDK.

use std::process::Command;

use outrigger_test_support::{Answer, App, GrpcApp, GrpcClient, Home, Sidecar, free_port};

use crate::{CALLER, Pair, beside, file, prove};

fn python(script: &str) -> Command {
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg(file("python").join(script));
    command
}

#[test]
fn the_python_sdk_invokes_over_http() {
    let app = App::answering(|_| Answer::text("{\"saved\":true}").header("content-type", "application/json"));
    let pair = Pair::start(app.port(), "http");
    let answer = pair.answer_of(python("caller.py").arg("http"));
    assert_eq!(answer["text"], "{\"saved\":true}");
    assert_eq!(answer["content_type"], "application/json");
    let seen = app.only("/orders/42");
    prove(&seen);
    assert_eq!((seen.method.as_str(), seen.text().as_str()), ("PUT", "{\"from\": \"python\"}"));
    assert_eq!(seen.target, "/orders/42?a=1&b=x+y");
    assert_eq!(seen.one("content-type"), Some("application/json"));
}

#[test]
fn the_python_sdk_invokes_over_grpc() {
    let app = GrpcApp::start();
    let pair = Pair::start(app.port(), "grpc");
    let answer = pair.answer_of(python("caller.py").arg("grpc"));
    assert_eq!(answer["unary"], "from python");
    assert_eq!(answer["trailer"], "kept");
    assert_eq!(answer["bidi"], serde_json::json!(["1", "2", "3"]));
    assert_eq!(answer["trailers_only"], "NOT_FOUND: no such thing");
    let seen = app.only("Unary");
    prove(&seen);
    assert!(seen.one("user-agent").is_some_and(|agent| agent.contains("dapr-sdk-python")), "{seen:?}");
    assert_eq!(app.only("Bidi").text(), "123");
}

#[tokio::test]
async fn a_grpc_app_in_python_is_told_who_calls() {
    let home = Home::new();
    let port = free_port();
    let callee = Sidecar::of(&home, "callee").app(port, "grpc").start_unready();
    let app = beside(&callee, &home, python("callee.py").arg(port.to_string()));
    app.log().wait_for("listening");
    let caller = Sidecar::of(&home, "caller").start();
    outrigger_test_support::eventually("the callee's health", || {
        let health = outrigger_test_support::http1::try_request(callee.http(), "GET", "/v1.0/healthz");
        health.filter(|reply| reply.status() == 204)
    });
    let client = GrpcClient::connect(caller.grpc()).await;
    let reply = client.unary("/outrigger.test.Whoami/Who", &[("dapr-app-id", "callee")], b"").await;
    assert_eq!((reply.status(), reply.texts()), (Some(0), vec![format!("{CALLER} by native")]), "{reply:?}");
}
