//! The handles that are kept and recorded on.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::text;

/// A number that only grows. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`; past the largest number it starts again at zero, which scrapers take for a restart.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A whole number that goes up and down. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the number.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds, or with a negative number subtracts.
    pub fn add(&self, delta: i64) {
        self.0.fetch_add(delta, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell into which bucket, and their sum. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    /// Inclusive upper bounds, ascending.
    bounds: &'static [f64],
    /// One a bound and one for what is above the last, not cumulative.
    buckets: Box<[AtomicU64]>,
    /// Bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram over ascending inclusive upper bounds.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram(Arc::new(Cells { bounds, buckets, sum: AtomicU64::new(0.0_f64.to_bits()) }))
    }

    /// Records a value, in the unit of the bounds.
    pub fn observe(&self, value: f64) {
        let cells = &*self.0;
        let index = cells.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = cells.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always gives a value, so this cannot fail.
        let _ = cells.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Records a time in milliseconds, the unit of [`LATENCY_MS`](super::LATENCY_MS).
    pub fn observe_ms(&self, took: Duration) {
        self.observe(took.as_secs_f64() * 1_000.0);
    }

    /// Records a size, the unit of [`SIZE_BYTES`](super::SIZE_BYTES).
    pub fn observe_bytes(&self, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "sizes past 2^53 bytes need not be exact")]
        self.observe(bytes as f64);
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// What a family holds: one of the three above.
pub trait Value: Clone + Send + Sync + 'static {
    /// What a new series of the family needs to know.
    type Spec: Copy + std::fmt::Debug + Send + Sync + PartialEq + 'static;
    /// The word of the `# TYPE` line.
    const TYPE: &'static str;
    /// A new series, at zero.
    fn create(spec: Self::Spec) -> Self;
    /// Writes the lines of one series.
    fn encode(&self, name: &str, labels: &text::Labels<'_>, out: &mut String) -> fmt::Result;
}

impl Value for Counter {
    type Spec = ();
    const TYPE: &'static str = "counter";

    fn create((): ()) -> Counter {
        Counter::default()
    }

    fn encode(&self, name: &str, labels: &text::Labels<'_>, out: &mut String) -> fmt::Result {
        writeln!(out, "{name}{labels} {}", self.get())
    }
}

impl Value for Gauge {
    type Spec = ();
    const TYPE: &'static str = "gauge";

    fn create((): ()) -> Gauge {
        Gauge::default()
    }

    fn encode(&self, name: &str, labels: &text::Labels<'_>, out: &mut String) -> fmt::Result {
        writeln!(out, "{name}{labels} {}", self.get())
    }
}

impl Value for Histogram {
    type Spec = &'static [f64];
    const TYPE: &'static str = "histogram";

    fn create(bounds: &'static [f64]) -> Histogram {
        Histogram::new(bounds)
    }

    fn encode(&self, name: &str, labels: &text::Labels<'_>, out: &mut String) -> fmt::Result {
        let cells = &*self.0;
        let bounds = cells.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        // The count is the last cumulative bucket, so the two agree even while others record.
        for (bound, bucket) in bounds.zip(&cells.buckets) {
            total += bucket.load(Ordering::Relaxed);
            writeln!(out, "{name}_bucket{} {total}", labels.and_bound(bound))?;
        }
        writeln!(out, "{name}_sum{labels} {}", text::Float(f64::from_bits(cells.sum.load(Ordering::Relaxed))))?;
        writeln!(out, "{name}_count{labels} {total}")
    }
}
