//! A sidecar process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::runs;
use crate::{Home, Log, Process, free_port, http1, within};

/// A running sidecar, ready to take calls. Dropped, its process ends.
pub struct Sidecar {
    app_id: String,
    process: Process,
    http: SocketAddr,
    grpc: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
}

/// What a sidecar is started with.
pub struct SidecarBuilder<'a> {
    home: &'a Home,
    app_id: String,
    app: Option<(u16, &'static str)>,
    config: Option<String>,
    flags: Vec<String>,
    env: Vec<(String, String)>,
}

/// The longest that a sidecar may take to be ready: a debug build, on a machine that runs other tests as well.
const READY: Duration = Duration::from_secs(30);

impl<'a> SidecarBuilder<'a> {
    /// The port and protocol (`http`, `h2c`, `grpc`) of its application.
    pub fn app(mut self, port: u16, protocol: &'static str) -> Self {
        self.app = Some((port, protocol));
        self
    }

    /// A Configuration, as YAML.
    pub fn config(mut self, yaml: &str) -> Self {
        self.config = Some(yaml.to_owned());
        self
    }

    /// One more flag, as `--name=value`.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it is ready for calls both ways; panics with its output when that does not come.
    pub fn start(self) -> Sidecar {
        let mut sidecar = self.start_unready();
        within(READY, &format!("sidecar {} to be ready", sidecar.app_id), || {
            if let Some(status) = sidecar.process.ended() {
                panic!("sidecar {} ended with {status}; it printed:\n{}", sidecar.app_id, sidecar.log().text());
            }
            let ready = |path| http1::try_request(sidecar.http, "GET", path).is_some_and(|reply| reply.status() == 204);
            (ready("/v1.0/healthz/outbound") && ready("/v1.0/healthz")).then_some(())
        });
        sidecar
    }

    /// Starts it and does not wait.
    pub fn start_unready(self) -> Sidecar {
        let [http, grpc, peer, metrics] = [(); 4].map(|()| free_port());
        let mut args = vec![
            "sidecar".to_owned(),
            format!("--app-id={}", self.app_id),
            format!("--dapr-http-port={http}"),
            format!("--dapr-grpc-port={grpc}"),
            format!("--dapr-internal-grpc-port={peer}"),
            format!("--metrics-port={metrics}"),
            "--log-level=debug".to_owned(),
        ];
        if let Some((port, protocol)) = self.app {
            args.extend([format!("--app-port={port}"), format!("--app-protocol={protocol}")]);
        }
        if let Some(yaml) = &self.config {
            let path = self.home.write(&format!("config/{}-{http}.yaml", self.app_id), yaml);
            args.push(format!("--config={}", path.display()));
        }
        args.extend(self.flags);
        let process = Process::start(self.home, &args, &self.env);
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Sidecar {
            app_id: self.app_id,
            process,
            http: loopback(http),
            grpc: loopback(grpc),
            peer: loopback(peer),
            metrics: loopback(metrics),
        }
    }
}

impl Sidecar {
    /// A sidecar for the app `app_id`, with the embedded services of `home`.
    pub fn of<'a>(home: &'a Home, app_id: &str) -> SidecarBuilder<'a> {
        SidecarBuilder { home, app_id: app_id.to_owned(), app: None, config: None, flags: Vec::new(), env: Vec::new() }
    }

    /// The app's ID.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Its HTTP API.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its gRPC API.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Its listener for other sidecars.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Its metrics.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// One request to its HTTP API.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> http1::Message {
        http1::request(self.http, method, target, headers, body)
    }

    /// A GET to its HTTP API.
    pub fn get(&self, target: &str) -> http1::Message {
        self.request("GET", target, &[], b"")
    }

    /// The value of the first metric line that begins with `series`, as in `outrigger_calls{app="a"`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = http1::request(self.metrics, "GET", "/", &[], b"").text();
        let line = text.lines().find(|line| line.starts_with(series))?.to_owned();
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Asks it to end, as an orchestrator does, and does not wait.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        self.process.wait(patience)
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait(Duration::from_secs(20))
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.wait(Duration::from_secs(5));
    }

    /// Panics unless the process still runs, no task of it has panicked and its API answers.
    pub fn assert_sound(&self) {
        assert!(runs(self.id()), "sidecar {} ended; it printed:\n{}", self.app_id, self.log().text());
        assert!(!self.log().text().contains("panicked at"), "a task of sidecar {} panicked", self.app_id);
        let health = http1::try_request(self.http, "GET", "/v1.0/healthz").map(|reply| reply.status());
        assert_eq!(health, Some(204), "sidecar {} no longer answers", self.app_id);
    }
}
