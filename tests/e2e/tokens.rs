//! The API token, and the token that the application asks of its sidecar.

use outrigger_test_support::{App, GrpcApp, GrpcClient, Home, Sidecar};

#[test]
fn with_a_token_set_the_http_api_wants_it_and_keeps_it_from_the_application() {
    let home = Home::new();
    let app = App::start();
    let callee = Sidecar::of(&home, "callee").app(app.port(), "http").start();
    let caller = Sidecar::of(&home, "caller").env("DAPR_API_TOKEN", "open-sesame").start();
    let target = "/v1.0/invoke/callee/method/guarded";
    for headers in [
        &[][..],
        &[("dapr-api-token", "")],
        &[("dapr-api-token", "wrong")],
        &[("dapr-api-token", "open-sesame2")],
        &[("dapr-api-token", "wrong"), ("dapr-api-token", "open-sesame")],
    ] {
        let reply = caller.request("GET", target, headers, b"");
        assert_eq!(reply.status(), 401, "{headers:?}: {}", reply.text());
    }
    assert!(app.received().is_empty());
    let reply = caller.request("GET", target, &[("dapr-api-token", "open-sesame")], b"");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(app.only("/guarded").headers.iter().all(|(_, value)| !value.contains("open-sesame")));
    assert_eq!(caller.get("/v1.0/metadata").status(), 401);
    assert!(!caller.log().text().contains("open-sesame"), "the token is in the log");
    drop(callee);
}

#[test]
fn health_is_told_without_a_token() {
    let home = Home::new();
    let sidecar = Sidecar::of(&home, "guarded").env("DAPR_API_TOKEN", "open-sesame").start();
    assert_eq!(sidecar.get("/v1.0/healthz").status(), 204);
    assert_eq!(sidecar.get("/v1.0/healthz/outbound").status(), 204);
}

#[tokio::test]
async fn with_a_token_set_the_grpc_api_wants_it_and_keeps_it_from_the_application() {
    let home = Home::new();
    let app = GrpcApp::start();
    let callee = Sidecar::of(&home, "callee").app(app.port(), "grpc").start();
    let caller = Sidecar::of(&home, "caller").env("DAPR_API_TOKEN", "open-sesame").start();
    let client = GrpcClient::connect(caller.grpc()).await;
    let refused = client.unary("Unary", &[("dapr-app-id", "callee")], b"x").await;
    assert_eq!(refused.status(), Some(16), "{refused:?}");
    assert!(app.received().is_empty());
    let metadata = [("dapr-app-id", "callee"), ("dapr-api-token", "open-sesame")];
    let reply = client.unary("Unary", &metadata, b"x").await;
    assert_eq!(reply.status(), Some(0), "{reply:?}");
    assert!(app.only("Unary").headers.iter().all(|(_, value)| !value.contains("open-sesame")));
    drop(callee);
}

#[test]
fn the_application_gets_its_own_token_with_every_call() {
    let home = Home::new();
    let app = App::start();
    let callee = Sidecar::of(&home, "callee").app(app.port(), "http").env("APP_API_TOKEN", "for-the-app").start();
    let caller = Sidecar::of(&home, "caller").start();
    let headers = [("dapr-api-token", "forged")];
    assert_eq!(caller.request("GET", "/v1.0/invoke/callee/method/with-token", &headers, b"").status(), 200);
    assert_eq!(app.only("/with-token").all("dapr-api-token"), ["for-the-app"]);
    drop(callee);
}
