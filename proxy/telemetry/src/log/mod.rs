//! The log: one line an event, text or JSON, in stock's shape.
//!
//! Text is logrus' `key=value` form, JSON one object a line; both have `time` (RFC 3339 with nanoseconds, UTC), `level`, `msg`, `scope`,
//! `type`, `instance`, `ver`, `app_id`, then the fields of the event. A value can never start a new line or colour a terminal: quotes,
//! backslashes and control characters are escaped.
//!
//! **Standard output and the data path.** A write to a pipe whose reader has stopped blocks for ever, and with one data thread that
//! would stop every call. So a line is only appended to a bounded buffer in memory, and a thread of its own does the writing, many lines
//! at once. When the buffer is full, lines are lost, never time: each lost line is counted
//! (`outrigger_log_lines_dropped_total`), and the log itself says how many as soon as it moves again.
//!
//! **What allocates.** Nothing that grows with the number of lines: each thread formats into a buffer that it keeps.

mod escape;
mod filter;
mod line;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::metrics::Registry;
use line::{Lines, Shape};
use writer::Writer;

pub use filter::{Level, LevelError};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=info msg="…" app_id=… …`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output, as stock.
    #[default]
    Stdout,
    /// Standard error, for a command whose output is its answer.
    Stderr,
}

/// What the log needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// How lines look. Default text.
    pub format: Format,
    /// The least level that is written. Default info.
    pub level: Level,
    /// Whether access records are written (target `access`). Default yes; they are at level info, and go with [`level`](Self::level) `warn` too.
    pub access: bool,
    /// Where lines go. Default standard output.
    pub output: Output,
    /// The app beside this proxy; empty in a process that has none, and then left out.
    pub app_id: String,
    /// This machine. Default its host name.
    pub instance: String,
    /// The version of this program.
    pub version: String,
    /// Most bytes that wait for the writing thread. Default 1 MiB.
    pub buffer: usize,
}

impl Config {
    /// The defaults, for an app and a version.
    pub fn new(app_id: impl Into<String>, version: impl Into<String>) -> Config {
        Config {
            format: Format::Text,
            level: Level::Info,
            access: true,
            output: Output::Stdout,
            app_id: app_id.into(),
            instance: host_name(),
            version: version.into(),
            buffer: 1 << 20,
        }
    }
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No thread.
    #[error("start the log's writing thread: {0}")]
    Thread(#[source] io::Error),
    /// Somebody set one up already.
    #[error("this process has a log already; set it up once, first thing")]
    Twice,
}

/// Keeps the log going. Dropping it writes what waits, for at most two seconds; later lines are lost.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct Guard {
    writer: Arc<Writer>,
}

impl Guard {
    /// Waits until everything logged so far is written, at most `timeout`. True when it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.writer.flush(timeout)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.writer.close(Duration::from_secs(2));
    }
}

/// Makes this the log of the process. Hold the guard until the very end.
///
/// # Errors
/// When the process has one already, or no thread can be started.
pub fn init(config: Config, metrics: &Registry) -> Result<Guard, LogError> {
    let sink: Box<dyn io::Write + Send> = match config.output {
        Output::Stdout => Box::new(io::stdout()),
        Output::Stderr => Box::new(io::stderr()),
    };
    let (subscriber, guard) = subscriber(config, metrics, sink)?;
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    Ok(guard)
}

fn subscriber(
    config: Config,
    metrics: &Registry,
    sink: Box<dyn io::Write + Send>,
) -> Result<(impl tracing::Subscriber + Send + Sync, Guard), LogError> {
    let lost = metrics.counter(
        "outrigger_log_lines_dropped_total",
        "Log lines lost because the log's reader was too slow.",
        &[],
    );
    let filter = filter::targets(config.level, config.access);
    let shape = Shape::new(&config);
    let notice = shape.clone();
    let writer = Writer::start(sink, config.buffer, lost.with(&[]), move |count| notice.lost(count));
    let writer = Arc::new(writer.map_err(LogError::Thread)?);
    let lines = Lines::new(shape, writer.clone());
    Ok((tracing_subscriber::registry().with(filter).with(lines), Guard { writer }))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
pub(crate) mod testing {
    //! What would be logged, as text.

    use std::sync::Mutex;

    use super::*;

    /// A configuration for tests: text, everything constant.
    pub(crate) fn text() -> Config {
        Config { instance: "host".to_owned(), ..Config::new("orders", "1.0.0") }
    }

    /// Runs `work` under a log of its own, and gives what that wrote.
    pub(crate) fn capture(config: Config, work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Seen(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Seen {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let seen = Seen::default();
        let (subscriber, guard) = subscriber(config, &Registry::new(), Box::new(seen.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        assert!(guard.flush(Duration::from_secs(10)));
        let bytes = seen.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{capture, text};
    use super::*;

    fn after_time(line: &str) -> &str {
        line.split_once('Z').unwrap().1
    }

    #[test]
    fn a_text_line_has_stocks_shape() {
        let out = capture(text(), || tracing::info!(target: "dapr.runtime", port = 3500, "HTTP server is running"));
        assert!(out.starts_with("time=\"20"), "{out}");
        assert_eq!(
            after_time(&out),
            "\" level=info msg=\"HTTP server is running\" app_id=orders instance=host scope=dapr.runtime type=log ver=1.0.0 port=3500\n"
        );
    }

    #[test]
    fn a_json_line_has_stocks_fields_and_keeps_the_kinds_of_values() {
        let json = Config { format: Format::Json, ..text() };
        let out = capture(
            json,
            || tracing::warn!(count = 3_u64, share = 0.5, none = f64::NAN, ok = true, who = %"a\"b", app_id = "evil", "hm"),
        );
        assert!(out.starts_with("{\"time\":\"20"), "{out}");
        assert_eq!(
            after_time(&out),
            "\",\"level\":\"warning\",\"msg\":\"hm\",\"app_id\":\"orders\",\"instance\":\"host\",\"scope\":\"outrigger.telemetry.log.tests\",\
             \"type\":\"log\",\"ver\":\"1.0.0\",\"count\":3,\"share\":0.5,\"none\":\"NaN\",\"ok\":true,\"who\":\"a\\\"b\",\"fields.app_id\":\"evil\"}\n"
        );
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_a_field() {
        let evil = "x\r\ntime=\"2020\" level=error msg=\"forged\" \u{1b}[2J\u{2028}";
        for format in [Format::Text, Format::Json] {
            let out = capture(Config { format, ..text() }, || tracing::info!(header = evil, "from a client: {evil}"));
            assert_eq!(out.lines().count(), 1, "{out}");
            assert!(!out.contains(['\u{1b}', '\r', '\u{2028}']) && !out.contains("level=error msg=\"forged"), "{out}");
        }
    }

    #[test]
    fn a_huge_value_is_cut() {
        let out = capture(text(), || tracing::info!(value = "x".repeat(1 << 20), "big"));
        assert!(out.len() < 10_000, "{}", out.len());
    }

    #[test]
    fn our_own_debug_lines_show_at_debug_and_those_of_libraries_do_not() {
        let debug = Config { level: Level::Debug, ..text() };
        let out = capture(debug, || {
            tracing::debug!("ours");
            tracing::debug!(target: "h2::codec", "every frame");
            tracing::warn!(target: "hyper", "a library warns");
        });
        assert!(out.contains("msg=ours") && out.contains("scope=hyper") && !out.contains("every frame"), "{out}");
    }

    #[test]
    fn a_display_that_logs_neither_hangs_nor_spoils_its_own_line() {
        struct Chatty;
        impl std::fmt::Display for Chatty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                tracing::info!("inner");
                f.write_str("outer")
            }
        }
        let out = capture(text(), || tracing::info!("{}", Chatty));
        assert!(out.contains("msg=outer") && out.lines().count() == 1, "{out}");
    }

    #[test]
    fn an_undefined_level_is_refused_by_name() {
        assert_eq!(
            "loud".parse::<Level>().unwrap_err().to_string(),
            "undefined log level \"loud\"; use debug, info, warn, error or fatal"
        );
        assert_eq!("WARN".parse(), Ok(Level::Warn));
    }
}
