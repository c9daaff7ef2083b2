//! Spans as lines on standard output.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::UNIX_EPOCH;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

/// Writes one line a span. Errors of standard output are not reported: there is nowhere to.
pub(super) fn write(resource: &Resource, spans: &[SpanData]) {
    let mut lines = String::new();
    for span in spans {
        line(&mut lines, resource, span);
    }
    let _ = std::io::stdout().write_all(lines.as_bytes());
}

fn line(out: &mut String, resource: &Resource, span: &SpanData) {
    let service = resource.get(&"service.name".into()).map(|name| name.to_string()).unwrap_or_default();
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let at = span.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "span service={service:?} trace={} parent={} span={} kind={:?} name={:?} start={}.{:09} took_us={} status={:?}",
        span.span_context.trace_id(),
        span.parent_span_id,
        span.span_context.span_id(),
        span.span_kind,
        span.name,
        at.as_secs(),
        at.subsec_nanos(),
        took.as_micros(),
        span.status,
    );
    for attribute in &span.attributes {
        let _ = write!(out, " {}={:?}", attribute.key, attribute.value.to_string());
    }
    out.push('\n');
}
