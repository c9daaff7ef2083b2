//! The HTTP API.

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use outrigger_api::Asked;
use outrigger_blocks::app::AppProtocol;
use outrigger_blocks::error::Manner;
use outrigger_mesh::http::client::Version;
use outrigger_wire::Body;
use outrigger_wire::path::Rules;

use crate::sidecar::{AppPort, Settings, Sidecar};

fn get(uri: &str) -> Request<Body> {
    request("GET", uri, &[])
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::empty()).unwrap()
}

/// Status, code and message of an error.
fn error(response: &Response<Bytes>) -> (u16, String, String) {
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let field = |name: &str| json[name].as_str().unwrap().to_owned();
    (response.status().as_u16(), field("errorCode"), field("message"))
}

#[tokio::test]
async fn an_app_is_called_by_path_and_by_header() {
    let sidecar = Sidecar::start(Settings::default()).await;
    for (uri, headers, path) in [
        ("/v1.0/invoke/orders/method/teapot?x=1", &[][..], "/teapot?x=1"),
        ("/v1.0/invoke/orders.shop/method/teapot", &[], "/teapot"),
        ("/teapot?y", &[("dapr-app-id", "orders")], "/teapot?y"),
    ] {
        let response = sidecar.http(request("BREW", uri, headers)).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT, "{uri}");
        let asked = sidecar.app.last();
        assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("BREW", path));
        assert_eq!(asked.headers["host"], sidecar.app_address.as_str());
    }
}

