//! One child process and its group.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::output::{Sink, copy};

/// What to start.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Variables set on top of our own environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The folder that it runs in; ours when `None`.
    pub(crate) folder: Option<PathBuf>,
    /// Whether it reads our standard input.
    pub(crate) stdin: bool,
    /// Where its output goes.
    pub(crate) output: Sink,
}

/// A running child that leads its own process group.
///
/// Dropping it kills the whole group.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    output: JoinSet<()>,
}

impl Child {
    /// Starts the child. To be called on the main thread: the kernel ties the
    /// child's "parent died" to the thread that started it.
    ///
    /// # Errors
    ///
    /// What the system said: no such file, no permission, no more processes.
    pub(crate) fn start(spec: Spec) -> std::io::Result<Child> {
        let mut command = Command::new(&spec.program);
        if let Some(folder) = &spec.folder {
            command.current_dir(folder);
        }
        let mut process = command
            .args(&spec.arguments)
            .envs(spec.environment)
            .stdin(if spec.stdin { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut output = JoinSet::new();
        if let Some(stdout) = process.stdout.take() {
            output.spawn(copy(stdout, spec.output.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            output.spawn(copy(stderr, spec.output));
        }
        Ok(Child { process, group, output })
    }

    /// The child's process ID; 0 when it has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// Waits until the child has ended. Safe to drop.
    ///
    /// # Errors
    ///
    /// When the system cannot say.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        self.group = None;
        // What it wrote last; a grandchild that keeps the pipe open may not
        // hold us up.
        let rest = async { while self.output.join_next().await.is_some() {} };
        let _cut_off = tokio::time::timeout(Duration::from_millis(200), rest).await;
        Ok(status)
    }

    /// Sends SIGTERM to the group.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGKILL to the group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may have ended by itself in this moment.
            let _gone = kill_process_group(group, signal);
        }
    }

    /// Asks the group to end, and kills it after `grace`.
    ///
    /// # Errors
    ///
    /// When the system cannot say how it ended.
    pub(crate) async fn stop(&mut self, grace: Duration) -> std::io::Result<ExitStatus> {
        self.ask_to_end();
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill();
                self.ended().await
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The code by which a shell would know `status`: the exit code, or 128 and
/// the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_what_a_shell_would_say() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
