//! Waiting for something that another process does, with a bound.

use std::time::{Duration, Instant};

/// The longest that a case waits for something that ought to happen: generous, since a loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` every few milliseconds until it answers, for up to 20 s; panics with `what` otherwise.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// Asks `probe` every few milliseconds until it answers, for up to `patience`; panics with `what` otherwise.
pub fn within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
