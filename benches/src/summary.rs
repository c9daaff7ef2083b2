//! Medians over rounds, and ratios between subjects of the same round.

use serde::Serialize;

use crate::counts::SystemCalls;

/// What one round measured of one subject.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of all proxies; zero when there is none.
    pub(crate) cpu_us: f64,
    pub(crate) single_p50_us: f64,
    pub(crate) single_p99_us: f64,
    pub(crate) single_cpu_us: f64,
    pub(crate) errors: u64,
}

/// Everything measured of one subject.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rounds: Vec<Round>,
    /// MB of each proxy before any load, the client's side first.
    pub(crate) idle_mb: Vec<f64>,
    /// MB of each proxy under load, the largest seen.
    pub(crate) loaded_mb: Vec<f64>,
    /// MB of each proxy at its peak, its start included.
    pub(crate) peak_mb: Vec<f64>,
    pub(crate) system_calls: Option<SystemCalls>,
    pub(crate) single_system_calls: Option<SystemCalls>,
    pub(crate) allocations: Option<f64>,
    pub(crate) instructions: Option<f64>,
    pub(crate) ready_ms: Vec<f64>,
    /// Status of the answer to a request that the access policy forbids.
    pub(crate) forbidden_status: Option<u16>,
    /// Fields of a request as the origin got it.
    pub(crate) origin_saw: Vec<String>,
}

impl Measured {
    /// Median, least and most of one figure over the rounds.
    pub(crate) fn spread(&self, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure).collect())
    }

    /// This subject's figure compared with another's, round by round.
    pub(crate) fn against(
        &self,
        other: &Self,
        figure: impl Fn(&Round) -> f64,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.map(|(mine, theirs)| compare(figure(mine), figure(theirs))).collect())
    }

    pub(crate) fn ready(&self) -> Option<Spread> {
        Spread::of(self.ready_ms.clone())
    }
}

/// The middle of some values and their ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` without a value, and when one is no number.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get(values.len().checked_sub(1)? / 2)?;
        Some(Self { median: lower.midpoint(upper), least: *values.first()?, most: *values.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_two() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![1.0 / 0.0]), None);
    }
}
