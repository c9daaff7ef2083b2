//! Spans reach a collector over each protocol, and a collector that is slow or away costs spans, never time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{
    Config, Endpoint, Exporter, ExporterError, OtlpProtocol, Outcome, Sampler, SpanKind, Tracer, attribute, call_local,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(10);

/// What a collector was sent.
struct Received {
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Received {
    fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// A collector on loopback that takes every batch over HTTP/1.1.
async fn http_collector() -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end;
                }
                if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                    return;
                }
            };
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let mut lines = text.lines();
            let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
            let headers: HeaderMap = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
                .collect();
            let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
            while bytes.len() < head + 4 + length {
                stream.read_buf(&mut bytes).await.unwrap();
            }
            let body = bytes.drain(..head + 4 + length).skip(head + 4).collect();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            send.send(Received { path, headers, body }).await.unwrap();
        }
    });
    (address, receive)
}

/// A collector on loopback that takes every batch over gRPC.
async fn grpc_collector() -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let (head, mut stream) = request.into_parts();
                let mut body = Vec::new();
                while let Some(data) = stream.data().await {
                    let data = data.unwrap();
                    stream.flow_control().release_capacity(data.len()).unwrap();
                    body.extend_from_slice(&data);
                }
                let response = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let mut answer = respond.send_response(response, false).unwrap();
                answer.send_data(bytes::Bytes::from_static(&[0; 5]), false).unwrap();
                let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                answer.send_trailers([status].into_iter().collect()).unwrap();
                let received = Received { path: head.uri.path().to_owned(), headers: head.headers, body };
                send.send(received).await.unwrap();
            });
        }
    });
    (address, receive)
}

fn config(protocol: OtlpProtocol, address: SocketAddr) -> Config {
    let endpoint = Endpoint::Otlp {
        protocol,
        url: format!("http://{address}"),
        headers: vec![("x-collector-token".to_owned(), "t".to_owned())],
        timeout: Duration::from_secs(5),
    };
    let mut config = Config::new("orders-app", endpoint);
    config.sampler = Sampler::ALWAYS;
    config.resource = vec![("deployment.environment".to_owned(), "test-bench".to_owned())];
    config
}

fn start(config: Config) -> (Tracer, Exporter, Registry) {
    let registry = Registry::new();
    let (tracer, exporter) = Exporter::start(config, &registry, &tokio::runtime::Handle::current()).unwrap();
    (tracer, exporter, registry)
}

fn one_call(tracer: &Tracer) -> String {
    let mut incoming = HeaderMap::new();
    incoming.insert("traceparent", HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    incoming.insert("tracestate", HeaderValue::from_static("vendor=opaque"));
    let context = tracer.receive(&incoming);
    let mut span = tracer.start_with(&context, SpanKind::Server, || call_local("orders-app", "/new")).unwrap();
    span.set(attribute::DAPR_INVOKE_METHOD, "new");
    span.http_status(StatusCode::FORBIDDEN);
    context.span_id().to_string()
}

fn check(received: &Received, span_id: &str) {
    for text in [
        "CallLocal/orders-app/new",
        "service.name",
        "orders-app",
        "test-bench",
        "dapr-diagnostics",
        "vendor=opaque",
        "Code(403): Forbidden",
    ] {
        assert!(received.contains(text), "{text}");
    }
    let hex = |text: &str| {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect::<Vec<_>>()
    };
    for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", span_id] {
        assert!(received.body.windows(id.len() / 2).any(|window| window == hex(id)), "{id}");
    }
    assert_eq!(received.headers["x-collector-token"], "t");
}

#[tokio::test]
async fn a_span_reaches_a_collector_over_http() {
    let (address, mut collector) = http_collector().await;
    let (tracer, exporter, registry) = start(config(OtlpProtocol::Http, address));
    let span_id = one_call(&tracer);
    assert_eq!(exporter.shutdown(LONG).await, Outcome::Flushed);
    let received = collector.recv().await.unwrap();
    assert_eq!(received.path, "/v1/traces");
    check(&received, &span_id);
    assert!(registry.to_string().contains("outrigger_trace_spans_total{outcome=\"exported\"} 1\n"));
}

