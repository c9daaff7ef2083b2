//! Our own pair: an embedded control process, and two sidecars with identity, access policy, metrics and trace
//! propagation on.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::{Bench, Fresh, Pair, free_port, loopback};
use crate::load::Target;
use crate::process::Process;

/// What the callee allows: one verb on one path, to one caller.
const ACCESS: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: access
spec:
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - appId: a
      defaultAction: deny
      trustDomain: public
      namespace: default
      operations:
      - name: /echo
        httpVerb: ['POST']
        action: allow
";

/// Ports of one sidecar.
struct Ports {
    http: u16,
    grpc: u16,
    peer: u16,
    metrics: u16,
}

pub(super) async fn start(binary: &Path, bench: &Bench, folder: &Path) -> anyhow::Result<Pair> {
    // A Unix socket's path holds about 100 bytes, and the control process wants a folder that is its user's alone.
    let home = tempfile::Builder::new()
        .prefix("outrigger-bench-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .context("make a home folder")?;
    let access = folder.join("access.yaml");
    fs::write(&access, ACCESS)?;

    let mut control = Command::new(binary);
    // Under valgrind a sidecar needs longer to come than the control process waits for one.
    control
        .args(["control", "--embedded", "--idle", "600", "--home"])
        .arg(home.path())
        .env("OUTRIGGER_HOME", home.path());
    let control = Process::start("control", control, folder)?;
    wait_for(&home.path().join("control.sock")).await;

    let (caller, callee) = (Ports::free()?, Ports::free()?);
    let records = format!("--enable-api-logging={}", bench.access_records);
    let mut b = sidecar(bench.command(binary), "b", &callee, home.path());
    b.arg(&records);
    b.arg("--app-port").arg(bench.origin.port().to_string()).arg("--config").arg(&access);
    let b = Process::start("b", b, folder)?;
    let mut a = sidecar(bench.command(binary), "a", &caller, home.path());
    a.arg(&records);
    let a = Process::start("a", a, folder)?;

    let entry = loopback(caller.http);
    let mut pair = Pair::new(Target::post(entry, "/v1.0/invoke/b/method/echo"), vec![a, b]);
    pair.forbidden = Some(Target::post(entry, "/v1.0/invoke/b/method/forbidden"));
    pair.support = vec![control];
    pair.fresh = Some(Fresh::Ours { binary: binary.to_owned(), home: home.path().to_owned(), origin: bench.origin });
    pair.home = Some(home);
    Ok(pair)
}

/// A third sidecar, with an app that listens; ready when its health endpoint answers 204, SVID held.
pub(super) fn fresh(
    binary: &Path,
    home: &Path,
    origin: SocketAddr,
    folder: &Path,
) -> anyhow::Result<(Process, Target, u16)> {
    let ports = Ports::free()?;
    let mut command = sidecar(Command::new(binary), "fresh", &ports, home);
    command.arg("--app-port").arg(origin.port().to_string());
    let process = Process::start("fresh", command, folder)?;
    Ok((process, Target::get(loopback(ports.http), "/v1.0/healthz"), 204))
}

fn sidecar(mut command: Command, app: &str, ports: &Ports, home: &Path) -> Command {
    command
        .args(["sidecar", "--app-id", app, "--dapr-listen-addresses", "127.0.0.1"])
        .arg("--dapr-http-port")
        .arg(ports.http.to_string())
        .arg("--dapr-grpc-port")
        .arg(ports.grpc.to_string())
        .arg("--dapr-internal-grpc-port")
        .arg(ports.peer.to_string())
        .arg("--metrics-port")
        .arg(ports.metrics.to_string())
        .env("OUTRIGGER_HOME", home);
    command
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        Ok(Self { http: free_port()?, grpc: free_port()?, peer: free_port()?, metrics: free_port()? })
    }
}

/// Waits for the control process's socket; a start that fails is told by the sidecars.
async fn wait_for(socket: &Path) {
    for _ in 0..500 {
        if socket.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
