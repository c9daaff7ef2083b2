//! Counters, gauges and histograms, and their Prometheus text (format 0.0.4).
//!
//! **Why our own.** Dashboards and tests query the stock names to the letter (`dapr_http_server_request_count`). The
//! `prometheus-client` crate writes OpenMetrics: it adds `_total` to every counter and ends with `# EOF`, which the stock names do
//! not survive. What is needed besides is small: atomics, a bound on series, and this encoder.
//!
//! ```
//! # use outrigger_telemetry::metrics::{LATENCY_MS, Registry};
//! # let registry = Registry::new();
//! let requests = registry.counter("dapr_http_server_request_count", "HTTP requests.", &["app_id", "status"]);
//! let ok = requests.with(&["orders", "200"]);     // when the route is built
//! ok.inc();                                       // on the data path
//! # let mut text = String::new();
//! registry.encode(&mut text);
//! ```
//!
//! **What a recording costs.** [`Counter::inc`] and [`Gauge::add`] are one atomic addition, [`Histogram::observe`] a binary
//! search, one atomic addition and one compare-and-swap; none locks or allocates. [`Family::with`] takes a read lock and a binary
//! search, and allocates only for a series that is new (or for a value with control characters in it): keep the handle.
//!
//! **Bounds.** A family holds at most [`MAX_SERIES`] series. What would be one more goes to a single series whose every label is
//! `overflow`, and is counted in `outrigger_metrics_series_dropped_total{family}`. A label value is cut to [`MAX_LABEL`] bytes;
//! line ends in it become spaces, other control characters U+FFFD.

mod family;
mod process;
mod registry;
mod text;
mod value;

pub use family::{Family, MAX_LABEL, MAX_SERIES};
pub use registry::Registry;
pub use value::{Counter, Gauge, Histogram};

/// Stock's buckets for latencies, in milliseconds.
pub const LATENCY_MS: &[f64] = &[
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 130.0, 160.0,
    200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0,
    100_000.0,
];

/// Stock's buckets for sizes, in bytes: 1 KiB to 4 GiB.
pub const SIZE_BYTES: &[f64] = &[
    1_024.0,
    2_048.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];
