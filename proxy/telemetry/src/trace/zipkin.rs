//! Spans in Zipkin's v2 JSON over HTTP: Dapr's `tracing.zipkin`.
//!
//! The mapping is OpenTelemetry's for Zipkin, as the exporter of a stock sidecar makes it: attributes of the span and of the
//! resource are tags, the status is in the tags `otel.status_code` and `error`, and `service.name` is the local endpoint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::CONTENT_TYPE;
use http::{Method, Request, Uri};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

use super::attribute;
use super::exporter::ExporterError;

/// Where Zipkin takes spans, when an address has no path.
const PATH: &str = "/api/v2/spans";

/// One Zipkin, over connections that are kept.
pub(super) struct Zipkin {
    url: Uri,
    client: HyperClient,
    resource: Resource,
}

impl Zipkin {
    /// For `http://host:port/path`; without a path, [`PATH`].
    ///
    /// # Errors
    /// When the address is not one, or asks for TLS.
    pub(super) fn new(url: &str, timeout: Duration, resource: &Resource) -> Result<Zipkin, ExporterError> {
        let wrong = || ExporterError::Url { url: url.to_owned() };
        let mut parsed: Uri = url.parse().map_err(|_| wrong())?;
        match parsed.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(ExporterError::Tls { url: url.to_owned() }),
            _ => return Err(wrong()),
        }
        if parsed.path() == "/" {
            parsed = format!("{}{PATH}", url.trim_end_matches('/')).parse().map_err(|_| wrong())?;
        }
        let client = HyperClient::with_default_connector(timeout, None);
        Ok(Zipkin { url: parsed, client, resource: resource.clone() })
    }

    /// Sends one batch; the error says why it was not taken.
    pub(super) async fn send(&self, spans: &[SpanData]) -> Result<(), String> {
        let body = Bytes::from(encode(spans, &self.resource).to_string());
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let response = self.client.send_bytes(request).await.map_err(|error| causes(&*error))?;
        if response.status().is_success() { Ok(()) } else { Err(format!("it answered {}", response.status())) }
    }
}

/// An error with its causes: what hyper says first tells nothing without them.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn encode(spans: &[SpanData], resource: &Resource) -> Value {
    let service = resource.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    let local = json!({ "serviceName": service.unwrap_or_default() });
    Value::Array(spans.iter().map(|span| one(span, resource, &local)).collect())
}

fn one(span: &SpanData, resource: &Resource, local: &Value) -> Value {
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let kind = match span.span_kind {
        SpanKind::Server => Some("SERVER"),
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal => None,
    };
    let parent = (span.parent_span_id != SpanId::INVALID).then(|| span.parent_span_id.to_string());
    let peer = match span.span_kind {
        SpanKind::Client | SpanKind::Producer => {
            span.attributes.iter().find(|pair| pair.key.as_str() == attribute::NET_PEER_NAME)
        }
        _ => None,
    };
    // Zipkin takes what is null as not there.
    json!({
        "traceId": span.span_context.trace_id().to_string(),
        "id": span.span_context.span_id().to_string(),
        "parentId": parent,
        "name": span.name,
        "kind": kind,
        "timestamp": since_epoch(span.start_time),
        // 0 would be a duration that is not known.
        "duration": micros(took).max(1),
        "localEndpoint": local,
        "remoteEndpoint": peer.map(|peer| json!({ "serviceName": peer.value.to_string() })),
        "tags": tags(span, resource),
    })
}

fn tags(span: &SpanData, resource: &Resource) -> Map<String, Value> {
    let mut tags = Map::new();
    for KeyValue { key, value, .. } in &span.attributes {
        tags.insert(key.to_string(), value.to_string().into());
    }
    for (key, value) in resource {
        tags.insert(key.to_string(), value.to_string().into());
    }
    tags.insert("otel.scope.name".to_owned(), span.instrumentation_scope.name().into());
    // Zipkin shows a span as failed that has the tag `error` at all.
    tags.remove("error");
    match &span.status {
        Status::Unset => {}
        Status::Ok => _ = tags.insert("otel.status_code".to_owned(), "OK".into()),
        Status::Error { description } => {
            tags.insert("otel.status_code".to_owned(), "ERROR".into());
            tags.insert("error".to_owned(), description.to_string().into());
        }
    }
    tags
}

fn since_epoch(time: SystemTime) -> u64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
