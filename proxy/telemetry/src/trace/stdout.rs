//! Spans as lines of the log, for looking at while developing: Dapr's `tracing.stdout`, under stock's scope.

use opentelemetry_sdk::trace::SpanData;

/// Logs one line a span, at level info.
pub(super) fn write(spans: &[SpanData]) {
    for span in spans {
        let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
        tracing::info!(
            target: "dapr.runtime.trace",
            name = %span.name,
            kind = ?span.span_kind,
            trace_id = %span.span_context.trace_id(),
            parent_id = %span.parent_span_id,
            span_id = %span.span_context.span_id(),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            status = ?span.status,
            attributes = %attributes(span),
            "span"
        );
    }
}

fn attributes(span: &SpanData) -> String {
    span.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::testing::{capture, text};
    use crate::trace::exporter::Queue;
    use crate::trace::{Sampler, SpanKind, Tracer, attribute};

    #[test]
    fn a_span_is_one_line_whatever_a_client_put_into_it() {
        let queue = Arc::new(Queue::for_test(1));
        let tracer = Tracer::recording(Sampler::ALWAYS, queue.clone());
        let context = tracer.receive(&http::HeaderMap::new());
        let mut span = tracer.start(&context, SpanKind::Client, "CallLocal/orders/a\r\nlevel=error").unwrap();
        span.set(attribute::URL_FULL, "/\u{1b}[31m");
        span.set(attribute::HTTP_REQUEST_METHOD, "");
        drop(span);
        let out = capture(text(), || write(&queue.take()));
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(out.contains(&format!("trace_id={}", context.trace_id())) && !out.contains('\u{1b}'), "{out}");
        assert!(out.contains("url.full=") && !out.contains("http.request.method"), "{out}");
    }

    #[test]
    fn a_span_keeps_128_attributes_and_counts_the_rest() {
        let queue = Arc::new(Queue::for_test(1));
        let tracer = Tracer::recording(Sampler::ALWAYS, queue.clone());
        let mut span = tracer.start(&tracer.receive(&http::HeaderMap::new()), SpanKind::Server, "x").unwrap();
        for i in 0..1_000_i64 {
            span.set(format!("dapr-{i}"), "v".repeat(5_000));
        }
        drop(span);
        let spans = queue.take();
        assert_eq!((spans[0].attributes.len(), spans[0].dropped_attributes_count), (128, 872));
        assert!(spans[0].attributes.iter().all(|pair| pair.value.to_string().len() == 1_024));
    }
}
