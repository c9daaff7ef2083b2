//! The gRPC proxy.

use std::time::Duration;

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use outrigger_api::Asked;
use outrigger_blocks::app::AppProtocol;
use outrigger_proto::runtime::http_extension::Verb;
use outrigger_proto::runtime::{
    GetMetadataRequest, GetMetadataResponse, HttpExtension, InvokeRequest, InvokeResponse, InvokeServiceRequest,
    SetMetadataRequest, ShutdownRequest,
};
use outrigger_wire::{Body, Failure};
use prost::Message;
use tokio::time::{Instant, timeout};

use crate::sidecar::{Settings, Sidecar, whole};

fn settings() -> Settings {
    Settings { protocol: AppProtocol::Grpc, ..Settings::default() }
}

fn call(method: &str, metadata: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::post(format!("http://localhost{method}"));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(metadata) {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::full("\0\0\0\0\x05hello")).unwrap()
}

fn to_orders(method: &str) -> Request<Body> {
    call(method, &[("dapr-app-id", "orders")])
}

/// Body and trailers, or the headers of a trailers-only response.
async fn ended(response: Response<Body>) -> (Bytes, HeaderMap) {
    let (head, body) = response.into_parts();
    let body = timeout(Duration::from_secs(10), body.collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    (body.to_bytes(), trailers)
}

async fn status(sidecar: &Sidecar, request: Request<Body>) -> (String, String) {
    let (_, trailers) = ended(sidecar.grpc_client().send(request).await.unwrap()).await;
    let text = |name| trailers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn a_unary_call_reaches_the_app_as_it_is_and_so_does_the_answer() {
    let sidecar = Sidecar::start(settings()).await;
    let metadata = [("dapr-app-id", "orders"), ("dapr-caller-app-id", "admin"), ("x-shop-bin", "AAE=")];
    let response = sidecar.grpc_client().send(call("/svc/Echo", &metadata)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let (data, trailers) = ended(response).await;
    assert_eq!((&data[..], trailers["grpc-status"].as_bytes()), (&b"\0\0\0\0\x05hello"[..], &b"0"[..]));
    let asked = sidecar.app.last();
    assert_eq!(asked.uri.to_string(), format!("http://{}/svc/Echo", sidecar.app_address));
    for (name, value) in
        [("te", "trailers"), ("x-shop-bin", "AAE="), ("dapr-caller-app-id", "orders"), ("outrigger-wire", "local")]
    {
        assert_eq!(asked.headers[name], value, "{name}");
    }
    assert!(asked.headers.contains_key("grpc-trace-bin") && !asked.headers.contains_key("dapr-app-id"));
}

#[tokio::test]
async fn dapr_callee_app_id_goes_before_dapr_app_id() {
    let sidecar = Sidecar::start(settings()).await;
    let both = [("dapr-callee-app-id", "orders"), ("dapr-app-id", "nobody")];
    assert_eq!(status(&sidecar, call("/svc/Echo", &both)).await.0, "0");
}

#[tokio::test]
async fn a_trailers_only_answer_stays_one() {
    let sidecar = Sidecar::start(settings()).await;
    let response = sidecar.grpc_client().send(to_orders("/svc/None")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(http_body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn a_stream_flows_both_ways_at_once() {
    let sidecar = Sidecar::start(settings()).await;
    let (mut upload, body) = Channel::<Bytes, Failure>::new(1);
    let mut response = sidecar.grpc_client().send(to_orders("/svc/Chat").map(|_| Body::boxed(body))).await.unwrap();
    for message in ["\0\0\0\0\x01a", "\0\0\0\0\x01b"] {
        upload.send_data(message.into()).await.unwrap();
        assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    drop(upload);
    assert_eq!(ended(response).await.1["grpc-status"], "0");
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_has_no_answer_and_one_that_stalls() {
    let sidecar = Sidecar::start(settings()).await;
    for method in ["/svc/Hang", "/svc/Stall"] {
        let started = Instant::now();
        let metadata = [("dapr-app-id", "orders"), ("grpc-timeout", "300m")];
        let (code, message) = status(&sidecar, call(method, &metadata)).await;
        // What was left of it where the wait began: 300 ms, or less on a busy machine.
        assert_eq!(code, "4", "{method}");
        assert!(message.starts_with("deadline timed out after "), "{method}: {message}");
        assert!(started.elapsed() >= Duration::from_millis(300));
        let told = sidecar.app.last().headers["grpc-timeout"].to_str().unwrap().to_owned();
        let micros: u64 = told.strip_suffix('u').unwrap().parse().unwrap();
        assert!(micros < 300_000, "{told}");
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let sidecar = Sidecar::start(settings()).await;
    for bad in ["5", "5s", "999999999S", "-1S", ""] {
        let (code, message) =
            status(&sidecar, call("/svc/Echo", &[("dapr-app-id", "orders"), ("grpc-timeout", bad)])).await;
        assert_eq!(code, "3", "{bad}");
        assert!(message.starts_with("grpc-timeout "), "{message}");
    }
    assert!(sidecar.app.is_untouched());
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_apps_work() {
    let sidecar = Sidecar::start(settings()).await;
    let client = sidecar.grpc_client();
    let gone = timeout(Duration::from_millis(200), client.send(to_orders("/svc/Hang"))).await;
    assert!(gone.is_err());
    let noticed = async {
        while sidecar.app.cancelled() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), noticed).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_proxied_says_what_to_do() {
    let sidecar = Sidecar::start(Settings { token: Some("secret"), ..settings() }).await;
    let token = ("dapr-api-token", "secret");
    for (method, metadata, code, words) in [
        ("/svc/Echo", &[("dapr-app-id", "orders")][..], "16", "missing api token"),
        ("/svc/Echo", &[("dapr-app-id", "orders"), ("dapr-api-token", "guess")], "16", "api token mismatch"),
        ("/svc/Echo", &[token], "12", "send its ID as metadata dapr-app-id"),
        (
            "/dapr.proto.runtime.v1.Dapr/GetState",
            &[token, ("dapr-app-id", "orders")],
            "12",
            "dapr.proto.runtime.v1.Dapr",
        ),
        ("/svc/Echo", &[token, ("dapr-app-id", "nobody")], "14", "cannot resolve nobody.shop"),
        ("/svc/Echo", &[token, ("dapr-app-id", "a.b.c")], "3", "more than one dot"),
        ("/svc/Echo", &[token, ("dapr-app-id", "orders"), ("baggage", "no value")], "3", "baggage"),
    ] {
        let (got, message) = status(&sidecar, call(method, metadata)).await;
        assert_eq!(got, code, "{method} {metadata:?}: {message}");
        assert!(message.contains(words), "{message}");
    }
    assert!(sidecar.app.is_untouched());
}

/// Calls a method of the sidecar itself.
async fn own<M: Message + Default>(
    sidecar: &Sidecar,
    method: &str,
    message: &impl Message,
    metadata: &[(&str, &str)],
) -> (HeaderMap, HeaderMap, M) {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut framed).unwrap();
    let request = call(&format!("/dapr.proto.runtime.v1.Dapr/{method}"), metadata).map(|_| Body::full(framed));
    let response = sidecar.grpc_client().send(request).await.unwrap();
    let headers = response.headers().clone();
    let (data, trailers) = ended(response).await;
    (headers, trailers, M::decode(data.get(5..).unwrap_or_default()).unwrap())
}

fn invocation(id: &str, method: &str) -> InvokeServiceRequest {
    let data = Some(prost_types::Any { type_url: String::new(), value: b"hello".to_vec() });
    let http_extension = Some(HttpExtension { verb: Verb::Post.into(), querystring: "a=1".into() });
    let message = InvokeRequest { method: method.into(), data, content_type: "text/plain".into(), http_extension };
    InvokeServiceRequest { id: id.into(), message: Some(message) }
}

#[tokio::test]
async fn an_http_app_is_invoked_by_message_as_the_sdks_do() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let metadata = [("x-shop", "1"), ("dapr-caller-app-id", "admin")];
    let (headers, trailers, answer): (_, _, InvokeResponse) =
        own(&sidecar, "InvokeService", &invocation("orders", "echo"), &metadata).await;
    assert_eq!(
        (&trailers["grpc-status"], &headers["dapr-http-status"]),
        (&"0".parse().unwrap(), &"200".parse().unwrap())
    );
    assert_eq!(answer.data.unwrap().value, b"hello");
    let asked = sidecar.app.last();
    assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("POST", "/echo?a=1"));
    for (name, value) in [("content-type", "text/plain"), ("x-shop", "1"), ("dapr-caller-app-id", "orders")] {
        assert_eq!(asked.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }

    let (headers, ..): (_, _, InvokeResponse) =
        own(&sidecar, "InvokeService", &invocation("orders", "teapot"), &[]).await;
    assert_eq!(
        (&headers["grpc-status"], &headers["dapr-http-status"]),
        (&"2".parse().unwrap(), &"418".parse().unwrap())
    );
    let (headers, ..): (_, _, InvokeResponse) = own(&sidecar, "InvokeService", &invocation("nobody", "x"), &[]).await;
    let message = headers["grpc-message"].to_str().unwrap().replace("%20", " ");
    assert!(message.starts_with("failed to invoke, id: nobody, err: cannot resolve"), "{message}");
}

#[tokio::test]
async fn an_invocation_by_message_keeps_to_its_deadline() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let (headers, ..): (_, _, InvokeResponse) =
        own(&sidecar, "InvokeService", &invocation("orders", "hang"), &[("grpc-timeout", "100m")]).await;
    assert_eq!(headers["grpc-status"], "4");
}

#[tokio::test]
async fn the_sidecar_tells_and_keeps_metadata_and_ends_when_told() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let set = SetMetadataRequest { key: "appPID".into(), value: "17".into() };
    let (_, trailers, ()) = own(&sidecar, "SetMetadata", &set, &[]).await;
    assert_eq!(trailers["grpc-status"], "0");
    let (_, _, told): (_, _, GetMetadataResponse) = own(&sidecar, "GetMetadata", &GetMetadataRequest {}, &[]).await;
    assert_eq!((told.id.as_str(), told.extended_metadata["appPID"].as_str()), ("orders", "17"));
    let long = SetMetadataRequest { key: "a".into(), value: "x".repeat(65_537) };
    let (headers, _, ()) = own(&sidecar, "SetMetadata", &long, &[]).await;
    assert_eq!(headers["grpc-status"], "8");

    let shut_down = sidecar.shutdown.asked(Asked::Graceful);
    let (_, trailers, ()) = own(&sidecar, "Shutdown", &ShutdownRequest {}, &[]).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(timeout(Duration::from_secs(5), shut_down).await.unwrap(), Asked::Graceful);
    let force = [("dapr-force-shutdown", "true")];
    let (_, trailers, ()) = own(&sidecar, "Shutdown", &ShutdownRequest {}, &force).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(sidecar.shutdown.asked(Asked::Graceful).await, Asked::Forced);
}

#[tokio::test]
async fn an_http_app_takes_no_grpc() {
    let sidecar = Sidecar::start(Settings::default()).await;
    let (code, message) = status(&sidecar, to_orders("/svc/Echo")).await;
    assert_eq!(code, "12");
    assert!(message.contains("--app-protocol is http"), "{message}");
}

#[tokio::test]
async fn what_is_no_grpc_gets_an_http_answer() {
    let sidecar = Sidecar::start(settings()).await;
    let json = Request::post("http://localhost/svc/Echo").header("content-type", "application/json");
    let response = sidecar.grpc_client().send(json.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let response =
        sidecar.grpc_client().send(Request::get("http://localhost/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    let old = Request::get("/").header("host", "localhost").body(Body::empty()).unwrap();
    let response = whole(sidecar.grpc_client_http1().send(old).await.unwrap()).await;
    assert_eq!(response.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let sidecar = Sidecar::start(settings()).await;
    status(&sidecar, to_orders("/svc/Echo")).await;
    status(&sidecar, to_orders("/svc/None")).await;
    let text = sidecar.metrics();
    for (method, status) in [("/svc/Echo", "OK"), ("other", "NotFound")] {
        let row = format!(
            r#"dapr_grpc_io_server_completed_rpcs{{app_id="orders",grpc_server_method="{method}",grpc_server_status="{status}"}} 1"#
        );
        assert!(text.contains(&row), "{row}\n{text}");
    }
}

fn framed(method: &str, message: &[u8]) -> Request<Body> {
    let mut bytes = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    bytes.extend_from_slice(message);
    call(method, &[]).map(|_| Body::full(bytes))
}

#[tokio::test]
async fn the_sidecar_tells_its_health_and_leaves_the_apps_to_the_app() {
    let sidecar = Sidecar::start(settings()).await;
    let (not_serving, serving) = (&b"\0\0\0\0\x02\x08\x02"[..], &b"\0\0\0\0\x02\x08\x01"[..]);
    let answer = sidecar.grpc_client().send(framed("/grpc.health.v1.Health/Check", b"")).await.unwrap();
    assert_eq!(ended(answer).await.0, not_serving);
    sidecar.readiness.api_is_listening();
    sidecar.readiness.identity_is_held();
    let answer = sidecar.grpc_client().send(framed("/grpc.health.v1.Health/Check", b"")).await.unwrap();
    assert_eq!(ended(answer).await.0, serving);
    assert_eq!(status(&sidecar, framed("/grpc.health.v1.Health/Check", b"\x0a\x01x")).await.0, "5");
    status(&sidecar, to_orders("/grpc.health.v1.Health/Check")).await;
    assert_eq!(sidecar.app.last().uri.path(), "/grpc.health.v1.Health/Check");
}

#[tokio::test]
async fn a_watcher_of_health_is_told_of_each_change() {
    let sidecar = Sidecar::start(settings()).await;
    let mut body = sidecar.grpc_client().send(framed("/grpc.health.v1.Health/Watch", b"")).await.unwrap().into_body();
    let mut next = async || timeout(Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap().into_data();
    assert_eq!(next().await.unwrap()[6], 2);
    sidecar.readiness.api_is_listening();
    sidecar.readiness.identity_is_held();
    assert_eq!(next().await.unwrap()[6], 1);
}

#[tokio::test]
async fn reflection_names_what_is_served_in_both_versions() {
    let sidecar = Sidecar::start(settings()).await;
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // Field 7: list services.
        let (listed, trailers) = ended(sidecar.grpc_client().send(framed(&method, b"\x3a\x00")).await.unwrap()).await;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert_eq!(trailers["grpc-status"], "0");
        for service in [
            "dapr.proto.runtime.v1.Dapr",
            "grpc.health.v1.Health",
            &format!("grpc.reflection.{version}.ServerReflection"),
        ] {
            assert!(listed.contains(service), "{service}: {listed}");
        }
        // Field 4: the file that has a symbol.
        let symbol = b"\x22\x15grpc.health.v1.Health";
        let (file, _) = ended(sidecar.grpc_client().send(framed(&method, symbol)).await.unwrap()).await;
        assert!(String::from_utf8_lossy(&file).contains("HealthCheckRequest"));
    }
}

#[tokio::test]
async fn what_the_sidecar_serves_itself_wants_the_token_too() {
    let sidecar = Sidecar::start(Settings { token: Some("secret"), ..settings() }).await;
    for method in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(status(&sidecar, framed(method, b"")).await.0, "16", "{method}");
    }
}
