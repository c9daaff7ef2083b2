//! When a replica is left alone, and how it is tried again.

use std::time::{Duration, Instant};

/// When a [`Breaker`] opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it; `None` does not count them. Default 7: a replica that is gone is
    /// left alone within a few calls, and an odd failure among successes never does it.
    pub consecutive_failures: Option<u32>,
    /// The share of successes below which it opens; `None` does not measure it. It finds the replica that
    /// fails half of its calls and so never fails seven in a row.
    pub success_rate: Option<SuccessRate>,
    /// How long it stays open the first time. Default 1 s; doubled by each failed probe.
    pub open: Duration,
    /// Longest time it stays open. Default 60 s.
    pub open_max: Duration,
    /// Calls let through at once while half-open. At least one is. Default 1.
    pub probes: u32,
    /// What happens to a call when the breaker of every replica is open. Default
    /// [`AllOpen::TryAnyway`].
    pub all_open: AllOpen,
}

/// What happens when the breaker of every replica is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AllOpen {
    /// The call goes to a replica all the same: breakers choose between replicas and never
    /// refuse a call that might succeed. Who has only one replica sees none of them.
    #[default]
    TryAnyway,
    /// The call is refused at once.
    Refuse,
}

/// A measured share of successes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// What is looked at: results from the last half to the whole of this time. Default 10 s.
    pub window: Duration,
    /// Results needed before the share means anything. Default 20.
    pub min_calls: u32,
    /// Least share of successes, in percent from 0 to 100. Default 50.
    pub min_percent: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(7),
            success_rate: Some(SuccessRate::default()),
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            probes: 1,
            all_open: AllOpen::default(),
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { window: Duration::from_secs(10), min_calls: 20, min_percent: 50 }
    }
}

/// What the breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls pass and are counted.
    Closed,
    /// No call passes before `until`.
    Open {
        /// When the first probe may pass.
        until: Instant,
    },
    /// A few calls pass; their results decide.
    HalfOpen,
}

/// The refusal of an open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// When it is worth asking again.
    pub until: Instant,
}

/// Leave for one call. Give it back with its result to [`Breaker::on_result`], or without one to
/// [`Breaker::release`]. One that is lost does no lasting harm: the place of a lost probe is free again
/// after the time for which the breaker was open.
#[derive(Debug)]
#[must_use = "the breaker waits for the call's result"]
pub struct Permit {
    epoch: u64,
}

/// The circuit breaker of one replica.
///
/// Closed → open after failures; open → half-open when its time is over; half-open → closed by a probe
/// that succeeds, → open for twice as long by one that fails. A result counts only in the state in which
/// its call began: a slow failure from before does not close the way again for a replica that recovered.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    // Changes with each change of phase; the results of earlier permits are then stale.
    epoch: u64,
    // Doubled by each failed probe, reset when closed.
    open_for: Duration,
}

#[derive(Debug)]
enum Phase {
    Closed { consecutive: u32, window: Window },
    Open { until: Instant },
    HalfOpen { probes: u32, last_probe: Instant },
}

