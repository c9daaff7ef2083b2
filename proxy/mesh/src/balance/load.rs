//! How loaded a replica seems: peak EWMA of its latency times its calls under way.
//!
//! A slower answer counts at once, a faster one with time, so a replica that starts
//! to stall is left alone within a call, and tried again as its past fades.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time in which a past latency loses two thirds of its weight.
const DECAY: Duration = Duration::from_secs(10);

/// What a new replica is taken for.
// A zero seed would make a new endpoint look free, and P2C would send it all.
const SEED: Duration = Duration::from_millis(5);

/// The load of one replica.
pub(crate) struct Load {
    pending: Arc<AtomicU32>,
    latency: Mutex<Latency>,
}

#[derive(Debug, Clone, Copy)]
struct Latency {
    nanos: f64,
    at: Instant,
}

/// One call under way; counts until dropped.
pub(crate) struct Pending(Arc<AtomicU32>);

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self { pending: Arc::default(), latency: Mutex::new(Latency { nanos: nanos(SEED), at: now }) }
    }

    /// Counts one call more.
    pub(crate) fn enter(&self) -> Pending {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Pending(Arc::clone(&self.pending))
    }

    /// Notes a latency.
    pub(crate) fn observe(&self, now: Instant, latency: Duration) {
        let mut past = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = nanos(latency);
        let weight = weight(now.saturating_duration_since(past.at));
        past.nanos = if seen > past.nanos { seen } else { past.nanos * weight + seen * (1.0 - weight) };
        past.at = now;
    }

    /// The expected cost of one call more; comparable between replicas only.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        let past = *self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let decayed = past.nanos * weight(now.saturating_duration_since(past.at));
        decayed.max(1.0) * f64::from(self.pending.load(Ordering::Relaxed).saturating_add(1))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// The exponential decay, by its series: within 2 % of it up to one [`DECAY`], falling ever after.
/// The exact one is the only thing that would link the mathematics library.
fn weight(age: Duration) -> f64 {
    let x = age.as_secs_f64() / DECAY.as_secs_f64();
    1.0 / (1.0 + x * (1.0 + x * (0.5 + x / 6.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let start = Instant::now();
        let load = Load::new(start);
        load.observe(start, 100 * MS);
        assert!(load.cost(start) >= nanos(100 * MS));
        assert!(load.cost(start + 3 * DECAY) < nanos(8 * MS));
    }

    #[test]
    fn each_call_under_way_adds_to_the_cost() {
        let now = Instant::now();
        let load = Load::new(now);
        let idle = load.cost(now);
        let calls = [load.enter(), load.enter()];
        assert!((load.cost(now) - 3.0 * idle).abs() < 1.0);
        drop(calls);
        assert!((load.cost(now) - idle).abs() < 1.0);
    }
}
