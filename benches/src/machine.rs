//! The machine that was measured on, and what else it did meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

/// What a reader needs to place the figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gb: f64,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib: f64 =
            field(&meminfo, "MemTotal", ':').trim_end_matches("kB").trim().parse().unwrap_or_default();
        let commit = says("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
        Self {
            processor: field(&cpuinfo, "model name", ':').to_owned(),
            cores: processors(),
            memory_gb: (memory_kib * 1024.0 / 1e8).round() / 10.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            compiler: says("rustc", &["--version"]).unwrap_or_else(|| "unknown".into()),
            commit: commit.unwrap_or_else(|| "unknown".into()),
        }
    }
}

/// Processors of the machine, whichever of them this process may use.
pub(crate) fn processors() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count().max(1)
}

/// First line that a program prints, when it succeeds.
pub(crate) fn says(program: impl AsRef<Path>, args: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref()).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
}

fn field<'a>(text: &'a str, name: &str, separator: char) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(separator).map(|(_, value)| value.trim()).unwrap_or_default()
}

/// Processor time of the whole machine since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    pub(crate) busy: Duration,
    /// Time that the host gave to others.
    pub(crate) stolen: Duration,
}

impl Activity {
    pub(crate) fn look() -> Self {
        parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { busy: self.busy.saturating_sub(earlier.busy), stolen: self.stolen.saturating_sub(earlier.stolen) }
    }
}

/// `cpu user nice system idle iowait irq softirq steal …` in ticks of 10 ms.
fn parse(stat: &str) -> Activity {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let at = |index: usize| ticks.get(index).copied().unwrap_or_default();
    Activity {
        busy: Duration::from_millis((at(0) + at(1) + at(2) + at(5) + at(6)) * 10),
        stolen: Duration::from_millis(at(7) * 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        let activity = parse("cpu  1 2 3 400 5 6 7 8 0 0\ncpu0 1\n");
        assert_eq!((activity.busy, activity.stolen), (Duration::from_millis(190), Duration::from_millis(80)));
    }
}
