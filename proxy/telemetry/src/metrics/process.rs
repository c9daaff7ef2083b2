//! Figures of this process, from `/proc`, under the names of the Prometheus client libraries.

use std::fmt::{self, Write};
use std::fs;

use rustix::process::{Resource, getrlimit};

use super::text::Float;

/// Appends `process_*`. A figure that cannot be read is left out.
pub(super) fn encode(out: &mut String) {
    // Writing to a String does not fail.
    let _ = write_all(out);
}

fn write_all(out: &mut String) -> fmt::Result {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(Stat::parse);
    if let Some(stat) = &stat {
        let text = "Total user and system CPU time spent in seconds.";
        metric(out, "process_cpu_seconds_total", "counter", text, stat.cpu_seconds)?;
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        metric(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", float(limit))?;
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        let open = entries.count().saturating_sub(1);
        metric(out, "process_open_fds", "gauge", "Number of open file descriptors.", float(open as u64))?;
    }
    let Some(stat) = stat else { return Ok(()) };
    metric(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", stat.resident_bytes)?;
    if let Some(boot) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_seconds) {
        let text = "Start time of the process since unix epoch in seconds.";
        metric(out, "process_start_time_seconds", "gauge", text, boot + stat.started_seconds)?;
    }
    metric(out, "process_threads", "gauge", "Number of threads.", stat.threads)?;
    metric(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat.virtual_bytes)
}

fn metric(out: &mut String, name: &str, kind: &str, help: &str, value: f64) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", Float(value))
}

#[expect(clippy::cast_precision_loss, reason = "figures of a process stay far below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

/// What is used of `/proc/<pid>/stat` (proc(5)).
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    started_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name of the program stands in parentheses and may hold anything; the third field comes after the last one.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok().map(float);
        let ticks = float(rustix::param::clock_ticks_per_second());
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started_seconds: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * float(rustix::param::page_size() as u64),
        })
    }
}

fn boot_seconds(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "7 (a) 1 (b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 400 8192 2 0 0";
        let stat = Stat::parse(text).unwrap();
        let ticks = float(rustix::param::clock_ticks_per_second());
        assert_eq!((stat.threads, stat.virtual_bytes, stat.cpu_seconds), (3.0, 8192.0, 200.0 / ticks));
    }

    #[test]
    fn every_figure_of_this_process_is_there_and_sound() {
        let mut text = String::new();
        encode(&mut text);
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))
                .unwrap_or_else(|| panic!("{name} in\n{text}"));
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_threads") >= 1.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - value("process_start_time_seconds")).abs() < 3_600.0);
    }
}
