//! Waiting for what must come, with a bound.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longest wait for what ought to come at once: generous, since a loaded machine is slow.
const WAIT: Duration = Duration::from_secs(10);

/// What `work` gives; panics with `what` when it takes longer than [`WAIT`].
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(WAIT, work).await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain for {what}"))
}

/// Asks `probe` every few milliseconds until it says yes; panics with `what` after [`WAIT`].
pub(crate) async fn eventually(what: &str, probe: impl Fn() -> bool) {
    within(what, async {
        while !probe() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
