//! `outrigger sidecar` and `daprd`: one sidecar in this process.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::version;
use crate::config::env::Environment;
use crate::config::flags::{self, Flags};
use crate::config::read::read;
use crate::config::table::{self, Persona};
use crate::config::{Mistakes, address};
use crate::supervise::parent;
use crate::{loopback, wire_up};

/// Longest wait of `--wait`, as in stock.
const WAIT: Duration = Duration::from_secs(60);

/// Runs a sidecar, or answers `--help`, `--version`, `--build-info`, `--wait`.
/// The exit code.
///
/// # Errors
///
/// Every mistake of flags, environment and files, or what did not start.
pub(crate) fn main(persona: Persona, arguments: impl Iterator<Item = OsString>) -> anyhow::Result<u8> {
    let mut mistakes = Mistakes::default();
    let arguments = texts(arguments, &mut mistakes);
    let (flags, unread) = flags::parse(persona, &arguments);
    mistakes.append(unread);
    if flags.help {
        print!("{}", flags::help(persona));
        return Ok(0);
    }
    let answers = [&table::VERSION, &table::BUILD_INFO, &table::WAIT];
    if mistakes.is_empty() && answers.iter().any(|flag| flags.boolean(flag)) {
        return answer(&flags);
    }
    // Entropy and the first keys take longest: begun before anything is read.
    outrigger_certs::install_provider();
    let Some(config) = read(&flags, &Environment::of_process(), &mut mistakes) else {
        return Err(mistakes.into());
    };
    let config = mistakes.into_result(config)?;
    if config.started_by.run_pid != 0 {
        parent::end_with(config.started_by.run_pid)?;
    }
    wire_up::run(config, &flags.warnings)
}

fn texts(arguments: impl Iterator<Item = OsString>, mistakes: &mut Mistakes) -> Vec<String> {
    arguments
        .filter_map(|argument| match argument.into_string() {
            Ok(text) => Some(text),
            Err(raw) => {
                mistakes.add(raw.to_string_lossy(), None, "is not UTF-8", "write it in UTF-8");
                None
            }
        })
        .collect()
}

/// What ends before a sidecar starts, in the order of stock.
fn answer(flags: &Flags) -> anyhow::Result<u8> {
    if flags.boolean(&table::VERSION) {
        println!("{}", version::RUNTIME);
        return Ok(0);
    }
    if flags.boolean(&table::BUILD_INFO) {
        println!("{}", version::build_info());
        return Ok(0);
    }
    let port = flags.text(&table::HTTP_PORT);
    let port = address::port(&port).with_context(|| format!("--dapr-http-port={port:?}: is no port"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(wait(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// Waits until the sidecar at `address` takes calls of its app. As in stock,
/// the exit code is 0 even when it does not in time.
async fn wait(address: SocketAddr) -> anyhow::Result<u8> {
    eprintln!("Waiting up to {WAIT:?} for the sidecar at {address} to be ready for outbound calls.");
    let client = loopback::client(address);
    let until = Instant::now() + WAIT;
    let mut last = String::new();
    while Instant::now() < until {
        match loopback::get(&client, address, "/v1.0/healthz/outbound").await {
            Ok(answer) if answer.status == http::StatusCode::NO_CONTENT => {
                eprintln!("It is ready.");
                return Ok(0);
            }
            Ok(answer) => last = format!("it answers {}", answer.status),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("It is not ready after {WAIT:?}: {last}");
    Ok(0)
}