#[tokio::test]
async fn a_span_reaches_a_collector_over_grpc() {
    let (address, mut collector) = grpc_collector().await;
    let (tracer, exporter, _) = start(config(OtlpProtocol::Grpc, address));
    let span_id = one_call(&tracer);
    assert_eq!(exporter.shutdown(LONG).await, Outcome::Flushed);
    let received = collector.recv().await.unwrap();
    assert_eq!(received.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    check(&received, &span_id);
}

#[tokio::test]
async fn a_span_reaches_zipkin_in_its_own_words() {
    let (address, mut collector) = http_collector().await;
    let mut config = config(OtlpProtocol::Http, address);
    config.endpoints = vec![Endpoint::Zipkin { url: format!("http://{address}"), timeout: LONG }];
    let (tracer, exporter, registry) = start(config);
    let span_id = one_call(&tracer);
    assert_eq!(exporter.shutdown(LONG).await, Outcome::Flushed);

    let received = collector.recv().await.unwrap();
    assert_eq!(received.path, "/api/v2/spans");
    assert_eq!(received.headers["content-type"], "application/json");
    let spans: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    let span = &spans[0];
    assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&span["parentId"], &span["id"]), (&"00f067aa0ba902b7".into(), &span_id.into()));
    assert_eq!((&span["name"], &span["kind"]), (&"CallLocal/orders-app/new".into(), &"SERVER".into()));
    assert_eq!(span["localEndpoint"]["serviceName"], "orders-app");
    assert!(span["timestamp"].as_u64().unwrap() > 1_500_000_000_000_000 && span["duration"].as_u64().unwrap() >= 1);
    let tags = &span["tags"];
    for (key, value) in [
        ("dapr.invoke_method", "new"),
        ("http.response.status_code", "403"),
        ("deployment.environment", "test-bench"),
        ("otel.scope.name", "dapr-diagnostics"),
        ("otel.status_code", "ERROR"),
        ("error", "Code(403): Forbidden"),
    ] {
        assert_eq!(tags[key], value, "{key}");
    }
    assert!(registry.to_string().contains("outrigger_trace_spans_total{outcome=\"exported\"} 1\n"));
}

#[tokio::test]
async fn spans_that_zipkin_refuses_are_counted_as_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/own/path", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(64 * 1024)).await.unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let mut config = Config::new("orders-app", Endpoint::Zipkin { url, timeout: LONG });
    config.sampler = Sampler::ALWAYS;
    let (tracer, exporter, registry) = start(config);
    one_call(&tracer);
    assert_eq!(exporter.shutdown(LONG).await, Outcome::Flushed);
    assert!(registry.to_string().contains("outrigger_trace_spans_total{outcome=\"failed\"} 1\n"), "{registry}");
}

#[tokio::test]
async fn a_full_batch_is_sent_without_waiting_for_the_delay() {
    let (address, mut collector) = http_collector().await;
    let mut config = config(OtlpProtocol::Http, address);
    (config.batch, config.delay) = (3, Duration::from_secs(3_600));
    let (tracer, _exporter, _) = start(config);
    for _ in 0..3 {
        one_call(&tracer);
    }
    assert!(tokio::time::timeout(LONG, collector.recv()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_never_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(OtlpProtocol::Http, listener.local_addr().unwrap());
    (config.batch, config.queue) = (1, 16);
    let (tracer, exporter, registry) = start(config);
    let began = Instant::now();
    for _ in 0..1_000 {
        one_call(&tracer);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(registry.to_string().contains("outrigger_trace_spans_total{outcome=\"dropped\"} 984\n"), "{registry}");
    assert_eq!(exporter.shutdown(Duration::from_millis(50)).await, Outcome::TimedOut);
}

#[tokio::test]
async fn spans_that_a_collector_is_not_there_for_are_counted_as_failed() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for protocol in [OtlpProtocol::Http, OtlpProtocol::Grpc] {
        let mut config = config(protocol, nobody);
        let Endpoint::Otlp { timeout, .. } = &mut config.endpoints[0] else { unreachable!() };
        *timeout = Duration::from_millis(200);
        let (tracer, exporter, registry) = start(config);
        one_call(&tracer);
        assert_eq!(exporter.shutdown(LONG).await, Outcome::Flushed);
        assert!(registry.to_string().contains("outrigger_trace_spans_total{outcome=\"failed\"} 1\n"), "{registry}");
    }
}

#[tokio::test]
async fn a_collector_address_that_cannot_be_used_is_refused_by_name() {
    let refused = |url: &str| {
        let endpoint =
            Endpoint::Otlp { protocol: OtlpProtocol::Grpc, url: url.to_owned(), headers: vec![], timeout: LONG };
        Exporter::start(Config::new("a", endpoint), &Registry::new(), &tokio::runtime::Handle::current()).unwrap_err()
    };
    let zipkin = |url: &str| {
        let endpoint = Endpoint::Zipkin { url: url.to_owned(), timeout: LONG };
        Exporter::start(Config::new("a", endpoint), &Registry::new(), &tokio::runtime::Handle::current()).unwrap_err()
    };
    assert!(matches!(refused("https://collector:4317"), ExporterError::Tls { .. }));
    for url in ["collector:4317", "ftp://collector", "", "http://"] {
        assert!(matches!(refused(url), ExporterError::Url { .. }), "{url}");
        assert!(matches!(zipkin(url), ExporterError::Url { .. }), "{url}");
    }
    assert!(matches!(zipkin("https://zipkin:9411"), ExporterError::Tls { .. }));
}

#[tokio::test]
async fn a_collector_header_is_refused_without_showing_its_value() {
    let mut config = config(OtlpProtocol::Http, ([127, 0, 0, 1], 1).into());
    let Endpoint::Otlp { headers, .. } = &mut config.endpoints[0] else { unreachable!() };
    headers.push(("authorization".to_owned(), "secret\n".to_owned()));
    let error = Exporter::start(config, &Registry::new(), &tokio::runtime::Handle::current()).unwrap_err();
    assert!(error.to_string().contains("authorization") && !error.to_string().contains("secret"), "{error}");
}
