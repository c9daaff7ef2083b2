//! `outrigger run`: an app with a sidecar beside it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use outrigger_control::embedded;
use outrigger_mesh::http::client::Client;

use super::cli::Run;
use super::registered;
use crate::config::env::Environment;
use crate::config::sidecar::Sidecar;
use crate::config::table::Persona;
use crate::config::{Mistakes, flags, read};
use crate::loopback;
use crate::supervise::output::{Colour, Sink};
use crate::supervise::{Child, Signals, Spec, exit_code};

/// Longest wait for the sidecar to take calls; most of it is for a machine
/// under load.
pub(super) const SIDECAR_READY: Duration = Duration::from_secs(60);

/// Time between two looks at the sidecar's health.
const LOOK: Duration = Duration::from_millis(10);

/// Time that an app has between SIGTERM and SIGKILL.
pub(super) const APP_GRACE: Duration = Duration::from_secs(10);

/// Runs the app and its sidecar; the exit code is the app's.
///
/// # Errors
///
/// Mistakes in the flags, no control process, a sidecar or app that does not
/// start.
pub(crate) async fn run(arguments: Run) -> anyhow::Result<u8> {
    if let Some(path) = &arguments.run_file {
        return super::many::run(path).await;
    }
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let plan = plan(&arguments)?;
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let home = registered::home()?;
    embedded::ensure(home.path(), &exe).await?;
    let outputs = Outputs::of_one();
    let sidecar = start_sidecar(&exe, &plan, &home.socket(), &outputs)?;
    let mut pair = Pair { sidecar, app: None };
    let id = plan.sidecar.app.app_id();
    println!(
        "Starting {id}: HTTP API on 127.0.0.1:{}, gRPC API on 127.0.0.1:{}, metrics on 127.0.0.1:{}.",
        plan.http, plan.grpc, plan.metrics
    );
    let api = loopback::client(plan.api());
    let started = tokio::select! {
        ready = wait(&api, plan.api(), "/v1.0/healthz/outbound") => ready,
        status = pair.sidecar.ended() => {
            anyhow::bail!("the sidecar ended while starting ({}); its output says why", status?);
        }
        _ = signals.next() => return Ok(pair.end(&mut signals, Cause::Signal, plan.sidecar.graceful).await),
    };
    if !started {
        eprintln!("The sidecar is not ready after {SIDECAR_READY:?}; the app is started all the same.");
    }
    if !arguments.command.is_empty() {
        let app = start_app(&exe, &plan, &arguments.command, &outputs)?;
        tell(&api, &plan, app.pid()).await;
        pair.app = Some(app);
    }
    let cause = pair.watch(&mut signals, &api, plan.api()).await;
    Ok(pair.end(&mut signals, cause, plan.sidecar.graceful).await)
}

/// What is about to be started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sidecar: Sidecar,
    flags: Vec<String>,
    /// The app's command line, for people.
    command: String,
    pub(super) http: u16,
    pub(super) grpc: u16,
    metrics: u16,
}

/// Where children write, and what is theirs alone.
#[derive(Debug)]
pub(super) struct Outputs {
    /// Output of the app.
    pub(super) app: Sink,
    /// Output of the sidecar.
    pub(super) sidecar: Sink,
    /// Where both run; here when `None`.
    pub(super) folder: Option<PathBuf>,
    /// Variables of both.
    pub(super) environment: Vec<(String, String)>,
}

impl Outputs {
    /// Of a single app: everything to the console.
    fn of_one() -> Self {
        Self {
            app: Sink::prefixed("APP", Colour::Blue),
            sidecar: Sink::prefixed("SIDECAR", Colour::Cyan),
            folder: None,
            environment: Vec::new(),
        }
    }
}

impl Plan {
    /// Types the flags of a sidecar, with every mistake in them and in the files that they name.
    pub(super) fn typed(flags: Vec<String>, command: &str) -> Result<Self, Mistakes> {
        let sidecar = typed(&flags)?;
        let port = |address: Option<&SocketAddr>| address.map_or(0, |address| address.port());
        Ok(Self {
            http: port(sidecar.listen.http.first()),
            grpc: port(sidecar.listen.grpc.first()),
            metrics: port(sidecar.listen.metrics.as_ref()),
            command: command.to_owned(),
            sidecar,
            flags,
        })
    }

