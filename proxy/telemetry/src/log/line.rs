//! One event as one line.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::writer::Writer;
use super::{Config, Format, escape};

/// Longest text of one field, in bytes; the rest is cut off.
const MAX_FIELD: usize = 8 * 1024;

/// Formats events and hands them to the writer.
pub(super) struct Lines {
    shape: Shape,
    writer: Arc<Writer>,
}

/// How a line begins, whatever it says. The constant fields are formatted once, in two pieces: stock sorts them by name, and
/// `scope` stands between.
#[derive(Clone)]
pub(super) struct Shape {
    format: Format,
    before_scope: String,
    after_scope: String,
}

impl Shape {
    pub(super) fn new(config: &Config) -> Shape {
        let (mut before_scope, mut after_scope) = (String::new(), String::new());
        if !config.app_id.is_empty() {
            text_pair(&mut before_scope, config.format, "app_id", &config.app_id);
        }
        text_pair(&mut before_scope, config.format, "instance", &config.instance);
        text_pair(&mut after_scope, config.format, "type", "log");
        text_pair(&mut after_scope, config.format, "ver", &config.version);
        Shape { format: config.format, before_scope, after_scope }
    }

    /// The line that tells of lines that were lost.
    pub(super) fn lost(&self, count: u64) -> String {
        let mut line = String::new();
        let message = format!("{count} log lines were lost: whoever reads the log is too slow");
        self.begin(&mut line, &mut String::new(), "warning", module_path!(), &message);
        self.end(&mut line, "");
        line
    }

    /// Writes time, level, message, scope and the constant fields; `value` is room to format in.
    fn begin(&self, line: &mut String, value: &mut String, level: &str, target: &str, message: &str) {
        value.clear();
        timestamp(value, OffsetDateTime::now_utc());
        // Writing to a String does not fail, here and below.
        match self.format {
            Format::Text => {
                let _ = write!(line, "time=\"{value}\" level={level} msg=");
                escape::text(line, message);
            }
            Format::Json => {
                let _ = write!(line, "{{\"time\":\"{value}\",\"level\":\"{level}\",\"msg\":");
                escape::json(line, message);
            }
        }
        line.push_str(&self.before_scope);
        value.clear();
        scope(value, target);
        text_pair(line, self.format, "scope", value);
        line.push_str(&self.after_scope);
    }

    fn end(&self, line: &mut String, fields: &str) {
        line.push_str(fields);
        line.push_str(if self.format == Format::Json { "}\n" } else { "\n" });
    }
}

thread_local! {
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer { line: String::new(), message: String::new(), fields: String::new(), value: String::new() }) };
}

/// What a thread formats in; kept between events.
struct Buffer {
    line: String,
    message: String,
    fields: String,
    value: String,
}

impl Lines {
    pub(super) fn new(shape: Shape, writer: Arc<Writer>) -> Lines {
        Lines { shape, writer }
    }

    fn write(&self, event: &Event<'_>, buffer: &mut Buffer) {
        let Buffer { line, message, fields, value } = buffer;
        line.clear();
        message.clear();
        fields.clear();
        event.record(&mut Fields { format: self.shape.format, message, out: fields, value });
        let metadata = event.metadata();
        self.shape.begin(line, value, level(*metadata.level()), metadata.target(), message);
        self.shape.end(line, fields);
        self.writer.push(line.as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        BUFFER.with(|buffer| {
            // Borrowed already: a value's own Display has logged. Tracing does not let that through, and neither must a panic.
            if let Ok(mut buffer) = buffer.try_borrow_mut() {
                self.write(event, &mut buffer);
            }
        });
    }
}

/// Collects the message, and the other fields formatted.
struct Fields<'a> {
    format: Format,
    message: &'a mut String,
    out: &'a mut String,
    value: &'a mut String,
}

impl Fields<'_> {
    fn text(&mut self, field: &Field, value: &str) {
        let value = crate::clean::prefix(value, MAX_FIELD);
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            text_pair(self.out, self.format, name(field), value);
        }
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        let _ = match self.format {
            Format::Text => write!(self.out, " {}={value}", name(field)),
            Format::Json => write!(self.out, ",\"{}\":{value}", name(field)),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(self.value);
        text.clear();
        // A Debug that fails leaves what it has written so far.
        let _ = write!(text, "{value:?}");
        self.text(field, &text);
        *self.value = text;
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// A field's name; those that the line has itself get a prefix, as logrus gives it.
fn name(field: &Field) -> &'static str {
    match field.name() {
        "time" => "fields.time",
        "level" => "fields.level",
        "msg" => "fields.msg",
        "scope" => "fields.scope",
        "type" => "fields.type",
        "instance" => "fields.instance",
        "ver" => "fields.ver",
        "app_id" => "fields.app_id",
        other => other,
    }
}

fn text_pair(out: &mut String, format: Format, name: &str, value: &str) {
    match format {
        Format::Text => {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            escape::text(out, value);
        }
        Format::Json => {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            escape::json(out, value);
        }
    }
}

/// logrus' words.
fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// `outrigger_mesh::http::server` becomes `outrigger.mesh.http.server`.
fn scope(out: &mut String, target: &str) {
    let (target, ours) = match target.strip_prefix("outrigger_") {
        Some(rest) => (rest, true),
        None => (target, false),
    };
    if ours {
        out.push_str("outrigger.");
    }
    for (index, part) in target.split("::").enumerate() {
        if index > 0 {
            out.push('.');
        }
        out.push_str(part);
    }
}

/// RFC 3339 with nanoseconds, in Go's form: without zeros at the end of the fraction.
fn timestamp(out: &mut String, at: OffsetDateTime) {
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if at.nanosecond() > 0 {
        let _ = write!(out, ".{:09}", at.nanosecond());
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push('Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_gos_rfc3339nano() {
        for (nanos, text) in [
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
            (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        ] {
            let mut out = String::new();
            timestamp(&mut out, OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap());
            assert_eq!(out, text);
        }
    }

    #[test]
    fn the_notice_of_lost_lines_has_the_shape_of_the_others() {
        let json = Config { format: Format::Json, ..crate::log::testing::text() };
        let line = Shape::new(&json).lost(7);
        assert!(
            line.starts_with("{\"time\":\"20") && line.ends_with("\"type\":\"log\",\"ver\":\"1.0.0\"}\n"),
            "{line}"
        );
        assert!(line.contains("\"level\":\"warning\",\"msg\":\"7 log lines were lost"), "{line}");
    }

    #[test]
    fn a_module_becomes_a_scope() {
        for (target, text) in [
            ("outrigger_mesh::http::server", "outrigger.mesh.http.server"),
            ("outrigger::wire_up", "outrigger.wire_up"),
            ("dapr.runtime", "dapr.runtime"),
            ("access", "access"),
        ] {
            let mut out = String::new();
            scope(&mut out, target);
            assert_eq!(out, text);
        }
    }
}
