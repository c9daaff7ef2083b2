//! A process that ends with the test.

use std::ffi::OsStr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Home, Log, binary, within};

/// A run of the program under test. Dropped, it is killed by its id and reaped.
pub struct Process {
    child: Child,
    log: Log,
    readers: [JoinHandle<()>; 2],
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `outrigger` with `args`, its data in `home`, `env` on top of a bare environment, and both outputs kept.
    pub fn start<S: AsRef<OsStr>>(home: &Home, args: impl IntoIterator<Item = S>, env: &[(String, String)]) -> Self {
        Self::spawn(Command::new(binary()).args(args), home, env)
    }

    /// Starts any command in the same manner.
    pub fn spawn(command: &mut Command, home: &Home, env: &[(String, String)]) -> Self {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("OUTRIGGER_HOME", home.path())
            .env("RUST_BACKTRACE", "1")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{command:?} did not start: {err}"));
        let log = Log::default();
        let readers = [
            log.follow(child.stdout.take().expect("stdout is piped")),
            log.follow(child.stderr.take().expect("stderr is piped")),
        ];
        Self { child, log, readers, status: None }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends `signal`. A process that is gone already is no mistake.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            signal_pid(self.id(), signal);
        }
    }

    /// Its exit status, when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    /// Waits for its end and for the last of its output; panics with its output when it takes longer than `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let log = self.log.clone();
        let end = std::time::Instant::now() + patience;
        while std::time::Instant::now() < end {
            if let Some(status) = self.ended() {
                self.read_out();
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("process {} had not ended after {patience:?}; it printed:\n{}", self.id(), log.text());
    }

    /// Waits until both outputs are read to their end; not for long, since a grandchild may hold them open.
    fn read_out(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(1);
        while std::time::Instant::now() < end && !self.readers.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Politely first: a process that was asked to end takes its own children with it.
            self.signal(Signal::TERM);
            let patience = std::time::Instant::now() + Duration::from_secs(2);
            while self.ended().is_none() && std::time::Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if self.ended().is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("---- process {} printed ----\n{}", self.id(), self.log.text());
        }
    }
}

/// Sends `signal` to the process `id`; one that is gone already is no mistake.
pub(crate) fn signal_pid(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

/// Whether a process `id` runs (one that ended and waits to be reaped does not).
pub(crate) fn runs(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Waits until no process `id` runs.
pub(crate) fn wait_gone(id: u32, patience: Duration) {
    within(patience, &format!("the end of process {id}"), || (!runs(id)).then_some(()));
}
