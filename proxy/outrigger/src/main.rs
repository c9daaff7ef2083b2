//! Outrigger: a service-mesh sidecar and Dapr-compatible runtime in one program.
//!
//! Run under the name `daprd` it takes that program's flags, environment and
//! defaults; as `outrigger <command>` it is everything else ([`command`]).
//! [`wire_up`] is the one place in which a sidecar is put together.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)
)]

mod admin;
mod body_limit;
mod command;
mod config;
mod control_plane;
mod discovery;
mod front;
mod loopback;
mod memory;
mod ready;
mod settings;
mod shutdown;
mod supervise;
mod wire_up;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use command::cli::{Cli, Command};
use config::Mistakes;
use config::table::Persona;

/// Exit code for a command line that cannot be used, as stock and clap have it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let first = std::env::args_os().nth(1);
    let name = Path::new(&program).file_name();
    let code = if name.is_some_and(|name| name == "daprd") {
        command::sidecar::main(Persona::Daprd, arguments)
    } else if first.is_some_and(|first| first == "sidecar") {
        command::sidecar::main(Persona::Outrigger, arguments.skip(1))
    } else {
        outrigger(Cli::parse())
    };
    ExitCode::from(code.unwrap_or_else(|error| report(&error)))
}

/// Prints why it failed; the exit code.
fn report(error: &anyhow::Error) -> u8 {
    let Some(mistakes) = error.downcast_ref::<Mistakes>() else {
        eprintln!("outrigger: {error:#}");
        return 1;
    };
    let count = mistakes.iter().count();
    let s = if count == 1 { "" } else { "s" };
    eprintln!("outrigger: {count} mistake{s} in the configuration:");
    for mistake in mistakes.iter() {
        eprintln!("  {mistake}");
    }
    USAGE
}

fn outrigger(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Quickstart(arguments) => on_runtime(command::quickstart::quickstart(arguments)),
        Command::Run(arguments) => on_runtime(command::run::run(*arguments)),
        Command::List(arguments) => on_runtime(command::list::list(arguments)),
        Command::Stop(arguments) => on_runtime(command::stop::stop(arguments)),
        Command::Invoke(arguments) => on_runtime(command::invoke::invoke(arguments)),
        Command::Check(arguments) => Ok(command::check::check(&arguments)),
        Command::Control(arguments) => on_runtime(command::control::control(arguments)),
        Command::Sidecar { flags } => command::sidecar::main(Persona::Outrigger, flags.into_iter().map(Into::into)),
        Command::Version => {
            println!("{}", command::version::long());
            Ok(0)
        }
        Command::Launch { run_pid, command } => {
            on_runtime(async move { Ok(supervise::launch::launch(run_pid, &command).await) })
        }
        Command::QuickstartService { name, run_pid, port, sidecar } => {
            on_runtime(command::quickstart::service::run(name, run_pid, port, sidecar))
        }
    }
}

/// Runs a command on this thread: children are told of our death by the thread
/// that started them, and that must be the one that lives longest.
fn on_runtime(command: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
}