#[tokio::test]
async fn the_app_sees_who_calls_and_nobody_elses_claim() {
    let sidecar = Sidecar::start(Settings { app_token: Some("app-secret"), ..Settings::default() }).await;
    let forged = [
        ("dapr-app-id", "orders"),
        ("dapr-caller-app-id", "admin"),
        ("outrigger-caller-id", "spiffe://public/ns/shop/admin"),
        ("outrigger-forged", "1"),
        ("dapr-api-token", "guess"),
        ("x-kept", "1"),
    ];
    sidecar.http(request("GET", "/who", &forged)).await;
    let asked = sidecar.app.last().headers;
    for (name, value) in [
        ("dapr-caller-app-id", "orders"),
        ("dapr-caller-namespace", "shop"),
        ("dapr-callee-app-id", "orders"),
        ("destination-app-id", "orders"),
        ("outrigger-caller-id", "spiffe://public/ns/shop/orders"),
        ("outrigger-wire", "local"),
        ("dapr-api-token", "app-secret"),
        ("x-kept", "1"),
    ] {
        let values: Vec<_> = asked.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    for name in ["dapr-app-id", "outrigger-forged"] {
        assert!(!asked.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_apps_answer_comes_back_untouched_but_for_what_only_sidecars_say() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let response = sidecar.http(get("/v1.0/invoke/orders/method/cookies")).await;
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert!(!response.headers().contains_key("outrigger-policy"));

    let mut echo = request("POST", "/v1.0/invoke/orders/method/echo", &[]);
    *echo.body_mut() = Body::full("hello");
    assert_eq!(sidecar.http(echo).await.body(), "hello");
}

#[tokio::test]
async fn a_body_streams_both_ways_with_its_trailers_over_http2() {
    let sidecar = Sidecar::start(Settings { protocol: AppProtocol::H2c, ..Settings::default() }).await;
    let (mut upload, body) = http_body_util::channel::Channel::<Bytes, outrigger_wire::Failure>::new(1);
    let uri = "http://localhost/v1.0/invoke/orders/method/echo";
    let request = Request::post(uri).body(Body::boxed(body)).unwrap();
    let client = sidecar.http_client(Version::Http2);
    let mut response = client.send(request).await.unwrap();
    for part in ["one", "two", "three"] {
        upload.send_data(part.into()).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part, "what was sent comes back before the next is sent");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "17".parse().unwrap());
    upload.send_trailers(trailers).await.unwrap();
    drop(upload);
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-checksum"], "17");
}

#[tokio::test]
async fn what_is_no_api_is_said_to_be_none() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let (status, code, message) = error(&sidecar.http(get("/nothing/here")).await);
    assert_eq!((status, code.as_str()), (404, "ERR_DIRECT_INVOKE"));
    assert!(message.starts_with("failed getting app id either from the URL path or the header dapr-app-id"));
    let (status, code, message) = error(&sidecar.http(get("/v1.0/state/store/key")).await);
    assert_eq!((status, code.as_str()), (501, "ERR_API_UNIMPLEMENTED"));
    assert!(message.contains("the state API") && message.contains("docs/not-supported.md"), "{message}");
    assert!(sidecar.app.is_untouched());
}

#[tokio::test]
async fn a_call_that_fails_says_whom_it_was_for_and_why() {
    let closed = || Settings { app: AppPort::Closed, ..Settings::default() };
    let none = || Settings { app: AppPort::None, ..Settings::default() };
    let stock = || Settings { manner: Manner::Stock, rules: Rules::Stock, ..Settings::default() };
    let own = "/v1.0/invoke/orders/method/x";
    for (settings, uri, status, words) in [
        (Settings::default(), "/v1.0/invoke/nobody/method/x", 500, "id: nobody, err: cannot resolve nobody.shop"),
        (Settings::default(), "/v1.0/invoke/a.b.c/method/x", 400, "more than one dot"),
        (Settings::default(), "/v1.0/invoke/http://169.254.169.254/method/x", 501, "outside the mesh"),
        (Settings::default(), "/v1.0/invoke/orders/method/a%00", 400, "path"),
        (stock(), "/v1.0/invoke/orders/method/a%23b", 500, "path"),
        (closed(), own, 500, "--app-port"),
        (none(), own, 500, "give it --app-port"),
    ] {
        let sidecar = Sidecar::start(settings).await;
        let (got, code, message) = error(&sidecar.http(get(uri)).await);
        assert_eq!((got, code.as_str()), (status, "ERR_DIRECT_INVOKE"), "{uri}: {message}");
        assert!(message.starts_with("failed to invoke, id: ") && message.contains(words), "{uri}: {message}");
        assert!(sidecar.app.is_untouched());
    }
}

#[tokio::test]
async fn health_follows_readiness() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let (status, code, message) = error(&sidecar.http(get("/v1.0/healthz")).await);
    assert_eq!((status, code.as_str()), (500, "ERR_HEALTH_NOT_READY"));
    assert!(message.contains("workload certificate"), "{message}");
    assert_eq!(error(&sidecar.http(get("/v1.0/healthz/outbound")).await).1, "ERR_OUTBOUND_HEALTH_NOT_READY");

    sidecar.readiness.api_is_listening();
    sidecar.readiness.identity_is_held();
    assert_eq!(sidecar.http(get("/v1.0/healthz/outbound")).await.status(), StatusCode::NO_CONTENT);
    sidecar.readiness.app_has_answered();
    for uri in ["/v1.0/healthz", "/v1.0/healthz/", "/v1.0/healthz?appid=orders"] {
        assert_eq!(sidecar.http(get(uri)).await.status(), StatusCode::NO_CONTENT, "{uri}");
    }
    assert_eq!(error(&sidecar.http(get("/v1.0/healthz?appid=web")).await).1, "ERR_HEALTH_APPID_NOT_MATCH");
}

#[tokio::test]
async fn only_who_shows_the_token_comes_in_and_the_app_never_sees_it() {
    let sidecar = Sidecar::start(Settings { token: Some("secret"), ..Settings::default() }).await;
    let call = "/v1.0/invoke/orders/method/x";
    for headers in [&[][..], &[("dapr-api-token", "wrong")]] {
        let response = sidecar.http(request("GET", call, headers)).await;
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::UNAUTHORIZED, &b"invalid api token\n"[..]));
    }
    assert!(sidecar.app.is_untouched());
    assert_ne!(sidecar.http(get("/v1.0/healthz")).await.status(), StatusCode::UNAUTHORIZED);
    let response = sidecar.http(request("GET", call, &[("dapr-api-token", "secret")])).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!sidecar.app.last().headers.contains_key("dapr-api-token"));
}

