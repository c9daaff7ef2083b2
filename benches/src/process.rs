//! Child processes that end with their guard, and what the kernel says they used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// One clock tick in `/proc`: USER_HZ is 100 in Linux's ABI, whatever the kernel's own timer is.
const TICK_MILLIS: u64 = 10;

/// A child process; dropping it ends it (SIGTERM, after five seconds SIGKILL) and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs in `<folder>/<name>.log`.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Errs with the end of its log when it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n  ");
        bail!("{} ended early ({status}); {} ends with:\n  {tail}", self.name, self.log.display())
    }

    /// Asks it to end with `signal` and waits; kills it after the grace.
    pub(crate) fn end(&mut self, signal: Signal, grace: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
        let begun = Instant::now();
        while begun.elapsed() < grace {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.kill()?;
        self.child.wait()
    }

    /// User and system time so far, of all threads.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        cpu_of(&stat)
    }

    /// Resident memory now, and its peak.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        Memory { resident: megabytes(&status, "VmRSS:"), peak: megabytes(&status, "VmHWM:") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end(Signal::TERM, GRACE);
    }
}

/// Resident memory in MB (10⁶ bytes).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) peak: f64,
}

/// Processor time of `/proc/<pid>/stat`; the fields are counted after the name, which may hold spaces.
pub(crate) fn cpu_of(stat: &str) -> Duration {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MILLIS)
}

fn megabytes(status: &str, field: &str) -> f64 {
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kibibytes: f64 = value.trim().trim_end_matches("kB").trim().parse().unwrap_or_default();
    kibibytes * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 1";
        assert_eq!(cpu_of(stat), Duration::from_millis(1500));
    }

    #[test]
    fn memory_is_in_millions_of_bytes() {
        assert!((megabytes("Name:\tx\nVmRSS:\t   10000 kB\n", "VmRSS:") - 10.24).abs() < 1e-9);
    }
}