impl Breaker {
    /// A closed breaker without a past.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, phase: Phase::closed(), epoch: 0, open_for: policy.open }
    }

    /// What it is doing, as of the last call or result.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until } => State::Open { until },
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Whether a call would pass now. A balancer asks this of each replica without taking a permit.
    #[must_use]
    pub fn would_pass(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until } => now >= until,
            Phase::HalfOpen { probes, last_probe } => self.has_probe_place(probes, last_probe, now),
        }
    }

    /// Asks leave for one call.
    ///
    /// # Errors
    /// [`Open`] while it is open, and while half-open with all probes under way.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Permit, Open> {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Err(Open { until });
            }
            self.enter(Phase::HalfOpen { probes: 0, last_probe: now });
        }
        if let Phase::HalfOpen { probes, last_probe } = self.phase {
            let lost = now >= last_probe + self.open_for;
            if !self.has_probe_place(probes, last_probe, now) {
                return Err(Open { until: last_probe + self.open_for });
            }
            self.phase = Phase::HalfOpen { probes: if lost { 1 } else { probes + 1 }, last_probe: now };
        }
        Ok(Permit { epoch: self.epoch })
    }

    /// Notes how a call ended. `ok` is false when the replica is to blame, not when the caller was.
    pub fn on_result(&mut self, now: Instant, permit: Permit, ok: bool) {
        if permit.epoch != self.epoch {
            return;
        }
        let trips = match &mut self.phase {
            Phase::Closed { consecutive, window } => {
                *consecutive = if ok { 0 } else { consecutive.saturating_add(1) };
                let in_a_row = self.policy.consecutive_failures.is_some_and(|most| *consecutive >= most.max(1));
                let too_few = self.policy.success_rate.is_some_and(|rate| window.note(now, ok, rate));
                !ok && (in_a_row || too_few)
            }
            Phase::HalfOpen { .. } if ok => {
                self.open_for = self.policy.open;
                self.enter(Phase::closed());
                false
            }
            Phase::HalfOpen { .. } => {
                self.open_for = self.open_for.saturating_mul(2).min(self.policy.open_max);
                true
            }
            Phase::Open { .. } => false,
        };
        if trips {
            self.enter(Phase::Open { until: now + self.open_for });
        }
    }

    /// Gives a permit back for a call that ended without saying anything of the replica, for example one
    /// that its caller cancelled.
    pub fn release(&mut self, permit: Permit) {
        if permit.epoch != self.epoch {
            return;
        }
        if let Phase::HalfOpen { probes, .. } = &mut self.phase {
            *probes = probes.saturating_sub(1);
        }
    }

    fn has_probe_place(&self, probes: u32, last_probe: Instant, now: Instant) -> bool {
        probes < self.policy.probes.max(1) || now >= last_probe + self.open_for
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

impl Phase {
    fn closed() -> Self {
        Self::Closed { consecutive: 0, window: Window::default() }
    }
}

/// Results of the current and the previous half of the window.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    current: Counts,
    previous: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    calls: u64,
    successes: u64,
}

