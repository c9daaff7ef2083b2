//! The processes of the quickstart: three services, three sidecars, and the
//! control process of their own folder.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use outrigger_control::embedded::{self, Home};

use super::service::Role;
use crate::loopback;
use crate::supervise::output::Sink;
use crate::supervise::{Child, Spec};

/// Longest wait for all sidecars to be ready.
const READY: Duration = Duration::from_secs(30);

/// Longest wait for each process to end by itself.
const GRACE: Duration = Duration::from_secs(8);

/// One service and its sidecar.
#[derive(Debug)]
pub(crate) struct Member {
    /// Which service.
    pub(crate) role: Role,
    /// Where it listens.
    pub(crate) app: SocketAddr,
    /// HTTP API of its sidecar.
    pub(crate) api: SocketAddr,
    /// Its access-control file.
    pub(crate) policy: PathBuf,
    service: Child,
    sidecar: Child,
}

impl Member {
    /// Process IDs of service and sidecar.
    pub(crate) fn pids(&self) -> [u32; 2] {
        [self.service.pid(), self.sidecar.pid()]
    }
}

/// Everything that the quickstart started. Dropped, its children are killed.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The folder with all data.
    pub(crate) home: Home,
    /// Process ID of the control process.
    pub(crate) control_pid: u32,
    /// The three, in the order of the call.
    pub(crate) members: Vec<Member>,
}

impl Fleet {
    /// Starts everything in `folder` and waits until all of it is ready.
    ///
    /// # Errors
    ///
    /// What did not start, and where its log is.
    pub(crate) async fn start(folder: &Path, exe: &Path) -> anyhow::Result<Fleet> {
        let home = Home::open(folder)?;
        for sub in ["config", "log"] {
            std::fs::create_dir(folder.join(sub))
                .with_context(|| format!("cannot make {}", folder.join(sub).display()))?;
        }
        let control = embedded::ensure(home.path(), exe).await?;
        let mut fleet = Fleet { home, control_pid: control.status.pid, members: Vec::new() };
        let ports = free_ports(5 * Role::ALL.len())?;
        for (role, ports) in Role::ALL.into_iter().zip(ports.chunks_exact(5)) {
            let &[app, http, grpc, peer, metrics] = ports else {
                continue;
            };
            let member = fleet.member(exe, role, [app, http, grpc, peer, metrics])?;
            fleet.members.push(member);
        }
        fleet.ready().await?;
        Ok(fleet)
    }

    fn member(&self, exe: &Path, role: Role, ports: [u16; 5]) -> anyhow::Result<Member> {
        let [app, http, grpc, peer, metrics] = ports;
        let id = role.app_id();
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        let policy = self.home.path().join("config").join(format!("{id}.yaml"));
        std::fs::write(&policy, access_control(role)).with_context(|| format!("cannot write {}", policy.display()))?;
        let run_pid = format!("--run-pid={}", std::process::id());
        let service = self.child(
            exe,
            id,
            [
                "quickstart-service".into(),
                id.into(),
                run_pid.clone().into(),
                format!("--port={app}").into(),
                format!("--sidecar={api}").into(),
            ],
        )?;
        let mut config = OsString::from("--config=");
        config.push(&policy);
        let mut socket = OsString::from("--control-socket=");
        socket.push(self.home.socket());
        let sidecar = self.child(
            exe,
            &format!("{id}-sidecar"),
            [
                "sidecar".into(),
                format!("--app-id={id}").into(),
                format!("--app-port={app}").into(),
                format!("--dapr-http-port={http}").into(),
                format!("--dapr-grpc-port={grpc}").into(),
                format!("--dapr-internal-grpc-port={peer}").into(),
                format!("--metrics-port={metrics}").into(),
                config,
                socket,
                run_pid.into(),
                "--app-command=quickstart".into(),
            ],
        )?;
        Ok(Member { role, app: SocketAddr::from((Ipv4Addr::LOCALHOST, app)), api, policy, service, sidecar })
    }

    fn child(&self, exe: &Path, name: &str, arguments: impl Into<Vec<OsString>>) -> anyhow::Result<Child> {
        let log = self.log(name);
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // The user's own tokens and namespace are none of the demo's business;
        // an empty variable is one that is not set.
        let unset = ["NAMESPACE", "DAPR_API_TOKEN", "APP_API_TOKEN", "DAPR_TRUST_ANCHORS", "DAPR_TRUST_ANCHORS_FILE"];
        Child::start(Spec {
            program: exe.to_path_buf(),
            arguments: arguments.into(),
            environment: unset.map(|name| (name.to_owned(), String::new())).to_vec(),
            folder: None,
            stdin: false,
            output: Sink::File(Arc::new(file)),
        })
        .with_context(|| format!("cannot start {name}"))
    }

