//! The published SDKs of Dapr, unchanged, through two sidecars.
//!
//! `./test` installs them: Python's into `tests/sdk/.venv`, JavaScript's into `tests/sdk/node_modules`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod javascript;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use outrigger_test_support::{Home, Process, Received, Sidecar};
use serde_json::Value;

const CALLER: &str = "spiffe://public/ns/default/caller";

/// A file of this suite that `./test` installs or the repository holds.
fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    assert!(path.exists(), "{} is missing: ./test installs it", path.display());
    path
}

/// A program of an SDK, beside the sidecar whose ports it is told.
fn beside(sidecar: &Sidecar, home: &Home, command: &mut Command) -> Process {
    let env = [
        ("DAPR_HTTP_PORT", sidecar.http().port().to_string()),
        ("DAPR_GRPC_PORT", sidecar.grpc().port().to_string()),
        ("APP_ID", sidecar.app_id().to_owned()),
    ];
    Process::spawn(command, home, &env.map(|(name, value)| (name.to_owned(), value)))
}

/// What the callee asks of a call: whose certificate it came with, and over which wire.
fn prove(seen: &Received) {
    assert_eq!(seen.one("outrigger-caller-id"), Some(CALLER));
    assert_eq!(seen.one("outrigger-wire"), Some("native"));
    assert_eq!(seen.one("dapr-caller-app-id"), Some("caller"));
    assert_eq!(seen.one("x-mine"), Some("yes"));
}

/// Two sidecars; the callee's app is the test's own.
struct Pair {
    caller: Sidecar,
    _callee: Sidecar,
    // Goes last: a sidecar that still runs would start its control process anew.
    home: Home,
}

impl Pair {
    /// The callee's app speaks `protocol` on `port`.
    fn start(port: u16, protocol: &'static str) -> Self {
        let home = Home::new();
        let callee = Sidecar::of(&home, "callee").app(port, protocol).start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, _callee: callee, home }
    }

    /// Runs a program of an SDK beside the caller to its end; the last line that it printed is its answer.
    fn answer_of(&self, command: &mut Command) -> Value {
        let mut process = beside(&self.caller, &self.home, command);
        let status = process.wait(Duration::from_secs(120));
        let log = process.log().text();
        assert!(status.success(), "{status}: {log}");
        let last = log.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no answer: {log}"));
        serde_json::from_str(last).unwrap_or_else(|err| panic!("{err}: {last}"))
    }
}
