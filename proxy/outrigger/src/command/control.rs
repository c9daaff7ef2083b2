//! `outrigger control`

use std::time::Duration;

use anyhow::Context as _;
use outrigger_control::embedded::{self, RunError};
use outrigger_telemetry::log;
use outrigger_telemetry::metrics::Registry;

use super::cli::Control;
use super::{registered, version};

/// Runs the embedded control process until it is asked to end or nobody has
/// used it for a while.
///
/// # Errors
///
/// Its folder is not safe to use, or its files cannot be read. That another
/// one is elected is an exit code of its own, on which `ensure` relies.
pub(crate) async fn control(arguments: Control) -> anyhow::Result<u8> {
    outrigger_certs::install_provider();
    let log = log::init(log::Config::new("", version::OUTRIGGER), &Registry::new()).context("cannot start the log")?;
    let home = match arguments.home {
        Some(home) => std::path::absolute(home).context("--home")?,
        None => registered::home()?.path().to_path_buf(),
    };
    let mut config = embedded::Config::new(home);
    config.idle = Duration::from_secs(arguments.idle);
    config.ca_listen = arguments.ca_listen;
    config.detached = arguments.detached;
    let ended = embedded::run(config).await;
    drop(log);
    match ended {
        Ok(()) => Ok(0),
        Err(error @ RunError::AlreadyRunning { .. }) => {
            eprintln!("outrigger: {error}");
            Ok(u8::try_from(error.exit_code()).unwrap_or(1))
        }
        Err(error) => Err(error.into()),
    }
}
