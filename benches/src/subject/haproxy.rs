//! Two HAProxy processes in TCP mode: a second yardstick, in C on bare epoll.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{Bench, Pair, free_port, loopback};
use crate::load::Target;
use crate::process::Process;

pub(super) fn start(binary: &Path, bench: &Bench, folder: &Path) -> anyhow::Result<Pair> {
    let (a, b) = (loopback(free_port()?), loopback(free_port()?));
    let proxies = vec![hop("a", binary, a, b, bench, folder)?, hop("b", binary, b, bench.origin, bench, folder)?];
    Ok(Pair::new(Target::post(a, "/echo"), proxies))
}

fn hop(
    name: &str,
    binary: &Path,
    listen: SocketAddr,
    to: SocketAddr,
    bench: &Bench,
    folder: &Path,
) -> anyhow::Result<Process> {
    let config = folder.join(format!("{name}.cfg"));
    fs::write(
        &config,
        format!(
            "global\n  nbthread 1\n\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\n\
             listen hop\n  bind {listen}\n  server next {to}\n"
        ),
    )?;
    let mut command = bench.command(binary);
    command.arg("-db").arg("-f").arg(&config);
    Process::start(name, command, folder)
}
