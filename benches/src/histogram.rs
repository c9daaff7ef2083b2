//! Latencies in buckets whose width grows with the value, as HDR histograms have them.

use std::time::Duration;

/// Buckets between one power of two and the next: values are kept to within 0.8 %.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = 128 * 58;

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many durations were recorded.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The duration in microseconds that `per_mille` of 1000 recorded ones do not exceed; zero when empty.
    pub(crate) fn at(&self, per_mille: u64) -> f64 {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return lower(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    let exponent = 63 - nanos.max(1).leading_zeros();
    let index = match exponent.checked_sub(STEP_BITS) {
        None => nanos,
        Some(shift) => u64::from(shift) * STEPS + (nanos >> shift),
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Smallest value that falls into a bucket.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    (STEPS + bucket % STEPS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_to_within_one_percent() {
        for nanos in [1, 127, 128, 255, 256, 1_000, 39_123, 5_200_000, 30_000_000_000_u64] {
            let back = lower(bucket(nanos));
            assert!(back <= nanos && (nanos - back) * 100 <= nanos, "{nanos} came back as {back}");
        }
    }

    #[test]
    fn the_largest_value_has_a_bucket() {
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::new();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!((histogram.at(500) - 50.0).abs() < 0.5);
        assert!((histogram.at(990) - 99.0).abs() < 1.0);
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        assert!(Histogram::new().at(500).abs() < f64::EPSILON);
    }
}