#[tokio::test]
async fn another_site_gets_nothing_through_the_users_browser() {
    let sidecar = Sidecar::start(Settings::default()).await;
    for headers in
        [&[("origin", "https://evil.example")][..], &[("host", "evil.example")], &[("sec-fetch-site", "cross-site")]]
    {
        let (status, code, _) = error(&sidecar.http(request("POST", "/v1.0/shutdown", headers)).await);
        assert_eq!((status, code.as_str()), (403, "ERR_PERMISSION_DENIED"), "{headers:?}");
    }
    let shut_down = sidecar.shutdown.asked(Asked::Graceful);
    assert_eq!(sidecar.http(request("POST", "/v1.0/shutdown", &[])).await.status(), StatusCode::NO_CONTENT);
    let asked = tokio::time::timeout(std::time::Duration::from_secs(5), shut_down).await.unwrap();
    assert_eq!(asked, Asked::Graceful);
    let force = [("dapr-force-shutdown", "True")];
    assert_eq!(sidecar.http(request("POST", "/v1.0/shutdown", &force)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(sidecar.shutdown.asked(Asked::Graceful).await, Asked::Forced);
}

#[tokio::test]
async fn metadata_is_kept_and_bounded() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let put = |value: Vec<u8>| {
        let mut put = request("PUT", "/v1.0/metadata/cli%20PID", &[]);
        *put.body_mut() = Body::full(value);
        put
    };
    assert_eq!(sidecar.http(put(b"17".to_vec())).await.status(), StatusCode::NO_CONTENT);
    let response = sidecar.http(get("/v1.0/metadata")).await;
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((&json["id"], &json["extended"]["cli PID"]), (&"orders".into(), &"17".into()));
    assert_eq!(error(&sidecar.http(put(vec![b'x'; 65_537])).await).0, 413);
    assert_eq!(error(&sidecar.http(put(vec![0xff])).await).0, 400);
    let text = sidecar.metrics();
    assert!(text.contains(r#"outrigger_limit_exceeded_total{limit="metadata_value_bytes"} 1"#), "{text}");
}

#[tokio::test]
async fn a_call_keeps_its_trace_and_tells_the_caller() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("dapr-app-id", "orders"), ("traceparent", parent), ("baggage", "user=alice")];
    let response = sidecar.http(request("GET", "/x", &headers)).await;
    for headers in [response.headers(), &sidecar.app.last().headers] {
        assert!(headers["traceparent"].to_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_eq!(headers["baggage"], "user=alice");
    }
    let fresh = sidecar.http(get("/v1.0/invoke/orders/method/x")).await;
    assert_eq!(fresh.headers()["traceparent"].len(), 55);
    let bad = sidecar.http(request("GET", "/x", &[("dapr-app-id", "orders"), ("baggage", "no value")])).await;
    assert_eq!(error(&bad).0, 400);
}

#[tokio::test]
async fn requests_are_counted_by_endpoint_and_never_by_path() {
    let sidecar = Sidecar::start(Settings::default()).await;
    sidecar.http(get("/v1.0/invoke/orders/method/secret-path")).await;
    sidecar.http(get("/other-secret-path")).await;
    let text = sidecar.metrics();
    for (path, status) in [("InvokeService", "200"), ("Unknown", "404")] {
        let row = format!(
            r#"dapr_http_server_request_count{{app_id="orders",method="GET",path="{path}",status="{status}"}} 1"#
        );
        assert!(text.contains(&row), "{row}\n{text}");
    }
    assert!(!text.contains("secret-path"));
}
