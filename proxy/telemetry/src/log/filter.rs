//! Which events are written.

use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::access_record;

/// The least level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What only a developer wants to know of each step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may become a fault.
    Warn,
    /// Faults.
    Error,
    /// Faults that end the process; they are written as errors here, so this is the same as [`Error`](Level::Error).
    Fatal,
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("undefined log level {0:?}; use debug, info, warn, error or fatal")]
pub struct LevelError(String);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(word: &str) -> Result<Level, LevelError> {
        match word.to_ascii_lowercase().as_str() {
            "trace" => Ok(Level::Trace),
            "debug" => Ok(Level::Debug),
            "info" => Ok(Level::Info),
            "warn" | "warning" => Ok(Level::Warn),
            "error" => Ok(Level::Error),
            "fatal" => Ok(Level::Fatal),
            _ => Err(LevelError(word.to_owned())),
        }
    }
}

/// Our own targets at `level`; those of libraries from warnings on, or from `level` if that is more quiet: what a library says of
/// every frame is nothing that an operator asked for with `debug`. Access records go by their own switch.
pub(super) fn targets(level: Level, access: bool) -> Targets {
    let own = match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error | Level::Fatal => LevelFilter::ERROR,
    };
    let access = if access { LevelFilter::INFO } else { LevelFilter::OFF };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("outrigger", own)
        .with_target("dapr", own)
        .with_target(access_record::TARGET, access)
}
