//! `outrigger stop`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use outrigger_identity::AppId;
use outrigger_mesh::discovery::registry::Announcement;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::cli::Stop;
use super::registered;

/// Longest wait for a stopped process to be gone: the graceful shutdown of
/// app and sidecar, and a little.
const PATIENCE: Duration = Duration::from_secs(15);

/// Stops sidecars by app ID, or all of them and the control process.
///
/// The exit code is 1 when there was nothing to stop by that name, or
/// something would not end.
///
/// # Errors
///
/// The control process runs and does not answer, or an app ID is none.
pub(crate) async fn stop(arguments: Stop) -> anyhow::Result<u8> {
    let home = registered::home()?;
    let found = registered::sidecars(&home).await?;
    let mut code = 0;
    let mut chosen = Vec::new();
    if arguments.all {
        chosen.extend(found);
    } else {
        let named = match &arguments.run_file {
            Some(path) => super::many::read(path)?.0.into_iter().map(|app| app.app_id).collect(),
            None => arguments.app_id,
        };
        for name in &named {
            let wanted = AppId::parse(name, "default")?;
            let before = chosen.len();
            chosen.extend(found.iter().filter(|sidecar| sidecar.app == wanted).cloned());
            if chosen.len() == before {
                eprintln!("No sidecar of {wanted} is running; `outrigger list` shows which are.");
                code = 1;
            }
        }
    }
    for (pid, sidecar) in targets(&chosen) {
        let app = sidecar.app.app_id();
        match end(pid).await {
            Ok(()) => println!("Stopped {app} (process {pid})."),
            Err(error) => {
                eprintln!("Cannot stop {app} (process {pid}): {error}");
                code = 1;
            }
        }
    }
    if arguments.all {
        outrigger_control::embedded::stop(home.path()).await?;
        println!("Nothing of Outrigger is running any more.");
    }
    Ok(code)
}

/// One process for each sidecar: the `run` that started it, which ends the app
/// first, or the sidecar itself.
fn targets(chosen: &[Announcement]) -> Vec<(u32, &Announcement)> {
    let mut seen = BTreeSet::new();
    chosen
        .iter()
        .map(|sidecar| {
            let of = &sidecar.description;
            let pid = if of.parent_pid == 0 { of.pid } else { of.parent_pid };
            (pid, sidecar)
        })
        .filter(|(pid, _)| seen.insert(*pid))
        .collect()
}

/// Asks a process of ours to end and waits until it has.
async fn end(pid: u32) -> anyhow::Result<()> {
    let process =
        i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| anyhow::anyhow!("that is no process"))?;
    if !is_outrigger(pid) {
        anyhow::bail!("that process is not Outrigger (any more)");
    }
    kill_process(process, Signal::TERM)?;
    let until = Instant::now() + PATIENCE;
    while test_kill_process(process).is_ok() && is_outrigger(pid) {
        if Instant::now() > until {
            anyhow::bail!("it has not ended after {PATIENCE:?}; `kill -9 {pid}` ends it at once");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether the process runs a program of our name, or of the name we were started by: a number in the registry
/// may have been given to another program since.
fn is_outrigger(pid: u32) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let own = std::env::current_exe().ok();
    let own = own.as_ref().and_then(|path| path.file_name()).map(std::ffi::OsStr::as_encoded_bytes);
    name == b"outrigger" || name == b"daprd" || Some(name) == own
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_mesh::discovery::registry::Description;
    use std::time::SystemTime;

    fn sidecar(pid: u32, parent_pid: u32) -> Announcement {
        Announcement {
            instance: format!("i-{pid}").into(),
            app: AppId::new("default", "shop").unwrap(),
            peer_address: "127.0.0.1:1".parse().unwrap(),
            draining: false,
            description: Description {
                pid,
                parent_pid,
                http_port: 0,
                grpc_port: 0,
                metrics_port: 0,
                app_port: 0,
                app_pid: 0,
                command: String::new(),
                started: SystemTime::UNIX_EPOCH,
            },
        }
    }

    #[test]
    fn a_run_is_stopped_as_a_whole_and_only_once() {
        let chosen = [sidecar(10, 0), sidecar(12, 11), sidecar(13, 11)];
        let pids: Vec<u32> = targets(&chosen).iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids, [10, 11]);
    }

    #[test]
    fn a_process_of_another_name_is_not_ours() {
        assert!(!is_outrigger(1), "process 1 is never a sidecar here");
        assert!(!is_outrigger(u32::MAX));
    }
}
