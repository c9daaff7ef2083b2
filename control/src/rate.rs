//! A token bucket: how often something may happen.

use std::time::{Duration, Instant};

/// Lets `burst` events through at once and one more each `interval` after that.
///
/// A pure machine: the time is an argument, and must not run backwards.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: u32,
    interval: Duration,
    tokens: u32,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket. `interval` must not be zero; a zero counts as one millisecond.
    pub(crate) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self { burst, interval: interval.max(Duration::from_millis(1)), tokens: burst, refilled: now }
    }

    /// Takes one token; `false` when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let earned = u32::try_from(passed.as_nanos() / self.interval.as_nanos()).unwrap_or(u32::MAX);
        if earned >= self.burst.saturating_sub(self.tokens) {
            self.tokens = self.burst;
            self.refilled = now;
        } else {
            self.tokens += earned;
            // What is left of the interval still counts towards the next token.
            self.refilled += self.interval * earned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_event_an_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, Duration::from_millis(100), start);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(bucket.take(at(0)));
        assert!(bucket.take(at(0)));
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(199)));
        assert!(bucket.take(at(200)));
    }

    #[test]
    fn a_long_rest_earns_one_burst_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, Duration::from_millis(10), start);
        let later = start + Duration::from_secs(86_400 * 365);
        let passed = (0..10).filter(|_| bucket.take(later)).count();
        assert_eq!(passed, 3);
    }
}
