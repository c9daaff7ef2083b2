//! Starting the process where none runs.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::election::try_lock;
use super::home::{Home, HomeError};
use super::process::RunError;
use super::status::Status;
use super::{client, log};

/// Longest time until the process answers.
const LONGEST: Duration = Duration::from_secs(15);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// What of our environment the process gets. The rest (tokens of an app, most of all)
/// is none of its business, and it outlives us.
const ENVIRONMENT: [&str; 8] =
    ["PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "RUST_LOG", "RUST_BACKTRACE", "OUTRIGGER_LOG"];

/// The process that answers.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Its folder.
    pub home: Home,
    /// What it says of itself.
    pub status: Status,
    /// Whether it was this call that started it.
    pub started: bool,
}

/// Why there is no process that answers.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The folder is not safe.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file in it cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {} as the embedded control process", exe.display())]
    Spawn {
        /// The program.
        exe: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended at once.
    #[error("the embedded control process ended with {status} before it answered; its log {} says:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The log.
        log: PathBuf,
        /// End of the log.
        tail: String,
    },
    /// It does not answer.
    #[error(
        "the embedded control process did not answer on {} within {LONGEST:?}; \
         `outrigger stop --all` ends one that hangs; its log says:\n{tail}", socket.display()
    )]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// End of the log.
        tail: String,
    },
}

/// The arguments with which [`ensure`] starts the program: `control --embedded --home <home>
/// --detached`. The last one stands for [`Config::detached`](super::Config::detached).
pub fn arguments(home: &Path) -> Vec<OsString> {
    let words = ["control", "--embedded", "--home"].map(OsString::from);
    words.into_iter().chain([home.into(), "--detached".into()]).collect()
}

/// Makes sure that the embedded control process of the folder `home` runs and answers;
/// starts `exe` with [`arguments`] where none does.
///
/// Any number may call this at once, in any number of processes: one of them starts it.
/// The process is in a session of its own and outlives the caller. Returns within 15 s.
/// Dropping the future stops the waiting and nothing else.
///
/// # Errors
/// A folder that is not safe, and a process that ends or stays silent, with the end of its log.
pub async fn ensure(home: &Path, exe: &Path) -> Result<Connected, EnsureError> {
    let home = Home::open(home)?;
    let written = log::length(&home.log());
    let deadline = Instant::now() + LONGEST;
    loop {
        if let Some(connected) = connected(&home, false).await {
            return Ok(connected);
        }
        let lock = home.start_lock();
        match try_lock(&lock).map_err(|source| EnsureError::File { path: lock, source })? {
            // One starts it; the others only look whether it is there yet. Should the one
            // that starts it die, the kernel passes the lock on.
            Some(_starting) => {
                if let Some(connected) = start(&home, exe, written, deadline).await? {
                    return Ok(connected);
                }
            }
            None => tokio::time::sleep(LOOK).await,
        }
        if Instant::now() >= deadline {
            return Err(no_answer(&home, written));
        }
    }
}

/// Starts the program and waits until it answers; `None` when another process has the
/// election's lock (one that is about to end, say) and it is worth another try.
async fn start(home: &Home, exe: &Path, written: u64, deadline: Instant) -> Result<Option<Connected>, EnsureError> {
    // Somebody may have started it while we took the lock.
    if let Some(connected) = connected(home, false).await {
        return Ok(Some(connected));
    }
    let mut child = spawn(home, exe)?;
    let pid = child.id();
    loop {
        if let Some(connected) = connected(home, true).await {
            let started = pid == Some(connected.status.pid);
            return Ok(Some(Connected { started, ..connected }));
        }
        if let Ok(Some(status)) = child.try_wait() {
            if status.code() == Some(RunError::ALREADY_RUNNING) {
                tokio::time::sleep(LOOK * 5).await;
                return Ok(None);
            }
            let log = home.log();
            let tail = log::tail(&log, written);
            return Err(EnsureError::Ended { status, log, tail });
        }
        if Instant::now() >= deadline {
            return Err(no_answer(home, written));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn connected(home: &Home, started: bool) -> Option<Connected> {
    let socket = home.socket();
    if !socket.exists() || !client::answers(&socket).await {
        return None;
    }
    let status = Status::read(&home.status()).ok()?;
    Some(Connected { home: home.clone(), status, started })
}

fn spawn(home: &Home, exe: &Path) -> Result<Child, EnsureError> {
    let log = home.log();
    let file = |source| EnsureError::File { path: log.clone(), source };
    let output = log::open(&log).map_err(file)?;
    let errors = output.try_clone().map_err(file)?;
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let failed = |source| EnsureError::Spawn { exe: exe.to_path_buf(), source };
    // The folder becomes its working directory, and a relative path would then be another's.
    let exe = std::path::absolute(exe).map_err(failed)?;
    Command::new(&exe)
        .args(arguments(home.path()))
        .env_clear()
        .envs(kept)
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(failed)
}

fn no_answer(home: &Home, written: u64) -> EnsureError {
    EnsureError::NoAnswer { socket: home.socket(), tail: log::tail(&home.log(), written) }
}
