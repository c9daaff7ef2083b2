//! A folder for the embedded services of one test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{runs, signal_pid, wait_gone};

/// A private `OUTRIGGER_HOME`. Dropped, the control process that was started in it ends and the folder goes.
///
/// Declare it before the sidecars of a test, so that it goes after them.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// An empty folder that only we may enter.
    pub fn new() -> Self {
        // Not the system's folder for temporary files by default: a Unix socket's path has 108 bytes.
        let dir = tempfile::Builder::new().prefix("outrigger-").tempdir_in("/tmp").expect("a temporary folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("our own folder");
        Self { dir }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in it and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("our own folder");
        fs::write(&path, text).expect("our own folder");
        path
    }

    /// The id of the control process that serves this home, when there is one.
    pub fn control_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.path().join("control.json")).ok()?;
        let facts: serde_json::Value = serde_json::from_str(&text).ok()?;
        let pid = u32::try_from(facts.get("pid")?.as_u64()?).ok()?;
        runs(pid).then_some(pid)
    }

    /// Kills the control process as `kill -9` does, and waits for its end. Panics when none runs.
    pub fn kill_control(&self) {
        let pid = self.control_pid().expect("a control process runs in this home");
        signal_pid(pid, Signal::KILL);
        wait_gone(pid, Duration::from_secs(5));
    }

    /// What the control process logged.
    pub fn control_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("control.log")).unwrap_or_default()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.control_pid() {
            signal_pid(pid, Signal::TERM);
            let end = std::time::Instant::now() + Duration::from_secs(3);
            while runs(pid) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            signal_pid(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("---- control.log ----\n{}", self.control_log());
        }
    }
}
