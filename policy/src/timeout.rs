//! How a deadline and a per-try timeout become the time that one attempt has.

use std::time::{Duration, Instant};

/// The moment at which a call ends, whatever it is doing; or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
    after: Option<Duration>,
}

/// Which of the two bounds an attempt runs into first. The names are those of the failure it causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The whole call's deadline: nothing can be tried again.
    Deadline,
    /// The timeout of this attempt: another replica may be tried.
    PerTry,
}

impl Bound {
    /// The word that failures, metrics and documents use: `deadline` or `per-try`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::PerTry => "per-try",
        }
    }
}

/// The time one attempt has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptTime {
    /// No bound: the attempt may wait for ever.
    Unbounded,
    /// The attempt ends after `left`, and `bound` says what that means.
    Within {
        /// Time from now until the attempt is given up; never zero.
        left: Duration,
        /// What was run into when it is.
        bound: Bound,
    },
    /// The deadline has passed: no attempt is made.
    Expired,
}

impl Deadline {
    /// The sooner of what the policy and the caller ask for, counted from `start`.
    ///
    /// The caller can shorten the policy's deadline but not lengthen it. A deadline too far away to be
    /// represented is none.
    #[must_use]
    pub fn new(start: Instant, policy: Option<Duration>, caller: Option<Duration>) -> Self {
        let after = match (policy, caller) {
            (Some(policy), Some(caller)) => Some(policy.min(caller)),
            (one, other) => one.or(other),
        };
        let at = after.and_then(|after| start.checked_add(after));
        Self { at, after: at.and(after) }
    }

    /// The whole time the call was given, or `None` without a deadline.
    #[must_use]
    pub fn after(&self) -> Option<Duration> {
        self.after
    }

    /// The moment itself, or `None` without a deadline.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Time until the deadline; zero once it has passed, `None` without one.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(now))
    }

    /// Whether waiting for `delay` from `now` still leaves time for an attempt.
    #[must_use]
    pub fn allows_wait(&self, now: Instant, delay: Duration) -> bool {
        self.left(now).is_none_or(|left| delay < left)
    }

    /// The time that an attempt starting at `now` has under a per-try timeout.
    #[must_use]
    pub fn attempt(&self, now: Instant, per_try: Option<Duration>) -> AttemptTime {
        match (self.left(now), per_try) {
            (Some(Duration::ZERO), _) => AttemptTime::Expired,
            (Some(left), Some(per_try)) if per_try < left => AttemptTime::per_try(per_try),
            (Some(left), _) => AttemptTime::Within { left, bound: Bound::Deadline },
            (None, Some(per_try)) => AttemptTime::per_try(per_try),
            (None, None) => AttemptTime::Unbounded,
        }
    }
}

impl AttemptTime {
    fn per_try(left: Duration) -> Self {
        // A timeout of nothing would end every attempt before it starts: it reads as "no timeout".
        if left.is_zero() {
            return Self::Unbounded;
        }
        Self::Within { left, bound: Bound::PerTry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn within(left: Duration, bound: Bound) -> AttemptTime {
        AttemptTime::Within { left, bound }
    }

    #[test]
    fn the_sooner_bound_decides_the_time_of_an_attempt() {
        let t0 = Instant::now();
        let rows = [
            // policy, caller, elapsed, per try, expected
            (None, None, S, None, AttemptTime::Unbounded),
            (None, None, S, Some(2 * S), within(2 * S, Bound::PerTry)),
            (Some(5 * S), None, S, None, within(4 * S, Bound::Deadline)),
            (Some(5 * S), Some(3 * S), S, None, within(2 * S, Bound::Deadline)),
            (Some(3 * S), Some(5 * S), S, None, within(2 * S, Bound::Deadline)),
            (Some(5 * S), None, S, Some(S), within(S, Bound::PerTry)),
            (Some(5 * S), None, 4 * S, Some(2 * S), within(S, Bound::Deadline)),
            (Some(5 * S), None, 3 * S, Some(2 * S), within(2 * S, Bound::Deadline)),
            (Some(5 * S), None, 5 * S, Some(S), AttemptTime::Expired),
            (Some(5 * S), None, 9 * S, None, AttemptTime::Expired),
            (None, Some(Duration::ZERO), Duration::ZERO, None, AttemptTime::Expired),
            (None, None, S, Some(Duration::ZERO), AttemptTime::Unbounded),
        ];
        for (policy, caller, elapsed, per_try, expected) in rows {
            let deadline = Deadline::new(t0, policy, caller);

            let time = deadline.attempt(t0 + elapsed, per_try);

            assert_eq!(time, expected, "{policy:?} {caller:?} {elapsed:?} {per_try:?}");
        }
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_none() {
        let deadline = Deadline::new(Instant::now(), Some(Duration::MAX), None);

        assert_eq!(deadline.after(), None);
        assert_eq!(deadline.attempt(Instant::now(), None), AttemptTime::Unbounded);
    }

    #[test]
    fn a_back_off_that_would_outlast_the_deadline_is_not_waited_for() {
        let t0 = Instant::now();
        let deadline = Deadline::new(t0, Some(S), None);

        assert!(deadline.allows_wait(t0, S / 2));
        assert!(!deadline.allows_wait(t0, S));
        assert!(!deadline.allows_wait(t0 + S, Duration::ZERO));
    }
}
