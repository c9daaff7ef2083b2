//! Interleaved rounds: every subject is loaded in turn, again and again, while all of them stay up.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::load::{Session, Until, Window};
use crate::machine::{Activity, processors, says};
use crate::options::Plan;
use crate::origin::Origin;
use crate::process::Process;
use crate::report::Noise;
use crate::subject::{self, Bench, Pair, Subject};
use crate::summary::{Measured, Round};

/// All rounds of all subjects, interleaved; each round begins with another subject. A subject that breaks is left out.
pub(crate) async fn measure(
    running: &mut Vec<Running>,
    plan: Plan,
    left_out: &mut Vec<String>,
) -> anyhow::Result<Noise> {
    let mut noise = Shares::default();
    let order: Vec<String> = running.iter().map(|subject| subject.measured.name.clone()).collect();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let mut sound = Vec::with_capacity(running.len());
        for mut subject in running.drain(..) {
            match subject.round(plan, &mut noise).await {
                Ok(()) => sound.push(subject),
                Err(error) => left_out.push(format!("{}, from round {round}: {error:#}", subject.measured.name)),
            }
        }
        if !sound.is_empty() {
            sound.rotate_left(1);
        }
        *running = sound;
    }
    running.sort_by_key(|subject| order.iter().position(|name| *name == subject.measured.name));
    if running.is_empty() {
        bail!("no subject lasted: {}", left_out.join("; "));
    }
    Ok(noise.noise())
}

/// Seconds of the loaded windows, summed.
#[derive(Debug, Default)]
struct Shares {
    all: f64,
    others: f64,
    stolen: f64,
}

impl Shares {
    fn add(&mut self, spent: &Spent) {
        let cores = processors() as f64;
        self.all += spent.window.elapsed.as_secs_f64() * cores;
        self.others += spent.machine.busy.saturating_sub(spent.cpu + spent.own).as_secs_f64();
        self.stolen += spent.machine.stolen.as_secs_f64();
    }

    fn noise(&self) -> Noise {
        Noise { other_processes: self.others / self.all, stolen_by_host: self.stolen / self.all }
    }
}

/// A started subject, and what is known of it so far.
pub(crate) struct Running {
    pub(crate) kind: Subject,
    pub(crate) pair: Pair,
    pub(crate) measured: Measured,
}

impl Running {
    pub(crate) async fn start(subject: &Subject, bench: &Bench, origin: &Origin) -> anyhow::Result<Self> {
        let pair = subject.start(bench).await?;
        origin.watch();
        let status = pair.target.ask(Duration::from_secs(5)).await?;
        let origin_saw = origin.seen();
        if status != 200 || origin_saw.is_empty() {
            bail!("its answer ({status}) did not come from the origin");
        }
        let forbidden_status = match &pair.forbidden {
            Some(forbidden) => Some(forbidden.ask(Duration::from_secs(5)).await?),
            None => None,
        };
        let measured = Measured {
            name: subject.name().to_owned(),
            version: version(subject),
            rounds: Vec::new(),
            idle_mb: Vec::new(),
            loaded_mb: vec![0.0; pair.proxies.len()],
            peak_mb: Vec::new(),
            system_calls: None,
            single_system_calls: None,
            allocations: None,
            instructions: None,
            ready_ms: Vec::new(),
            forbidden_status,
            origin_saw,
        };
        Ok(Self { kind: subject.clone(), pair, measured })
    }

    fn cpu(&self) -> Duration {
        self.pair.proxies.iter().map(Process::cpu).sum()
    }

    /// The loaded window and the one with a single connection.
    async fn round(&mut self, plan: Plan, noise: &mut Shares) -> anyhow::Result<()> {
        let loaded = self.window(plan.connections, plan.warm_up, plan.loaded).await?;
        let single = self.window(1, plan.warm_up / 2, plan.single).await?;
        noise.add(&loaded);
        self.measured.rounds.push(Round {
            requests_per_second: loaded.window.requests() as f64 / loaded.window.elapsed.as_secs_f64(),
            p50_us: loaded.window.latencies.at(500),
            p99_us: loaded.window.latencies.at(990),
            cpu_us: loaded.cpu_us(),
            single_p50_us: single.window.latencies.at(500),
            single_p99_us: single.window.latencies.at(990),
            single_cpu_us: single.cpu_us(),
            errors: loaded.window.errors + single.window.errors,
        });
        Ok(())
    }

    /// One loaded window: what it brought and what the proxies' processors spent on it.
    async fn window(&mut self, connections: usize, warm_up: Duration, window: Duration) -> anyhow::Result<Spent> {
        for proxy in &mut self.pair.proxies {
            proxy.check()?;
        }
        let mut session = Session::open(&self.pair.target, connections).await?;
        session.run(Until::after(warm_up), warm_up).await?;
        let (cpu, own, machine) = (self.cpu(), own_cpu()?, Activity::look());
        let (proxies, loaded) = (&self.pair.proxies, &mut self.measured.loaded_mb);
        let watch = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                for (largest, proxy) in loaded.iter_mut().zip(proxies) {
                    *largest = largest.max(proxy.memory().resident);
                }
            }
        };
        let window = tokio::select! {
            window = session.run(Until::after(window), window) => window?,
            () = watch => bail!("the watch over memory ended"),
        };
        Ok(Spent {
            cpu: self.cpu().saturating_sub(cpu),
            own: own_cpu()?.saturating_sub(own),
            machine: Activity::look().since(machine),
            window,
        })
    }
}

/// A window with the processor time that passed in it.
struct Spent {
    window: Window,
    cpu: Duration,
    own: Duration,
    machine: Activity,
}

impl Spent {
    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.window.requests().max(1) as f64
    }
}

/// This process's own processor time: load generator and origin.
fn own_cpu() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    Ok(crate::process::cpu_of(&stat))
}

fn version(subject: &Subject) -> String {
    let said = match subject {
        Subject::Bare | Subject::Peer(_) => None,
        Subject::Hops => Some(format!("this program {}, tokio", env!("CARGO_PKG_VERSION"))),
        Subject::Haproxy(binary) => says(binary, &["-v"]),
        Subject::Envoy(binary) => subject::envoy_version(binary).map(|version| format!("Envoy {version}")),
        Subject::Ours(binary) => says(binary, &["--version"]),
    };
    said.unwrap_or_default()
}
