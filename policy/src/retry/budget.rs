//! How much extra load all repetitions together may be.

use std::time::Instant;

/// Size of a [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Repetitions allowed for a hundred calls. Default 20.
    ///
    /// When everything fails, a service then gets 1.2 times its load instead of `1 + max_retries` times.
    pub percent: u32,
    /// Repetitions allowed each second on top, so that a service with little traffic can repeat at all.
    /// Default 10.
    pub min_per_second: u32,
    /// Most repetitions that can be saved up. At least one is. Default 100.
    pub burst: u32,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 10, burst: 100 }
    }
}

/// A token bucket of repetitions: calls and time fill it, a repetition takes one.
///
/// One instance guards one target (a service, a component). It starts with one second's worth of
/// [`BudgetPolicy::min_per_second`].
#[derive(Debug)]
pub struct Budget {
    policy: BudgetPolicy,
    // In billionths of a repetition: exact for what calls and for what nanoseconds add.
    balance: u64,
    filled: Instant,
}

const ONE: u64 = 1_000_000_000;

impl Budget {
    /// A budget that starts at `now`.
    #[must_use]
    pub fn new(policy: BudgetPolicy, now: Instant) -> Self {
        let mut budget = Self { policy, balance: 0, filled: now };
        budget.add(u64::from(policy.min_per_second).saturating_mul(ONE));
        budget
    }

    /// Notes a call (its first attempt, not its repetitions).
    pub fn on_call(&mut self) {
        self.add(u64::from(self.policy.percent).saturating_mul(ONE / 100));
    }

    /// Takes one repetition out, or says that none is left.
    pub fn try_retry(&mut self, now: Instant) -> bool {
        self.fill(now);
        match self.balance.checked_sub(ONE) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Instant) {
        // A clock that seems to run backwards fills nothing and must not move the mark back.
        let elapsed = now.saturating_duration_since(self.filled);
        if elapsed.is_zero() {
            return;
        }
        self.filled = now;
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.add(nanos.saturating_mul(u64::from(self.policy.min_per_second)));
    }

    fn add(&mut self, tokens: u64) {
        let most = u64::from(self.policy.burst.max(1)) * ONE;
        self.balance = self.balance.saturating_add(tokens).min(most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn budget(percent: u32, min_per_second: u32, burst: u32) -> (Budget, Instant) {
        let now = Instant::now();
        let policy = BudgetPolicy { percent, min_per_second, burst };
        (Budget::new(policy, now), now)
    }

    fn drain(budget: &mut Budget, now: Instant) -> u32 {
        (0..10_000).take_while(|_| budget.try_retry(now)).count() as u32
    }

    #[test]
    fn a_hundred_calls_buy_the_percentage() {
        let (mut budget, t0) = budget(20, 0, 1000);

        (0..100).for_each(|_| budget.on_call());

        assert_eq!(drain(&mut budget, t0), 20);
    }

    #[test]
    fn a_service_with_little_traffic_may_still_repeat() {
        let (mut budget, t0) = budget(20, 10, 100);

        assert_eq!(drain(&mut budget, t0), 10, "one second's worth at the start");
        assert_eq!(drain(&mut budget, t0 + S / 2), 5);
        assert_eq!(drain(&mut budget, t0 + S / 2), 0);
    }

    #[test]
    fn what_can_be_saved_up_is_bounded() {
        let (mut budget, t0) = budget(20, 10, 30);

        (0..10_000).for_each(|_| budget.on_call());

        assert_eq!(drain(&mut budget, t0 + 3600 * S), 30);
    }

    #[test]
    fn when_every_call_fails_the_extra_load_stays_at_the_percentage() {
        let (mut budget, t0) = budget(20, 0, 100);
        let mut retries = 0_u32;

        for call in 0..10_000_u32 {
            budget.on_call();
            retries += u32::from(budget.try_retry(t0 + S * call));
        }

        assert_eq!(retries, 2000);
    }

    #[test]
    fn a_clock_that_steps_back_neither_fills_nor_panics() {
        let (mut budget, t0) = budget(0, 10, 100);
        let later = t0 + 10 * S;
        assert_eq!(drain(&mut budget, later), 100);

        assert_eq!(drain(&mut budget, t0), 0);
        assert_eq!(drain(&mut budget, later), 0, "the same second is not counted twice");
    }

    #[test]
    fn the_largest_policy_does_not_overflow() {
        let (mut budget, t0) = budget(u32::MAX, u32::MAX, u32::MAX);
        budget.on_call();

        assert!(budget.try_retry(t0 + 1_000_000 * S));
    }
}
