//! Real parts: a home of our own, the process in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_control::embedded::{Config, Status, run_until};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A folder that is gone afterwards, and the process that may still run in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    #[allow(dead_code, reason = "not every test file reads it")]
    pub(crate) fn status(&self) -> Option<Status> {
        Status::read(&self.file("control.json")).ok()
    }
}

/// The embedded control process, as a task of the test.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(place: &Place, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(place.home());
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            run_until(config, async { drop(stopped.await) }).await.unwrap();
        });
        until("the process is ready", || place.file("control.json").exists()).await;
        Self { stop, task }
    }

    /// Ends it as `kill -9` would: nothing is tidied up.
    #[allow(dead_code, reason = "not every test file does so")]
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// Waits until something holds; fails the test when it does not within 20 s.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// The example program of this crate, which cargo builds beside the tests.
#[allow(dead_code, reason = "not every test file starts it")]
pub(crate) fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    built.join("examples/embedded")
}
