//! The small process between `outrigger run` and the app.
//!
//! It leads the app's process group and stays while the app runs, because only
//! a living process can do the last thing right: when `run` is killed outright,
//! the kernel tells this process, and this process ends the whole group, an
//! app started by a shell script included.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, getpgrp, kill_process_group};
use tokio::process::Command;

use super::{Signals, exit_code, parent};

/// Time that an app has between SIGTERM and SIGKILL when its `run` has died.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `command` until it ends; the exit code, 127 when there is no such
/// program and 126 when it cannot be run.
pub(crate) async fn launch(run_pid: u32, command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return 126;
    };
    let mut signals = match Signals::listen().and_then(|signals| {
        parent::end_with(run_pid)?;
        Ok(signals)
    }) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("cannot start the app: {error}");
            return 126;
        }
    };
    let started = Command::new(program).args(arguments).stdin(Stdio::inherit()).spawn();
    let mut app = match started {
        Ok(app) => app,
        Err(error) => {
            eprintln!("cannot start {}: {error}", program.display());
            return if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    loop {
        tokio::select! {
            status = app.wait() => {
                // Whatever the app left behind in its group ends with it.
                signal_group(Signal::TERM);
                return status.map_or(1, exit_code);
            }
            // A signal to the group reached the app by itself.
            _ = signals.next() => if !parent::is_parent(run_pid) {
                signal_group(Signal::TERM);
                let _over = tokio::time::timeout(GRACE, app.wait()).await;
                signal_group(Signal::KILL);
            }
        }
    }
}

/// Signals the group that we lead, ourselves included.
fn signal_group(signal: Signal) {
    let _gone = kill_process_group(getpgrp(), signal);
}
