//! The binary under test, and what both suites ask about processes.

use std::time::Duration;

use outrigger_test_support::within;

/// The binary that cargo built for this test.
pub(crate) const OUTRIGGER: &str = env!("CARGO_BIN_EXE_outrigger");

/// Longest wait for a process to end: a debug build on a loaded machine.
pub(crate) const END: Duration = Duration::from_secs(20);

/// Whether a process of that number exists and has not ended.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Waits until none of these processes is left.
pub(crate) fn all_gone(pids: &[u32]) {
    within(END, &format!("the end of {pids:?}"), || pids.iter().all(|pid| !runs(*pid)).then_some(()));
}
