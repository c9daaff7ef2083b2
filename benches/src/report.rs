//! The table for a person and the file for a program.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;

use crate::machine::Machine;
use crate::summary::{Measured, Round};
use crate::targets::Verdict;

/// All that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) noise: Noise,
    pub(crate) subjects: Vec<Measured>,
    /// What was not measured, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) targets: Vec<Verdict>,
}

/// How the run was made.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) loaded_seconds: f64,
    pub(crate) single_seconds: f64,
    pub(crate) body_bytes: usize,
    pub(crate) pinned: bool,
    pub(crate) system_calls_by: Option<&'static str>,
}

/// Shares of all processors' time in the loaded windows that were not ours.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Noise {
    pub(crate) other_processes: f64,
    pub(crate) stolen_by_host: f64,
}

impl Report {
    /// Writes `pair-<time>.json`, and the same as `pair-latest.json`; the path of the first.
    pub(crate) fn save(&self, out: &Path) -> anyhow::Result<PathBuf> {
        let text = serde_json::to_string_pretty(self)?;
        let path = out.join(format!("pair-{}.json", self.time));
        for path in [&path, &out.join("pair-latest.json")] {
            fs::write(path, &text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(path)
    }

    pub(crate) fn print(&self) {
        let Machine { processor, cores, memory_gb, kernel, compiler, commit } = &self.machine;
        println!("{processor}, {cores} cores, {memory_gb} GB, Linux {kernel}; {compiler}; commit {commit}");
        let Settings { rounds, connections, loaded_seconds, single_seconds, body_bytes, pinned, .. } = &self.settings;
        println!(
            "{rounds} interleaved rounds of {loaded_seconds} s at {connections} connections and {single_seconds} s at one, \
             bodies of {body_bytes} B both ways{}",
            if *pinned { ", pinned" } else { "" }
        );
        println!(
            "in the loaded windows {:.0} % of the processors went to other processes and {:.0} % to other machines of the host\n",
            self.noise.other_processes * 100.0,
            self.noise.stolen_by_host * 100.0
        );
        print_table(&figures(&self.subjects, *connections));
        for subject in &self.subjects {
            print_notes(subject);
        }
        for left_out in &self.left_out {
            println!("left out: {left_out}");
        }
        println!();
        print_table(&verdicts(&self.targets));
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

type Table = Vec<Vec<String>>;

fn figures(subjects: &[Measured], connections: usize) -> Table {
    let mut table = vec![
        [
            "medians",
            "req/s",
            "CPU µs/req",
            "p50 µs",
            "p99 µs",
            "p50 at 1",
            "CPU at 1",
            "RSS idle→load (peak) MB",
            "calls/req (at 1)",
            "allocs/req",
            "instr/req",
            "ready ms",
            "errors",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    if let Some(head) = table.first_mut().and_then(|row| row.get_mut(1)) {
        *head = format!("req/s at {connections}");
    }
    table.extend(subjects.iter().map(|subject| {
        let median = |figure: fn(&Round) -> f64| subject.spread(figure).map(|spread| spread.median);
        let proxied = !subject.idle_mb.is_empty();
        let memory = |values: &[f64]| {
            values.iter().copied().max_by(f64::total_cmp).map_or_else(String::new, |value| format!("{value:.1}"))
        };
        vec![
            subject.name.clone(),
            number(median(|round| round.requests_per_second), 0),
            number(median(|round| round.cpu_us).filter(|_| proxied), 1),
            number(median(|round| round.p50_us), 0),
            number(median(|round| round.p99_us), 0),
            number(median(|round| round.single_p50_us), 0),
            number(median(|round| round.single_cpu_us).filter(|_| proxied), 1),
            if proxied {
                format!("{} → {} ({})", memory(&subject.idle_mb), memory(&subject.loaded_mb), memory(&subject.peak_mb))
            } else {
                "–".to_owned()
            },
            subject.system_calls.as_ref().map_or_else(
                || "–".to_owned(),
                |calls| {
                    let single = subject.single_system_calls.as_ref().map(|calls| calls.per_request);
                    format!("{:.1} ({})", calls.per_request, number(single, 1))
                },
            ),
            number(subject.allocations, 1),
            number(subject.instructions, 0),
            number(subject.ready().map(|spread| spread.median), 0),
            subject.rounds.iter().map(|round| round.errors).sum::<u64>().to_string(),
        ]
    }));
    table
}

fn print_notes(subject: &Measured) {
    let mut notes = Vec::new();
    if !subject.version.is_empty() {
        notes.push(subject.version.clone());
    }
    if let Some(calls) = &subject.system_calls {
        let shares: Vec<String> = calls.by_name.iter().map(|(name, share)| format!("{name} {share:.2}")).collect();
        notes.push(format!("calls {}", shares.join(" ")));
    }
    if let Some(status) = subject.forbidden_status {
        notes.push(format!("a forbidden request gets {status}"));
    }
    if !notes.is_empty() {
        println!("{}: {}", subject.name, notes.join("; "));
    }
    if subject.name == "ours" {
        println!("ours, as the origin saw it: {}", subject.origin_saw.join(" | "));
    }
}

fn verdicts(targets: &[Verdict]) -> Table {
    let mut table =
        vec![["ours", "median", "rounds", "first light", "product goal", "stretch"].map(str::to_owned).to_vec()];
    table.extend(targets.iter().map(|target| {
        let mut row = vec![target.figure.clone()];
        row.push(target.value.map_or_else(|| "not measured".to_owned(), |value| format!("{:.2}", value.median)));
        row.push(target.value.map_or_else(String::new, |value| format!("{:.2} … {:.2}", value.least, value.most)));
        let kept = target.kept();
        for (index, limit) in target.limits.iter().enumerate() {
            let word =
                kept.and_then(|kept| kept.get(index).copied()).map_or("", |kept| if kept { " PASS" } else { " MISS" });
            row.push(format!("≤ {limit}{word}"));
        }
        row
    }));
    table
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Prints a Markdown table whose columns line up.
fn print_table(table: &Table) {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (index, row) in table.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("|-{}-|", rules.join("-|-"));
        }
    }
}
