//! [`Span`]: the record of one piece of work in a sampled trace.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{self as otel, SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

pub use opentelemetry::Value as AttributeValue;

use super::attribute;
use super::context::TraceContext;
use super::exporter::Queue;
use crate::clean::clean;

/// Longest span name, and longest text of an attribute, in bytes; the rest is cut off.
const MAX_TEXT: usize = 1024;
/// Most attributes of a span (OpenTelemetry's default); what is over is counted in the span itself.
const MAX_ATTRIBUTES: usize = 128;

/// Which side of which work a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A call that came from a peer's sidecar.
    Server,
    /// A call of our API by the app, and a call to the app: the kind that stock gives both.
    Client,
    /// A message handed to a broker.
    Producer,
    /// Work inside this process.
    Internal,
}

/// One span. It ends, and goes to the exporter's queue, when it is dropped; dropping never waits.
#[derive(Debug)]
pub struct Span {
    data: Option<Box<SpanData>>,
    queue: Arc<Queue>,
}

impl Span {
    pub(super) fn start(context: &TraceContext, kind: SpanKind, name: Cow<'static, str>, queue: Arc<Queue>) -> Span {
        let state = context.state().and_then(|state| TraceState::from_str(state.to_str().ok()?).ok());
        let now = SystemTime::now();
        let data = SpanData {
            span_context: SpanContext::new(
                otel::TraceId::from_bytes(context.trace_id().to_bytes()),
                otel::SpanId::from_bytes(context.span_id().to_bytes()),
                TraceFlags::SAMPLED,
                false,
                state.unwrap_or_default(),
            ),
            parent_span_id: context
                .parent_id()
                .map_or(otel::SpanId::INVALID, |id| otel::SpanId::from_bytes(id.to_bytes())),
            parent_span_is_remote: context.parent_received(),
            span_kind: match kind {
                SpanKind::Server => otel::SpanKind::Server,
                SpanKind::Client => otel::SpanKind::Client,
                SpanKind::Producer => otel::SpanKind::Producer,
                SpanKind::Internal => otel::SpanKind::Internal,
            },
            name: bounded(name),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("dapr-diagnostics").build(),
        };
        Span { data: Some(Box::new(data)), queue }
    }

    /// Sets an attribute; keys are in [`attribute`]. Text is cut to 1024 bytes, control characters are replaced, an empty text
    /// is left out. Beyond 128 attributes nothing is added.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<AttributeValue>) {
        let value = match value.into() {
            AttributeValue::String(text) if text.as_str().is_empty() => return,
            AttributeValue::String(text) => AttributeValue::String(bounded(Cow::Owned(text.into())).into()),
            other => other,
        };
        let Some(data) = self.data.as_mut() else { return };
        if data.attributes.len() < MAX_ATTRIBUTES {
            data.attributes.push(KeyValue::new(key, value));
        } else {
            data.dropped_attributes_count = data.dropped_attributes_count.saturating_add(1);
        }
    }

    /// Sets an attribute for each `dapr-*` header of a request, as stock does; never for a token, nor for what is not text.
    pub fn headers(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            let name = name.as_str();
            if name.starts_with("dapr-")
                && name != "dapr-api-token"
                && !value.is_sensitive()
                && let Ok(value) = value.to_str()
            {
                self.set(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Gives the span another name, for work whose nature shows only while it is done.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(data) = self.data.as_mut() {
            data.name = bounded(name.into());
        }
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, description: impl Into<Cow<'static, str>>) {
        if let Some(data) = self.data.as_mut() {
            data.status = Status::error(bounded(description.into()));
        }
    }

    /// Records the status of an HTTP response, in stock's key and in OpenTelemetry's; 400 and above fail the span with stock's text.
    pub fn http_status(&mut self, status: StatusCode) {
        self.set(attribute::DAPR_STATUS_CODE, status.as_str().to_owned());
        self.set(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
        if status.as_u16() >= 400 {
            self.fail(format!("Code({}): {}", status.as_str(), status.canonical_reason().unwrap_or("Unknown")));
        }
    }

    /// Records the status of a gRPC call; any but 0 (OK) fails the span with `message`.
    pub fn grpc_status(&mut self, code: u32, message: impl Into<Cow<'static, str>>) {
        self.set(attribute::RPC_GRPC_STATUS_CODE, i64::from(code));
        if code != 0 {
            self.fail(message);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut data) = self.data.take() {
            data.end_time = SystemTime::now();
            self.queue.push(*data);
        }
    }
}

fn bounded(text: Cow<'static, str>) -> Cow<'static, str> {
    match clean(&text, MAX_TEXT) {
        Cow::Borrowed(same) if same.len() == text.len() => text,
        cut => Cow::Owned(cut.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::trace::{Sampler, Tracer};

    #[test]
    fn headers_of_dapr_are_attributes_and_its_token_is_not() {
        let queue = Arc::new(Queue::for_test(1));
        let tracer = Tracer::recording(Sampler::ALWAYS, queue.clone());
        let mut span = tracer.start(&tracer.receive(&HeaderMap::new()), SpanKind::Client, "x").unwrap();
        let mut headers = HeaderMap::new();
        for name in ["dapr-app-id", "dapr-api-token", "authorization"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        span.headers(&headers);
        drop(span);
        let spans = queue.take();
        let keys: Vec<&str> = spans[0].attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["dapr-app-id"]);
    }
}
