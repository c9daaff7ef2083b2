//! How long a process takes from its start until it says that it is ready.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::subject::Fresh;

/// Longest wait for one start.
const LIMIT: Duration = Duration::from_secs(20);

/// Milliseconds of each of so many starts, one after the other; each process is ended before the next one starts.
pub(crate) async fn times(fresh: &Fresh, starts: usize, folder: &Path) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(starts);
    for _ in 0..starts {
        let begun = Instant::now();
        let (mut process, health, ready) = fresh.start(folder)?;
        loop {
            let status = health.ask(LIMIT).await;
            if status.as_ref().is_ok_and(|status| *status == ready) {
                break;
            }
            process.check()?;
            if begun.elapsed() > LIMIT {
                bail!("a fresh process was not ready within {LIMIT:?}: {status:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