    /// The log of a service (`orders`) or a sidecar (`orders-sidecar`).
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.home.path().join("log").join(format!("{name}.log"))
    }

    /// The member of that role.
    ///
    /// # Errors
    ///
    /// Never, once started.
    pub(crate) fn of(&self, role: Role) -> anyhow::Result<&Member> {
        self.members
            .iter()
            .find(|member| member.role == role)
            .with_context(|| format!("{} was not started", role.app_id()))
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        let logs = self.home.path().join("log");
        for member in &mut self.members {
            let id = member.role.app_id();
            let client = loopback::client(member.api);
            let healthy = async {
                while !loopback::get(&client, member.api, "/v1.0/healthz")
                    .await
                    .is_ok_and(|answer| answer.status == 204)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let what = tokio::select! {
                () = healthy => continue,
                _ = member.service.ended() => format!("the service {id} ended while starting"),
                _ = member.sidecar.ended() => format!("the sidecar of {id} ended while starting"),
                () = tokio::time::sleep_until(until.into()) => format!("the sidecar of {id} was not ready within {READY:?}"),
            };
            anyhow::bail!("{what}; the logs are in {}\n{}", logs.display(), tail(&logs, id));
        }
        Ok(())
    }

    /// Stops everything, services first, and says which processes are left.
    pub(crate) async fn stop(mut self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.members.iter().flat_map(Member::pids).collect();
        pids.push(self.control_pid);
        // All at once: none of them waits for another.
        for member in &self.members {
            member.service.ask_to_end();
            member.sidecar.ask_to_end();
        }
        for member in &mut self.members {
            for child in [&mut member.service, &mut member.sidecar] {
                if child.pid() != 0 {
                    let _status = child.stop(GRACE).await;
                }
            }
        }
        if let Err(error) = embedded::stop(self.home.path()).await {
            eprintln!("The control process: {error}");
        }
        pids.retain(|pid| is_running(*pid));
        pids
    }
}

/// Whether a process of that number exists and has not ended. One that has
/// ended and was not yet asked for its status is a zombie, and no process any
/// more.
fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name before the state is in parentheses and may hold anything.
    !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X'])
}

/// The last lines of both logs of `id`.
fn tail(logs: &Path, id: &str) -> String {
    const LINES: usize = 8;
    let mut text = String::new();
    for name in [id.to_owned(), format!("{id}-sidecar")] {
        let log = std::fs::read_to_string(logs.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
            text.push_str(&format!("  {name}: {line}\n"));
        }
    }
    text
}

/// Ports that nobody listened on a moment ago, all different.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let held: std::io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    held?.iter().map(|listener| listener.local_addr().map(|address| address.port())).collect()
}

/// Who may call `role`, as a Configuration.
fn access_control(role: Role) -> String {
    let policies = match role {
        Role::Storefront => "    policies: []\n".to_owned(),
        Role::Orders => allow(Role::Storefront, role),
        Role::Payments => allow(Role::Orders, role),
    };
    format!(
        "apiVersion: dapr.io/v1alpha1\n\
         kind: Configuration\n\
         metadata:\n\
         \x20 name: {}-access\n\
         spec:\n\
         \x20 accessControl:\n\
         \x20   defaultAction: deny\n\
         \x20   trustDomain: public\n\
         {policies}",
        role.app_id()
    )
}

fn allow(caller: Role, callee: Role) -> String {
    format!(
        "    policies:\n\
         \x20   - appId: {}\n\
         \x20     namespace: default\n\
         \x20     trustDomain: public\n\
         \x20     defaultAction: deny\n\
         \x20     operations:\n\
         \x20     - name: {}\n\
         \x20       httpVerb: [POST]\n\
         \x20       action: allow\n",
        caller.app_id(),
        callee.path()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_callee_allows_one_call_of_one_caller() {
        assert!(
            access_control(Role::Storefront).contains("defaultAction: deny\n    trustDomain: public\n    policies: []")
        );
        let payments = access_control(Role::Payments);
        assert!(payments.contains("- appId: orders\n"), "{payments}");
        assert!(payments.contains("- name: /charge\n        httpVerb: [POST]\n        action: allow\n"), "{payments}");
        assert!(!payments.contains("storefront"));
    }

    #[test]
    fn a_process_runs_until_it_has_ended() {
        assert!(is_running(std::process::id()));
        assert!(!is_running(u32::MAX));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while is_running(child.id()) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(!is_running(child.id()), "ended, though nobody has asked for its status");
        child.wait().unwrap();
    }

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = free_ports(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
