//! Measures what a pair of sidecars costs, against other ways over the same two hops.
//!
//! `pair` is the bench; `hop` is one raw TCP hop, started by `pair` as the yardstick. How to read the figures
//! is in `benches/README.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod certificates;
mod counts;
mod histogram;
mod hop;
mod http1;
mod load;
mod machine;
mod options;
mod origin;
mod pair;
mod process;
mod ready;
mod report;
mod rounds;
mod subject;
mod summary;
mod targets;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outrigger-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Hop(options) => hop::serve(options.listen, options.to).await.map(|()| ExitCode::SUCCESS),
            Command::Pair(options) => {
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut terminate = signal(SignalKind::terminate())?;
                // Every process hangs on a guard inside the future: dropping it ends them all.
                tokio::select! {
                    done = pair::run(&options) => done.map(|()| ExitCode::SUCCESS),
                    _ = interrupt.recv() => Ok(ExitCode::from(130)),
                    _ = terminate.recv() => Ok(ExitCode::from(143)),
                }
            }
        }
    })
}
