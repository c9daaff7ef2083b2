//! Puts a sidecar together, top to bottom, and takes it down again.
//!
//! [`listeners`] binds, [`parts`] builds one concern a function, [`serving`] starts
//! what was built and ends it.

mod listeners;
mod parts;
mod serving;

use anyhow::Context as _;
use outrigger_telemetry::log;
use outrigger_telemetry::metrics::Registry;

use crate::admin::Admin;
use crate::command::version;
use crate::config::sidecar::Sidecar;
use crate::control_plane::Embedded;
use crate::settings;
use crate::supervise::Signals;
use listeners::Listeners;
use serving::Serving;

/// Runs one sidecar on this thread until it is asked to end; the exit code.
///
/// # Errors
///
/// A listener, the log, a runtime or the control process that does not start.
pub(crate) fn run(config: Sidecar, warnings: &[String]) -> anyhow::Result<u8> {
    let metrics = settings::registry(&config);
    // Dropped last, so that whatever is logged on the way out is written.
    let _log = log::init(log_config(&config), &metrics)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let admin = Admin::start()?;
    let data =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the data runtime")?;
    let ended = data.block_on(sidecar(config, &admin, metrics));
    if let Err(error) = &ended {
        tracing::error!("{error:#}");
    }
    ended
}

fn log_config(config: &Sidecar) -> log::Config {
    let mut log = log::Config::new(config.app.app_id(), version::RUNTIME);
    log.level = config.log.level;
    log.access = config.log.access;
    if config.log.json {
        log.format = log::Format::Json;
    }
    log
}

async fn sidecar(config: Sidecar, admin: &Admin, metrics: Registry) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let listeners = Listeners::bind(&config, admin)?;
    let embedded = tokio::select! {
        embedded = Embedded::of(&config) => embedded?,
        _ = signals.next() => return Ok(0),
    };
    let serving = Serving::start(&config, admin, &metrics, listeners, embedded.as_ref())?;
    let asked = serving.until_asked(&mut signals, config.block_shutdown).await;
    let ended = serving.stop(asked, config.graceful, &mut signals).await;
    Ok(ended.report(config.persona))
}
