//! `outrigger quickstart`: three services call each other over mutual TLS.
//!
//! - [`service`]: what the three services do.
//! - [`fleet`]: their processes, from start to the last one gone.
//! - [`proof`]: what is proved, and how it can fail.
//! - [`text`]: what is printed.

mod fleet;
mod proof;
pub(crate) mod service;
mod text;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(crate) use service::Role;

use super::cli::Quickstart;
use crate::supervise::Signals;
use fleet::Fleet;

/// Starts everything, proves it, stays until Ctrl-C (or not, with `--once`)
/// and stops everything. The exit code is 1 when something did not hold or a
/// process was left.
///
/// # Errors
///
/// Something did not start or gave no answer.
pub(crate) async fn quickstart(arguments: Quickstart) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let folder = folder()?;
    print!("{}", text::opening(&folder));
    // Dropping what runs here kills the children, so a signal may come at any time.
    let shown = tokio::select! {
        shown = show(&folder, &exe) => Some(shown),
        _ = signals.next() => None,
    };
    let Some(shown) = shown else {
        stop_control(&folder).await;
        let _left_there = std::fs::remove_dir_all(&folder);
        return Ok(130);
    };
    let (fleet, holds) = match shown {
        Ok(shown) => shown,
        Err(error) => {
            stop_control(&folder).await;
            println!("All data is in {}.", folder.display());
            return Err(error);
        }
    };
    if !arguments.once {
        println!("{}", text::STAY);
        signals.next().await;
    }
    print!("{}", text::stopping());
    let left = tokio::select! {
        left = fleet.stop() => left,
        _ = signals.next() => anyhow::bail!("killed while stopping"),
    };
    print!("{}", text::stopped(&left));
    if holds && left.is_empty() {
        let _left_there = std::fs::remove_dir_all(&folder);
        print!("{}", text::your_own_app(&exe));
        return Ok(0);
    }
    println!("All data is in {}.", folder.display());
    Ok(1)
}

/// Ends the control process of a start that did not come to its end.
async fn stop_control(folder: &Path) {
    if let Err(error) = outrigger_control::embedded::stop(folder).await {
        eprintln!("The control process: {error}");
    }
}

/// A fresh folder that only we may enter. Its path is short, because a Unix
/// socket's is.
fn folder() -> anyhow::Result<PathBuf> {
    let parent = std::env::temp_dir();
    let parent = std::path::absolute(&parent).with_context(|| format!("cannot find {}", parent.display()))?;
    let folder = tempfile::Builder::new()
        .prefix("outrigger-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    Ok(folder.keep())
}

/// Starts the fleet, proves and prints; the fleet, and whether all held.
async fn show(folder: &Path, exe: &Path) -> anyhow::Result<(Fleet, bool)> {
    let fleet = Fleet::start(folder, exe).await?;
    print!("{}", text::fleet(&fleet));
    let proof = proof::collect(&fleet).await?;
    let failures = proof.failures();
    print!("{}", text::proof(&proof));
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    print!("{}", text::try_next(&fleet, exe)?);
    Ok((fleet, failures.is_empty()))
}