    pub(super) fn api(&self) -> SocketAddr {
        let listen = self.sidecar.listen.http.first().copied();
        let ip =
            listen.map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into());
        SocketAddr::new(ip, self.http)
    }
}

/// Turns our flags into the sidecar's, and types them here so that a mistake
/// is reported before anything starts.
fn plan(arguments: &Run) -> anyhow::Result<Plan> {
    let chosen = |port: &Option<String>| match port.as_deref() {
        // `dapr run` writes -1 for "choose one".
        None | Some("-1" | "0") => free_port().map(|port| port.to_string()),
        Some(port) => Ok(port.to_owned()),
    };
    let id = if arguments.app_id.is_empty() {
        format!("app-{:06x}", fastrand::u32(..0x0100_0000))
    } else {
        arguments.app_id.clone()
    };
    let mut flags = vec![
        format!("--app-id={id}"),
        format!("--dapr-http-port={}", chosen(&arguments.dapr_http_port)?),
        format!("--dapr-grpc-port={}", chosen(&arguments.dapr_grpc_port)?),
        format!("--metrics-port={}", chosen(&arguments.metrics_port)?),
        format!("--app-protocol={}", arguments.app_protocol),
    ];
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            flags.push(format!("--{name}={value}"));
        }
    };
    add("app-port", &arguments.app_port.clone().filter(|port| port != "-1"));
    add("app-channel-address", &arguments.app_channel_address);
    add("dapr-internal-grpc-port", &arguments.dapr_internal_grpc_port.clone().filter(|port| port != "-1"));
    add("dapr-listen-addresses", &arguments.dapr_listen_addresses);
    add("enable-api-logging", &arguments.enable_api_logging);
    add("max-body-size", &arguments.max_body_size);
    add("read-buffer-size", &arguments.read_buffer_size);
    add("log-level", &arguments.log_level);
    add("dapr-graceful-shutdown-seconds", &arguments.dapr_graceful_shutdown_seconds);
    flags.extend(arguments.config.iter().map(|file| format!("--config={file}")));
    flags.extend(arguments.resources_path.iter().map(|path| format!("--resources-path={path}")));
    if arguments.log_as_json {
        flags.push("--log-as-json".to_owned());
    }
    let words: Vec<_> = arguments.command.iter().map(|word| word.to_string_lossy()).collect();
    Ok(Plan::typed(flags, &words.join(" "))?)
}

fn typed(flags: &[String]) -> Result<Sidecar, Mistakes> {
    let (flags, mut mistakes) = flags::parse(Persona::Outrigger, flags);
    match read::read(&flags, &Environment::of_process(), &mut mistakes) {
        Some(sidecar) => mistakes.into_result(sidecar),
        None => Err(mistakes),
    }
}

/// A port that nobody listened on a moment ago.
///
/// # Errors
///
/// When the machine has none left.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

pub(super) fn start_sidecar(exe: &Path, plan: &Plan, socket: &Path, outputs: &Outputs) -> anyhow::Result<Child> {
    let mut arguments: Vec<OsString> = vec!["sidecar".into()];
    arguments.extend(plan.flags.iter().map(OsString::from));
    arguments.push(format!("--run-pid={}", std::process::id()).into());
    arguments.push(format!("--app-command={}", plan.command).into());
    let mut control = OsString::from("--control-socket=");
    control.push(socket);
    arguments.push(control);
    Child::start(Spec {
        program: exe.to_path_buf(),
        arguments,
        environment: outputs.environment.clone(),
        folder: outputs.folder.clone(),
        stdin: false,
        output: outputs.sidecar.clone(),
    })
    .context("cannot start the sidecar")
}

