//! How long to wait before an attempt is repeated.

use std::time::Duration;

/// The wait before each repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// The same wait each time, as Dapr's `policy: constant`. Nothing is random about it.
    Constant {
        /// The wait; zero repeats at once.
        delay: Duration,
    },
    /// A random wait between zero and a bound that doubles with each repetition ("full jitter").
    ///
    /// Callers that failed together come back spread over the whole span, so they do not meet again.
    Exponential {
        /// The bound of the first wait.
        base: Duration,
        /// The bound that is never exceeded.
        max: Duration,
    },
}

impl Default for Backoff {
    /// Full jitter from 25 ms to 250 ms: shorter than a person notices, longer than a listener's queue
    /// needs to empty.
    fn default() -> Self {
        Self::Exponential { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

impl Backoff {
    /// The wait before repetition number `attempt`, counted from 0.
    ///
    /// `random` is from `0.0` to `1.0`; what lies outside (or is no number) is taken as the nearer end.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        match *self {
            Self::Constant { delay } => delay,
            Self::Exponential { base, max } => {
                let factor = 1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX);
                let bound = base.checked_mul(factor).unwrap_or(max).min(max);
                let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
                Duration::try_from_secs_f64(bound.as_secs_f64() * random).unwrap_or(bound)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn full_jitter_doubles_its_bound_up_to_the_maximum() {
        let backoff = Backoff::Exponential { base: 25 * MS, max: 250 * MS };
        let rows = [
            (0, 1.0, 25 * MS),
            (1, 1.0, 50 * MS),
            (2, 1.0, 100 * MS),
            (3, 1.0, 200 * MS),
            (4, 1.0, 250 * MS),
            (31, 1.0, 250 * MS),
            (u32::MAX, 1.0, 250 * MS),
            (2, 0.5, 50 * MS),
            (2, 0.0, Duration::ZERO),
            (2, -3.0, Duration::ZERO),
            (2, 7.0, 100 * MS),
            (2, f64::NAN, Duration::ZERO),
        ];
        for (attempt, random, expected) in rows {
            assert_eq!(backoff.delay(attempt, random), expected, "{attempt} {random}");
        }
    }

    #[test]
    fn the_longest_representable_wait_does_not_overflow() {
        let backoff = Backoff::Exponential { base: Duration::MAX, max: Duration::MAX };

        assert_eq!(backoff.delay(40, 1.0), Duration::MAX);
    }

    #[test]
    fn a_constant_wait_is_the_same_each_time_and_not_random() {
        let backoff = Backoff::Constant { delay: 1000 * MS };

        for attempt in [0, 1, 7, u32::MAX] {
            assert_eq!(backoff.delay(attempt, 0.1), 1000 * MS);
        }
    }
}
