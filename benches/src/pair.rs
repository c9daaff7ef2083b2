//! The bench: starts every subject, measures them in turn, and reports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::counts::{self, Tool, Tracer};
use crate::load::BODY;
use crate::machine::{Machine, processors};
use crate::options::{PairOptions, Plan};
use crate::origin::Origin;
use crate::report::{self, Report, Settings};
use crate::rounds::{self, Running};
use crate::subject::{self, Bench, Peer, Subject};
use crate::summary::Measured;
use crate::{ready, targets};

/// Runs the whole bench.
pub(crate) async fn run(options: &PairOptions) -> anyhow::Result<()> {
    let plan = options.plan();
    let folder = options.out.join("run");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let origin = Origin::start()?;
    let mut bench = Bench::new(folder.clone(), origin.address());
    bench.access_records = options.access_records;

    let mut left_out = Vec::new();
    let mut running = Vec::new();
    for subject in subjects(options, &mut left_out)? {
        eprintln!("starting {}", subject.name());
        match Running::start(&subject, &bench, &origin).await {
            Ok(started) => running.push(started),
            Err(error) => left_out.push(format!("{}: {error:#}", subject.name())),
        }
    }
    if running.is_empty() {
        bail!("nothing to measure: {}", left_out.join("; "));
    }
    if options.pin {
        pin(&running)?;
    }

    // Idle memory is read before any load, and after the start has settled.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for subject in &mut running {
        subject.measured.idle_mb = subject.pair.proxies.iter().map(|proxy| proxy.memory().resident).collect();
    }

    let noise = rounds::measure(&mut running, plan, &mut left_out).await?;
    for subject in &mut running {
        let peaks = subject.pair.proxies.iter().map(|proxy| proxy.memory().peak);
        // The kernel notes a peak late, at times after it has told the size itself.
        subject.measured.peak_mb =
            peaks.zip(&subject.measured.loaded_mb).map(|(peak, loaded)| peak.max(*loaded)).collect();
    }

    let tracer = Tracer::find().filter(|_| !options.no_system_calls);
    if let Some(tracer) = tracer {
        count_system_calls(tracer, &mut running, plan, &folder, &mut left_out).await;
    } else if !options.no_system_calls {
        left_out.push("system calls: needs perf or strace, and the right to trace".to_owned());
    }
    for subject in &mut running {
        let Some(fresh) = &subject.pair.fresh else { continue };
        eprintln!("timing the start of {}", subject.measured.name);
        match ready::times(fresh, plan.starts, &folder).await {
            Ok(times) => subject.measured.ready_ms = times,
            Err(error) => left_out.push(format!("{}, time to ready: {error:#}", subject.measured.name)),
        }
    }

    let kinds: Vec<Subject> = running.iter().map(|subject| subject.kind.clone()).collect();
    let mut measured: Vec<Measured> = running.into_iter().map(|subject| subject.measured).collect();
    valgrind(options, &kinds, &mut measured, &bench, plan, &mut left_out).await;

    let report = Report {
        time: report::now(),
        machine: Machine::look(),
        settings: Settings {
            rounds: plan.rounds,
            connections: plan.connections,
            loaded_seconds: plan.loaded.as_secs_f64(),
            single_seconds: plan.single.as_secs_f64(),
            body_bytes: BODY,
            pinned: options.pin,
            system_calls_by: tracer.map(Tracer::name),
        },
        noise,
        targets: targets::judge(&measured),
        subjects: measured,
        left_out,
    };
    let path = report.save(&options.out)?;
    report.print();
    println!("\nwritten to {}", path.display());
    Ok(())
}

