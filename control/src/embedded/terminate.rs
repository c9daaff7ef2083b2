//! Ending the process.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::ca_listen;
use super::election::try_lock;
use super::home::{Home, HomeError};

/// Longest wait for its end: a little more than it may drain.
const LONGEST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What [`stop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing ran.
    NotRunning,
    /// This process ran and has ended.
    Ended {
        /// Its process ID.
        pid: u32,
    },
}

/// Why the process may still run.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The folder is not safe.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The system refused.
    #[error("cannot end the embedded control process of {home}")]
    Io {
        /// The folder.
        home: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was told to end and did not.
    #[error("the embedded control process {pid} did not end within {LONGEST:?}; `kill -9 {pid}` does it no harm")]
    StillRunning {
        /// Its process ID.
        pid: u32,
    },
    /// Somebody has the lock and no socket.
    #[error("a process holds {lock} and does not listen; `fuser {lock}` names it")]
    Silent {
        /// The lock's file.
        lock: String,
    },
}

/// Ends the embedded control process of the folder `home`, and waits until it has ended. Its
/// TCP door, if it had one, is forgotten.
///
/// Sidecars that still run start it again: end them first.
///
/// # Errors
/// When the folder is not safe, and when the process does not end within 10 s.
pub async fn stop(home: &Path) -> Result<Stopped, StopError> {
    if !home.exists() {
        return Ok(Stopped::NotRunning);
    }
    let home = Home::open(home)?;
    let io = |source| StopError::Io { home: home.path().display().to_string(), source };
    let deadline = Instant::now() + LONGEST;
    loop {
        if let Some((pid, process)) = listener(&home).await.map_err(io)? {
            // Kept at the start, so it is not written again.
            ca_listen::forget(&home).map_err(io)?;
            // A signal by descriptor cannot hit another process that got the same number.
            match pidfd_send_signal(&process, Signal::TERM) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(io(error.into())),
            }
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            let left = deadline.saturating_duration_since(Instant::now());
            return match ended(process, left).await.map_err(io)? {
                true => Ok(Stopped::Ended { pid }),
                false => Err(StopError::StillRunning { pid }),
            };
        }
        // Nobody listens: either nobody is elected, or one is just starting or ending.
        if let Some(_elected) = try_lock(&home.lock()).map_err(io)? {
            ca_listen::forget(&home).map_err(io)?;
            return Ok(Stopped::NotRunning);
        }
        if Instant::now() >= deadline {
            return Err(StopError::Silent { lock: home.lock().display().to_string() });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The process that listens on the socket, as the kernel knows it.
async fn listener(home: &Home) -> io::Result<Option<(Pid, OwnedFd)>> {
    let Some(pid) = listening_pid(home).await? else { return Ok(None) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The number may have gone to another between the two calls; it has not if it listens still.
    Ok((listening_pid(home).await? == Some(pid)).then_some((pid, process)))
}

async fn listening_pid(home: &Home) -> io::Result<Option<Pid>> {
    match tokio::time::timeout(Duration::from_secs(1), UnixStream::connect(home.socket())).await {
        Ok(Ok(stream)) => Ok(stream.peer_cred()?.pid().and_then(Pid::from_raw)),
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Waits for the end of a process; `false` when it still runs at the end of the wait.
async fn ended(process: OwnedFd, longest: Duration) -> io::Result<bool> {
    let wait = move || {
        let longest = Timespec::try_from(longest).map_err(io::Error::other)?;
        // The descriptor of a process becomes readable when it ends.
        Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&longest))? > 0)
    };
    tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
}
