//! Trailers over the native wire.

use http_body_util::BodyExt as _;

use crate::bodies::{get, post, read, with_trailers};
use crate::pair::Pair;

#[tokio::test]
async fn trailers_arrive() {
    let pair = Pair::start().await;
    let response = pair.call("b", get("/trailers")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn trailers_of_a_request_carry_no_control_header() {
    let pair = Pair::start().await;
    let body =
        with_trailers([("dapr-caller-app-id", "admin"), ("outrigger-caller-id", "spiffe://evil"), ("x-kept", "1")]);
    let response = pair.call("b", post("/trailers-seen", body)).await.unwrap();
    let seen = String::from_utf8(read(response).await.to_vec()).unwrap();
    assert!(seen.contains("x-kept"), "{seen}");
    assert!(!seen.contains("admin") && !seen.contains("evil"), "{seen}");
}

#[tokio::test]
async fn trailers_of_a_response_carry_no_control_header() {
    let pair = Pair::start().await;
    let response = pair.call("b", get("/forged-trailers")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers["x-kept"], "1");
    assert!(!trailers.contains_key("outrigger-policy") && !trailers.contains_key("outrigger-failure"), "{trailers:?}");
}