impl Window {
    /// Notes a result, and says whether the share of successes is now too small.
    fn note(&mut self, now: Instant, ok: bool, rate: SuccessRate) -> bool {
        let half = rate.window / 2;
        let age = self.began.map_or(Duration::MAX, |began| now.saturating_duration_since(began));
        if age >= half {
            self.previous = if age < rate.window { self.current } else { Counts::default() };
            self.current = Counts::default();
            self.began = Some(now);
        }
        self.current.calls += 1;
        self.current.successes += u64::from(ok);

        let calls = self.current.calls + self.previous.calls;
        let successes = self.current.successes + self.previous.successes;
        calls >= u64::from(rate.min_calls) && successes * 100 < calls * u64::from(rate.min_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn in_a_row(most: u32) -> Breaker {
        Breaker::new(BreakerPolicy { consecutive_failures: Some(most), success_rate: None, ..BreakerPolicy::default() })
    }

    fn call(breaker: &mut Breaker, now: Instant, ok: bool) {
        let permit = breaker.try_acquire(now).unwrap();
        breaker.on_result(now, permit, ok);
    }

    fn opened(at: Instant) -> Breaker {
        let mut breaker = in_a_row(1);
        call(&mut breaker, at, false);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_starts_the_count_again() {
        let (mut breaker, t0) = (in_a_row(3), Instant::now());

        for ok in [false, false, true, false, false] {
            call(&mut breaker, t0, ok);
        }
        assert_eq!(breaker.state(), State::Closed);
        call(&mut breaker, t0, false);

        assert_eq!(breaker.state(), State::Open { until: t0 + S });
        assert_eq!(breaker.try_acquire(t0).unwrap_err(), Open { until: t0 + S });
        assert!(!breaker.would_pass(t0));
    }

    #[test]
    fn a_replica_that_fails_most_calls_but_never_in_a_row_is_found_by_its_rate() {
        let t0 = Instant::now();
        let mut breaker = Breaker::new(BreakerPolicy::default());

        for n in 0..19 {
            call(&mut breaker, t0, n % 3 == 0);
        }
        assert_eq!(breaker.state(), State::Closed, "too few calls to judge");
        call(&mut breaker, t0, false);

        assert!(matches!(breaker.state(), State::Open { .. }));
    }

    #[test]
    fn old_results_are_forgotten() {
        let t0 = Instant::now();
        let mut breaker = Breaker::new(BreakerPolicy { consecutive_failures: None, ..BreakerPolicy::default() });
        for _ in 0..19 {
            call(&mut breaker, t0, false);
        }

        call(&mut breaker, t0 + 10 * S, false);

        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn results_of_the_previous_half_of_the_window_still_count() {
        let t0 = Instant::now();
        let mut breaker = Breaker::new(BreakerPolicy { consecutive_failures: None, ..BreakerPolicy::default() });
        for _ in 0..19 {
            call(&mut breaker, t0, false);
        }

        call(&mut breaker, t0 + 6 * S, false);

        assert!(matches!(breaker.state(), State::Open { .. }));
    }

    #[test]
    fn after_its_time_one_probe_passes_and_its_success_closes_it() {
        let t0 = Instant::now();
        let mut breaker = opened(t0);

        let probe = breaker.try_acquire(t0 + S).unwrap();
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(breaker.try_acquire(t0 + S).is_err(), "one probe at a time");
        breaker.on_result(t0 + S, probe, true);

        assert_eq!(breaker.state(), State::Closed);
        call(&mut breaker, t0 + S, true);
    }

    #[test]
    fn each_failed_probe_doubles_the_time_up_to_the_most() {
        let t0 = Instant::now();
        let mut breaker = opened(t0);
        let mut now = t0;

        for expected in [2, 4, 8, 16, 32, 60, 60] {
            let State::Open { until } = breaker.state() else { panic!("it is open") };
            now = until;
            call(&mut breaker, now, false);
            assert_eq!(breaker.state(), State::Open { until: now + expected * S });
        }
        let State::Open { until } = breaker.state() else { panic!("it is open") };
        call(&mut breaker, until, true);
        call(&mut breaker, until, false);

        assert_eq!(breaker.state(), State::Open { until: until + S }, "a success starts at the first time");
        assert!(until > now);
    }

    #[test]
    fn a_result_from_an_earlier_state_is_stale() {
        let t0 = Instant::now();
        let mut breaker = in_a_row(1);
        let slow = breaker.try_acquire(t0).unwrap();
        let slow_ok = breaker.try_acquire(t0).unwrap();
        call(&mut breaker, t0, false);
        let probe = breaker.try_acquire(t0 + S).unwrap();

        breaker.on_result(t0 + S, slow_ok, true);
        assert_eq!(breaker.state(), State::HalfOpen, "an old success is no probe");
        breaker.on_result(t0 + S, slow, false);
        assert_eq!(breaker.state(), State::HalfOpen, "nor is an old failure");
        breaker.on_result(t0 + S, probe, true);

        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_cancelled_probe_frees_its_place_and_a_lost_one_does_so_in_time() {
        let t0 = Instant::now();
        let mut breaker = opened(t0);

        let cancelled = breaker.try_acquire(t0 + S).unwrap();
        breaker.release(cancelled);
        let lost = breaker.try_acquire(t0 + S).unwrap();
        assert!(breaker.try_acquire(t0 + S).is_err());
        drop(lost);

        assert!(breaker.would_pass(t0 + 2 * S));
        call(&mut breaker, t0 + 2 * S, true);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_policy_of_zeros_still_works() {
        let t0 = Instant::now();
        let mut breaker = Breaker::new(BreakerPolicy {
            consecutive_failures: Some(0),
            success_rate: Some(SuccessRate { window: Duration::ZERO, min_calls: 0, min_percent: 100 }),
            open: Duration::ZERO,
            open_max: Duration::ZERO,
            probes: 0,
            all_open: AllOpen::default(),
        });

        for ok in [true, false, true, false, false] {
            call(&mut breaker, t0, ok);
        }
    }
}