async fn count_system_calls(
    tracer: Tracer,
    running: &mut [Running],
    plan: Plan,
    folder: &Path,
    left_out: &mut Vec<String>,
) {
    for subject in running.iter_mut().filter(|subject| !subject.pair.proxies.is_empty()) {
        let name = subject.measured.name.clone();
        eprintln!("counting the system calls of {name}");
        let folder = folder.join(format!("calls-{name}"));
        if let Err(error) = fs::create_dir_all(&folder) {
            left_out.push(format!("{name}, system calls: {error}"));
            continue;
        }
        match counts::system_calls(tracer, &subject.pair, plan.connections, plan.single, &folder).await {
            Ok(calls) => subject.measured.system_calls = Some(calls),
            Err(error) => left_out.push(format!("{name}, system calls: {error:#}")),
        }
        match counts::system_calls(tracer, &subject.pair, 1, plan.single, &folder).await {
            Ok(calls) => subject.measured.single_system_calls = Some(calls),
            Err(error) => left_out.push(format!("{name}, system calls at one connection: {error:#}")),
        }
    }
}

/// Counts that need a run under valgrind, of the raw hops and of ours.
async fn valgrind(
    options: &PairOptions,
    kinds: &[Subject],
    measured: &mut [Measured],
    bench: &Bench,
    plan: Plan,
    left_out: &mut Vec<String>,
) {
    for (kind, measured) in kinds.iter().zip(measured) {
        let counted = matches!(kind, Subject::Ours(_) | Subject::Hops);
        if counted && !options.no_allocations {
            eprintln!("counting the allocations of {} under valgrind", measured.name);
            match counts::under_valgrind(Tool::Allocations, kind, bench, plan.connections).await {
                Ok(count) => measured.allocations = Some(count),
                Err(error) => left_out.push(format!("{}, allocations: {error:#}", measured.name)),
            }
        }
        if options.instructions && counted {
            eprintln!("counting the instructions of {} under valgrind", measured.name);
            match counts::under_valgrind(Tool::Instructions, kind, bench, plan.connections).await {
                Ok(count) => measured.instructions = Some(count),
                Err(error) => left_out.push(format!("{}, instructions: {error:#}", measured.name)),
            }
        }
    }
}

/// The subjects that the command line asks for; what cannot be had is told in `left_out`.
fn subjects(options: &PairOptions, left_out: &mut Vec<String>) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for name in &options.subjects {
        match name.as_str() {
            "bare" => subjects.push(Subject::Bare),
            "hops" => subjects.push(Subject::Hops),
            "ours" => match ours(options) {
                Ok(binary) => subjects.push(Subject::Ours(binary)),
                Err(error) => left_out.push(format!("ours: {error:#}")),
            },
            "envoy" => match options.envoy.clone().map_or_else(|| subject::install_envoy(&options.out), Ok) {
                Ok(binary) => subjects.push(Subject::Envoy(binary)),
                Err(error) => left_out.push(format!("envoy: {error:#}")),
            },
            other => bail!("--subjects {other}: write bare, hops, ours or envoy"),
        }
    }
    subjects.extend(options.haproxy.clone().map(Subject::Haproxy));
    for peer in &options.peer {
        subjects.push(Subject::Peer(Peer::parse(peer, &options.peer_path)?));
    }
    Ok(subjects)
}

fn ours(options: &PairOptions) -> anyhow::Result<PathBuf> {
    let beside = || anyhow::Ok(std::env::current_exe()?.with_file_name("outrigger"));
    let binary = options.ours.clone().map_or_else(beside, Ok)?;
    if !binary.is_file() {
        bail!("no {}: build it with `cargo build --release -p outrigger`", binary.display());
    }
    Ok(binary)
}

/// Load and origin on the first half of the processors, proxies on the second.
fn pin(running: &[Running]) -> anyhow::Result<()> {
    let cores = processors();
    if cores < 2 {
        bail!("--pin needs two processors");
    }
    let half = cores / 2;
    place(std::process::id(), &format!("0-{}", half - 1))?;
    for proxy in running.iter().flat_map(|subject| &subject.pair.proxies) {
        place(proxy.pid(), &format!("{half}-{}", cores - 1))?;
    }
    Ok(())
}

fn place(pid: u32, processors: &str) -> anyhow::Result<()> {
    let output = Command::new("taskset")
        .args(["-a", "-c", "-p", processors, &pid.to_string()])
        .output()
        .context("run taskset")?;
    if !output.status.success() {
        bail!("taskset on {processors}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
