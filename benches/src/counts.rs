//! Counts per request that do not depend on the machine's mood: system calls, allocations, user instructions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde::Serialize;

use crate::load::{Session, Until};
use crate::process::Process;
use crate::subject::{Bench, Pair, Subject};

/// System calls that the breakdown names.
const NAMED: [&str; 14] = [
    "read",
    "write",
    "readv",
    "writev",
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "futex",
    "madvise",
    "clock_gettime",
];

/// What counts system calls here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tracer {
    /// Tracepoints: hardly slows what it counts.
    Perf,
    /// ptrace: slows what it counts, so that more requests share a wakeup and the count comes out low.
    Strace,
}

impl Tracer {
    /// The best that works on this machine, as this user.
    pub(crate) fn find() -> Option<Self> {
        let works = |program: &str, args: &[&str]| {
            let status = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        if works("perf", &["stat", "-e", "raw_syscalls:sys_enter", "true"]) {
            Some(Self::Perf)
        } else if works("strace", &["-c", "-f", "true"]) {
            Some(Self::Strace)
        } else {
            None
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    fn command(self, pids: &[String], output: &Path) -> Command {
        match self {
            Self::Perf => {
                let named: Vec<String> = NAMED.iter().map(|name| format!("syscalls:sys_enter_{name}")).collect();
                let mut command = Command::new("perf");
                command.args(["stat", "-x", ",", "-e", &format!("raw_syscalls:sys_enter,{}", named.join(","))]);
                command.arg("-p").arg(pids.join(",")).arg("-o").arg(output);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-c", "-f", "-o"]).arg(output);
                for pid in pids {
                    command.args(["-p", pid]);
                }
                command
            }
        }
    }

    /// Name and count of each line of the tracer's table; the total first.
    fn read(self, table: &str) -> Option<(u64, Vec<(String, u64)>)> {
        let mut total = None;
        let mut named = Vec::new();
        for line in table.lines() {
            let (name, count) = match self {
                Self::Perf => {
                    let mut fields = line.split(',');
                    let count = fields.next().unwrap_or_default();
                    (fields.nth(1).unwrap_or_default(), count)
                }
                Self::Strace => {
                    let mut fields = line.split_ascii_whitespace();
                    let count = fields.nth(3).unwrap_or_default();
                    (fields.last().unwrap_or_default(), count)
                }
            };
            let Ok(count) = count.parse::<u64>() else { continue };
            match name {
                "raw_syscalls:sys_enter" | "total" => total = Some(count),
                _ => named.push((name.trim_start_matches("syscalls:sys_enter_").to_owned(), count)),
            }
        }
        total.map(|total| (total, named))
    }
}

/// System calls of a pair's proxies for each request.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SystemCalls {
    pub(crate) per_request: f64,
    /// Those with a share worth telling, most first.
    pub(crate) by_name: Vec<(String, f64)>,
}

/// Counts the proxies' system calls while connections that are open already are loaded.
pub(crate) async fn system_calls(
    tracer: Tracer,
    pair: &Pair,
    connections: usize,
    window: Duration,
    folder: &Path,
) -> anyhow::Result<SystemCalls> {
    let mut session = Session::open(&pair.target, connections).await?;
    let warm_up = window / 4;
    session.run(Until::after(warm_up), warm_up).await?;

    let table = folder.join(format!("{}-{connections}.txt", tracer.name()));
    let pids: Vec<String> = pair.proxies.iter().map(|proxy| proxy.pid().to_string()).collect();
    let mut tracing = Process::start(tracer.name(), tracer.command(&pids, &table), folder)?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    tracing.check()?;
    let window = session.run(Until::after(window), window).await?;
    tracing.end(Signal::INT, Duration::from_secs(10))?;

    let text = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
    let Some((total, named)) = tracer.read(&text) else {
        bail!("{} has no total", table.display());
    };
    let requests = window.requests().max(1) as f64;
    let mut by_name: Vec<(String, f64)> = named
        .into_iter()
        .map(|(name, count)| (name, count as f64 / requests))
        .filter(|(_, share)| *share >= 0.01)
        .collect();
    by_name.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    Ok(SystemCalls { per_request: total as f64 / requests, by_name })
}

/// What valgrind counts over a process's life.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool {
    /// Calls of malloc, calloc, realloc and their like: the C library's allocator only.
    Allocations,
    /// Instructions in user space.
    Instructions,
}

impl Tool {
    fn wrap(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Allocations => &["valgrind", "--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"],
            Self::Instructions => &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The count in valgrind's closing words.
    fn read(self, log: &str) -> Option<u64> {
        let mark = match self {
            Self::Allocations => "total heap usage:",
            Self::Instructions => "Collected :",
        };
        let (_, rest) = log.lines().rev().find_map(|line| line.split_once(mark))?;
        rest.split_ascii_whitespace().next()?.replace(',', "").parse().ok()
    }
}

/// Runs a subject under valgrind twice, with few and with more requests: the difference is free of start and end.
pub(crate) async fn under_valgrind(
    tool: Tool,
    subject: &Subject,
    bench: &Bench,
    connections: usize,
) -> anyhow::Result<f64> {
    let connections_sent = u64::try_from(connections)?;
    let (few, more) = (connections_sent * 20, connections_sent * 80);
    let short = one_run(tool, subject, bench, connections, few).await?;
    let long = one_run(tool, subject, bench, connections, more).await?;
    Ok((long as f64 - short as f64) / (more - few) as f64)
}

async fn one_run(
    tool: Tool,
    subject: &Subject,
    bench: &Bench,
    connections: usize,
    requests: u64,
) -> anyhow::Result<u64> {
    let bench = bench.wrapped(tool.wrap());
    let mut pair = subject.start(&bench).await?;
    let mut session = Session::open(&pair.target, connections).await?;
    let window = session.run(Until::sent(requests), Duration::from_secs(300)).await?;
    if window.errors > 0 {
        bail!("{} of {requests} requests failed under valgrind", window.errors);
    }
    drop(session);
    let mut total = 0;
    for proxy in &mut pair.proxies {
        proxy.end(Signal::TERM, Duration::from_secs(60))?;
        total += tool.read(&proxy.output()).context("valgrind printed no count")?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perf_tables_are_read() {
        let table = "# started\n\n8400,,raw_syscalls:sys_enter,1,100.00,,\n<not counted>,,syscalls:sys_enter_readv,0,0,,\n4000,,syscalls:sys_enter_read,1,100.00,,\n";
        assert_eq!(Tracer::Perf.read(table), Some((8400, vec![("read".to_owned(), 4000)])));
    }

    #[test]
    fn strace_tables_are_read() {
        let table = "% time seconds usecs/call calls errors syscall\n------ -- -- -- -- --\n 60.00 0.1 1 4000 2 read\n 40.00 0.1 1 4400 write\n100.00 0.2 1 8400 2 total\n";
        let (total, named) = Tracer::Strace.read(table).unwrap();
        assert_eq!((total, named.len()), (8400, 2));
    }

    #[test]
    fn valgrinds_closing_words_are_read() {
        assert_eq!(
            Tool::Allocations.read("==1==   total heap usage: 1,234 allocs, 9 frees, 5 bytes allocated"),
            Some(1234)
        );
        assert_eq!(Tool::Instructions.read("==1== Collected : 99887"), Some(99887));
    }
}
