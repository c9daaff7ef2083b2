//! What is measured: ways from the client to the origin.
//!
//! A new subject is a file here with a `start`, a name in [`Subject`], and nothing else.

mod envoy;
mod haproxy;
mod hops;
mod ours;
mod peer;

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::load::Target;
use crate::process::Process;

pub(crate) use envoy::{install as install_envoy, version as envoy_version};
pub(crate) use peer::Peer;

/// How long a pair may take to answer its first request.
const START: Duration = Duration::from_secs(30);

/// One way from the client to the origin.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// The client talks to the origin.
    Bare,
    /// Two raw TCP forwarders on tokio.
    Hops,
    /// Two HAProxy processes in TCP mode.
    Haproxy(PathBuf),
    /// Two Envoys, mutual TLS and HTTP/2 between them.
    Envoy(PathBuf),
    /// Two sidecars of ours.
    Ours(PathBuf),
    /// Whatever the command line names.
    Peer(Peer),
}

/// A subject that answers requests. Its processes end with it.
#[derive(Debug)]
pub(crate) struct Pair {
    /// What the client sends.
    pub(crate) target: Target,
    /// A request that the access policy forbids, where there is a policy.
    pub(crate) forbidden: Option<Target>,
    /// The processes on the path, the client's side first: what they use is the figure.
    pub(crate) proxies: Vec<Process>,
    /// Processes off the path, such as a CA: needed, not counted.
    pub(crate) support: Vec<Process>,
    /// How to start one more process and when it is ready, where that is measured.
    pub(crate) fresh: Option<Fresh>,
    /// Folder outside the output folder, where the subject needs a short or private path.
    pub(crate) home: Option<TempDir>,
}

/// Starts a fresh process of a running pair.
#[derive(Debug, Clone)]
pub(crate) enum Fresh {
    /// A third sidecar against the running control process.
    Ours { binary: PathBuf, home: PathBuf, origin: SocketAddr },
    /// Another Envoy with the pair's second configuration, on ports of its own.
    Envoy { binary: PathBuf, certificates: Certificates, origin: SocketAddr },
}

/// What every subject is started with.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Folder for configurations and logs of this run.
    pub(crate) folder: PathBuf,
    pub(crate) origin: SocketAddr,
    /// Words put before a proxy's command, such as valgrind's.
    pub(crate) wrap: Vec<String>,
    /// Whether our sidecars write an access record a call.
    pub(crate) access_records: bool,
    starts: Cell<u32>,
}

impl Bench {
    pub(crate) fn new(folder: PathBuf, origin: SocketAddr) -> Self {
        Self { folder, origin, wrap: Vec::new(), access_records: false, starts: Cell::new(0) }
    }

    /// The same bench, with words before each proxy's command.
    pub(crate) fn wrapped(&self, wrap: Vec<String>) -> Self {
        let folder = self.folder.join(format!("wrapped-{}", self.starts.get()));
        self.starts.set(self.starts.get() + 1);
        Self { folder, origin: self.origin, wrap, access_records: self.access_records, starts: Cell::new(0) }
    }

    /// A command for a proxy, wrapped when the bench says so.
    fn command(&self, binary: &Path) -> Command {
        match self.wrap.split_first() {
            None => Command::new(binary),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary);
                command
            }
        }
    }

    /// A folder that no other start has used.
    fn folder_for(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.starts.set(self.starts.get() + 1);
        let folder = self.folder.join(format!("{:02}-{name}", self.starts.get()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }
}

impl Subject {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Bare => "bare",
            Self::Hops => "hops",
            Self::Haproxy(_) => "haproxy",
            Self::Envoy(_) => "envoy",
            Self::Ours(_) => "ours",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Starts it and waits until a request comes back from the origin.
    pub(crate) async fn start(&self, bench: &Bench) -> anyhow::Result<Pair> {
        let folder = bench.folder_for(self.name())?;
        let mut pair = match self {
            Self::Bare => Pair::new(Target::post(bench.origin, "/echo"), Vec::new()),
            Self::Hops => hops::start(bench, &folder)?,
            Self::Haproxy(binary) => haproxy::start(binary, bench, &folder)?,
            Self::Envoy(binary) => envoy::start(binary, bench, &folder)?,
            Self::Ours(binary) => ours::start(binary, bench, &folder).await?,
            Self::Peer(peer) => peer.start(bench, &folder)?,
        };
        let limit = if bench.wrap.is_empty() { START } else { START * 6 };
        pair.answered(limit).await?;
        Ok(pair)
    }
}

impl Pair {
    fn new(target: Target, proxies: Vec<Process>) -> Self {
        Self { target, forbidden: None, proxies, support: Vec::new(), fresh: None, home: None }
    }

    async fn answered(&mut self, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut last = String::from("no answer");
        while begun.elapsed() < limit {
            match self.target.ask(limit).await {
                Ok(200) => return Ok(()),
                Ok(status) => last = format!("status {status}"),
                Err(error) => last = error.to_string(),
            }
            for process in self.support.iter_mut().chain(&mut self.proxies) {
                process.check()?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("no request came through within {limit:?}: {last}")
    }
}

impl Fresh {
    /// Starts the process; the address and path that say when it is ready, and the status that says so.
    pub(crate) fn start(&self, folder: &Path) -> anyhow::Result<(Process, Target, u16)> {
        match self {
            Self::Ours { binary, home, origin } => ours::fresh(binary, home, *origin, folder),
            Self::Envoy { binary, certificates, origin } => envoy::fresh(binary, certificates, *origin, folder),
        }
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?.local_addr()?.port())
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
