//! Two raw TCP forwarders of this program, one process each.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use super::{Bench, Pair, free_port, loopback};
use crate::load::Target;
use crate::process::Process;

pub(super) fn start(bench: &Bench, folder: &Path) -> anyhow::Result<Pair> {
    let (a, b) = (loopback(free_port()?), loopback(free_port()?));
    let proxies = vec![hop("a", a, b, bench, folder)?, hop("b", b, bench.origin, bench, folder)?];
    Ok(Pair::new(Target::post(a, "/echo"), proxies))
}

fn hop(name: &str, listen: SocketAddr, to: SocketAddr, bench: &Bench, folder: &Path) -> anyhow::Result<Process> {
    let own = std::env::current_exe().context("find this program")?;
    let mut command = bench.command(&own);
    command.args(["hop", "--listen", &listen.to_string(), "--to", &to.to_string()]);
    Process::start(name, command, folder)
}