pub(super) fn start_app(exe: &Path, plan: &Plan, command: &[OsString], outputs: &Outputs) -> anyhow::Result<Child> {
    let mut arguments: Vec<OsString> =
        vec!["launch".into(), format!("--run-pid={}", std::process::id()).into(), "--".into()];
    arguments.extend(command.iter().cloned());
    Child::start(Spec {
        program: PathBuf::from(exe),
        arguments,
        environment: outputs.environment.iter().cloned().chain(app_environment(plan)).collect(),
        folder: outputs.folder.clone(),
        // A background process group that reads the terminal would be stopped.
        stdin: outputs.folder.is_none() && !std::io::IsTerminal::is_terminal(&std::io::stdin()),
        output: outputs.app.clone(),
    })
    .context("cannot start the app")
}

/// What an SDK looks for, under the names of `dapr run`.
fn app_environment(plan: &Plan) -> Vec<(String, String)> {
    let mut set = vec![
        ("APP_ID", plan.sidecar.app.app_id().to_owned()),
        ("DAPR_HTTP_PORT", plan.http.to_string()),
        ("DAPR_GRPC_PORT", plan.grpc.to_string()),
        ("DAPR_METRICS_PORT", plan.metrics.to_string()),
    ];
    if let Some(channel) = &plan.sidecar.channel {
        set.push(("APP_PORT", channel.port.to_string()));
        set.push(("APP_CHANNEL_ADDRESS", channel.host.clone()));
        set.push(("APP_PROTOCOL", channel.protocol.as_str().to_owned()));
    }
    set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Puts into the sidecar's metadata what readers of `dapr list` look for
/// there. It is for people: that it fails is no reason to stop.
pub(super) async fn tell(api: &Client, plan: &Plan, app_pid: u32) {
    let mut headers = HeaderMap::new();
    if let Some(mut token) = plan.sidecar.api_token.as_ref().and_then(|token| HeaderValue::from_str(&token.0).ok()) {
        token.set_sensitive(true);
        headers.insert("dapr-api-token", token);
    }
    let facts = [
        ("appPID", app_pid.to_string()),
        ("cliPID", std::process::id().to_string()),
        ("appCommand", plan.command.clone()),
    ];
    for (key, value) in facts {
        let path = format!("/v1.0/metadata/{key}");
        let put = loopback::call(
            api,
            plan.api(),
            Method::PUT,
            &path,
            headers.clone(),
            Bytes::from(value),
            Duration::from_secs(2),
        );
        if let Err(error) = put.await {
            eprintln!("The sidecar's metadata lacks {key}: {error:#}");
        }
    }
}

/// Whether `path` answered 204 within [`SIDECAR_READY`].
pub(super) async fn wait(api: &Client, address: SocketAddr, path: &str) -> bool {
    let until = Instant::now() + SIDECAR_READY;
    while Instant::now() < until {
        if loopback::get(api, address, path).await.is_ok_and(|answer| answer.status == 204) {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// Why it ends.
#[derive(Debug)]
enum Cause {
    /// We were asked to.
    Signal,
    /// The app ended with this code.
    App(u8),
    /// The sidecar ended with this code.
    Sidecar(u8),
}

/// A sidecar and its app.
struct Pair {
    sidecar: Child,
    app: Option<Child>,
}

impl Pair {
    /// Says when both are ready, and waits until one ends or we are asked to.
    async fn watch(&mut self, signals: &mut Signals, api: &Client, address: SocketAddr) -> Cause {
        let mut ready = std::pin::pin!(wait(api, address, "/v1.0/healthz"));
        let mut waiting = true;
        loop {
            tokio::select! {
                _ = signals.next() => return Cause::Signal,
                status = app_ended(&mut self.app) => return Cause::App(status.map_or(1, exit_code)),
                status = self.sidecar.ended() => return Cause::Sidecar(status.map_or(1, exit_code)),
                answered = &mut ready, if waiting => {
                    waiting = false;
                    say_ready(answered, self.app.is_some());
                }
            }
        }
    }

    /// Ends the app first, so that its last calls still find the sidecar, then
    /// the sidecar. Another signal kills both.
    async fn end(mut self, signals: &mut Signals, cause: Cause, graceful: Duration) -> u8 {
        match &cause {
            Cause::Signal => println!("Stopping; once more kills."),
            Cause::App(0) => println!("The app has ended."),
            Cause::App(code) => println!("The app has ended with exit code {code}."),
            Cause::Sidecar(code) => eprintln!("The sidecar has ended with exit code {code}; the app is stopped."),
        }
        let orderly = async {
            let mut app_code = 0;
            if let Some(app) = self.app.as_mut().filter(|app| app.pid() != 0) {
                app_code = app.stop(APP_GRACE).await.map_or(1, exit_code);
            }
            if self.sidecar.pid() != 0 {
                let _status = self.sidecar.stop(graceful + Duration::from_secs(5)).await;
            }
            app_code
        };
        tokio::select! {
            app_code = orderly => match cause {
                // Ended by the signal that we sent: that is no failure of the app.
                Cause::Signal if app_code == 143 => 0,
                Cause::Signal => app_code,
                Cause::App(code) => code,
                Cause::Sidecar(code) => code.max(1),
            },
            // Dropping the children kills their groups.
            signal = signals.next() => u8::try_from(128 + signal).unwrap_or(1),
        }
    }
}

pub(super) async fn app_ended(app: &mut Option<Child>) -> std::io::Result<std::process::ExitStatus> {
    match app {
        Some(app) => app.ended().await,
        None => std::future::pending().await,
    }
}

fn say_ready(answered: bool, with_app: bool) {
    match (answered, with_app) {
        (true, true) => println!("Up and running: app and sidecar are ready. Their output follows; Ctrl-C stops both."),
        (true, false) => println!("Up and running: the sidecar is ready, without an app. Ctrl-C stops it."),
        (false, _) => eprintln!(
            "Not ready after {SIDECAR_READY:?}: is the app listening on --app-port? GET /v1.0/healthz of the sidecar says what it waits for."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn planned(line: &[&str]) -> anyhow::Result<Plan> {
        let all = ["outrigger", "run"].iter().chain(line);
        match crate::command::cli::Cli::try_parse_from(all)?.command {
            crate::command::cli::Command::Run(run) => plan(&run),
            _ => unreachable!("the line says run"),
        }
    }

    #[test]
    fn ports_are_free_ones_unless_given() {
        let plan = planned(&["--app-id", "shop", "--dapr-grpc-port", "-1"]).unwrap();
        assert!(plan.http > 0 && plan.grpc > 0 && plan.metrics > 0);
        assert_ne!(plan.http, plan.grpc);
        let plan = planned(&["--app-id", "shop", "-H", "3510"]).unwrap();
        assert_eq!(plan.http, 3510);
    }

    #[test]
    fn the_app_gets_what_dapr_run_gives_it() {
        let plan =
            planned(&["-a", "shop", "-p", "3000", "-P", "grpc", "-H", "3510", "-G", "3511", "-M", "3512"]).unwrap();
        let set = app_environment(&plan);
        for (name, value) in [
            ("APP_ID", "shop"),
            ("APP_PORT", "3000"),
            ("APP_PROTOCOL", "grpc"),
            ("APP_CHANNEL_ADDRESS", "127.0.0.1"),
            ("DAPR_HTTP_PORT", "3510"),
            ("DAPR_GRPC_PORT", "3511"),
            ("DAPR_METRICS_PORT", "3512"),
        ] {
            assert!(set.contains(&(name.to_owned(), value.to_owned())), "{name}: {set:?}");
        }
        let plan = planned(&["-a", "caller", "--app-port", "-1"]).unwrap();
        assert!(app_environment(&plan).iter().all(|(name, _)| name != "APP_PORT"));
    }

    #[test]
    fn all_mistakes_are_reported_before_anything_starts() {
        let error = planned(&["-a", "a.b", "-p", "x", "--log-level", "loud"]).unwrap_err().to_string();
        for name in ["--app-id", "--app-port", "--log-level"] {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn without_an_id_each_run_has_its_own() {
        let one = planned(&[]).unwrap();
        assert!(one.sidecar.app.app_id().starts_with("app-"));
    }
}
