//! Ending with the parent.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Asks the kernel to send us SIGTERM when the process `parent` dies.
///
/// # Errors
///
/// When `parent` is not our parent any more: it died before we could ask, and
/// nobody would ever tell us.
pub(crate) fn end_with(parent: u32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if is_parent(parent) {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("process {parent}, which started this one, is gone")))
    }
}

/// Whether `parent` is our parent still.
pub(crate) fn is_parent(parent: u32) -> bool {
    let now = getppid().map(Pid::as_raw_nonzero);
    now.and_then(|pid| u32::try_from(pid.get()).ok()) == Some(parent)
}
