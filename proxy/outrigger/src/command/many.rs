//! `outrigger run -f` and `stop -f`: the apps of a multi-app template, started and ended together.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use outrigger_control::embedded;
use outrigger_resources::mistake::Warning;
use outrigger_resources::source::Source;
use outrigger_resources::template::{self, App, FILE_NAME, LogDestination};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::registered;
use super::run::{self, APP_GRACE, Outputs, Plan, SIDECAR_READY};
use crate::config::Mistakes;
use crate::loopback;
use crate::supervise::output::{Colour, Sink};
use crate::supervise::{Child, Signals, exit_code};

/// Reads the template at `path`: the file, or `dapr.yaml` in the folder.
///
/// # Errors
///
/// Every mistake in it.
pub(super) fn read(path: &Path) -> Result<(Vec<App>, Vec<Warning>), Mistakes> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_path_buf() };
    // Its folder is where relative paths begin, wherever the children run.
    let path = std::path::absolute(&path).unwrap_or(path);
    let mut mistakes = Mistakes::default();
    let loaded = match Source::read(&path) {
        Ok(source) => template::load(&source, &|name| std::env::var(name).ok()),
        Err(mistake) => {
            mistakes.add_file(mistake.to_string());
            return Err(mistakes);
        }
    };
    match loaded {
        Ok(loaded) => Ok((loaded.value, loaded.warnings)),
        Err(found) => {
            found.kept().iter().for_each(|mistake| mistakes.add_file(mistake.to_string()));
            Err(mistakes)
        }
    }
}

/// What starts for each app, typed; with every mistake of every app.
pub(super) fn plans(apps: &[App]) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    let mut mistakes = Mistakes::default();
    for app in apps {
        if !app.folder.is_dir() {
            let folder = app.folder.display();
            mistakes.add_file(format!("{}.appDirPath: {folder} is no folder; name one that exists", app.place));
        }
        let mut flags: Vec<String> = app.flags.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        for port in ["dapr-http-port", "dapr-grpc-port", "metrics-port"] {
            if !app.flags.iter().any(|(name, value)| *name == port && value != "0") {
                flags.push(format!("--{port}={}", run::free_port().context("no port is free")?));
            }
        }
        match Plan::typed(flags, &app.command.join(" ")) {
            Ok(plan) => plans.push(plan),
            Err(found) => found.iter().for_each(|mistake| {
                mistakes.add_file(format!("{}of the app `{}`: {mistake}", app.place, app.app_id));
            }),
        }
    }
    Ok(mistakes.into_result(plans)?)
}

/// Runs every app of the template with its sidecar; the exit code is that of the first that failed.
///
/// An app that ends with 0 leaves the others running; one that fails, or a sidecar that ends, ends all.
///
/// # Errors
///
/// Mistakes in the template, no control process, a log file that cannot be made.
pub(super) async fn run(path: &Path) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let (apps, warnings) = read(path)?;
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let plans = plans(&apps)?;
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let home = registered::home()?;
    embedded::ensure(home.path(), &exe).await?;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for (app, plan) in apps.into_iter().zip(plans) {
        let outputs = outputs(&app)?;
        println!("Starting {}: HTTP API on 127.0.0.1:{}, gRPC API on 127.0.0.1:{}.", app.app_id, plan.http, plan.grpc);
        running.spawn(one(app, plan, outputs, exe.clone(), home.socket(), stopped.clone()));
    }
    let mut code = 0;
    loop {
        tokio::select! {
            signal = signals.next() => {
                if *stop.borrow() {
                    // Dropping the children kills their groups.
                    running.shutdown().await;
                    return Ok(u8::try_from(128 + signal).unwrap_or(1));
                }
                println!("Stopping all; once more kills.");
                stop.send_replace(true);
            }
            ended = running.join_next() => {
                let Some(ended) = ended else { return Ok(code) };
                let ended = ended.context("a task of ours failed")?;
                let failed = match ended {
                    Ok(code) => code,
                    Err(error) => {
                        eprintln!("{error:#}");
                        1
                    }
                };
                if failed != 0 && !*stop.borrow() {
                    code = failed;
                    stop.send_replace(true);
                }
            }
        }
    }
}

/// One app and its sidecar, until either ends or all are to stop; the exit code.
async fn one(
    app: App,
    plan: Plan,
    outputs: Outputs,
    exe: PathBuf,
    socket: PathBuf,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<u8> {
    let id = &app.app_id;
    let mut sidecar = run::start_sidecar(&exe, &plan, &socket, &outputs)?;
    let address: SocketAddr = plan.api();
    let api = loopback::client(address);
    let mut child: Option<Child> = None;
    let code = 'ended: {
        let ready = tokio::select! {
            ready = run::wait(&api, address, "/v1.0/healthz/outbound") => ready,
            status = sidecar.ended() => {
                eprintln!("The sidecar of {id} ended while starting; its output says why.");
                break 'ended status.map_or(1, exit_code).max(1);
            }
            _ = stopped.wait_for(|stopped| *stopped) => break 'ended 0,
        };
        if !ready {
            eprintln!("The sidecar of {id} is not ready after {SIDECAR_READY:?}; the app is started all the same.");
        }
        if !app.command.is_empty() {
            let command: Vec<_> = app.command.iter().map(Into::into).collect();
            let started = child.insert(run::start_app(&exe, &plan, &command, &outputs)?);
            run::tell(&api, &plan, started.pid()).await;
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => 0,
            status = run::app_ended(&mut child) => {
                let code = status.map_or(1, exit_code);
                println!("The app {id} has ended with exit code {code}.");
                code
            }
            status = sidecar.ended() => {
                let code = status.map_or(1, exit_code).max(1);
                eprintln!("The sidecar of {id} has ended with exit code {code}.");
                code
            }
        }
    };
    // The app first, so that its last calls still find the sidecar.
    if let Some(app) = child.as_mut().filter(|app| app.pid() != 0) {
        let _status = app.stop(APP_GRACE).await;
    }
    if sidecar.pid() != 0 {
        let _status = sidecar.stop(plan.sidecar.graceful + Duration::from_secs(5)).await;
    }
    Ok(code)
}

/// Where the two outputs of an app go.
fn outputs(app: &App) -> anyhow::Result<Outputs> {
    let id = &app.app_id;
    Ok(Outputs {
        app: sink(app, app.app_log, "app", Sink::prefixed(&format!("APP - {id}"), Colour::Blue))?,
        sidecar: sink(app, app.sidecar_log, "daprd", Sink::prefixed(&format!("SIDECAR - {id}"), Colour::Cyan))?,
        folder: Some(app.folder.clone()),
        environment: app.environment.clone().into_iter().collect(),
    })
}

fn sink(app: &App, destination: LogDestination, what: &str, console: Sink) -> anyhow::Result<Sink> {
    if destination == LogDestination::Console {
        return Ok(console);
    }
    let folder = app.folder.join(".dapr/logs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let path = folder.join(format!("{}_{what}_{seconds}.log", app.app_id));
    let file = File::create(&path).with_context(|| format!("cannot make the log file {}", path.display()))?;
    let file = Arc::new(file);
    Ok(match (destination, console) {
        (LogDestination::FileAndConsole, Sink::Prefixed(prefix)) => Sink::Both(prefix, file),
        _ => Sink::File(file),
    })
}
