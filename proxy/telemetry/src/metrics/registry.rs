//! [`Registry`]: the families of one process, by name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::LATENCY_MS;
use super::family::{Family, MAX_SERIES};
use super::process;
use super::value::{Counter, Gauge, Histogram, Value};

const DROPPED: &str = "outrigger_metrics_series_dropped_total";

/// All metrics of a process. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    families: Mutex<BTreeMap<&'static str, AnyFamily>>,
    dropped: Family<Counter>,
    max_series: usize,
    latency: &'static [f64],
}

#[derive(Clone, Debug)]
enum AnyFamily {
    Counter(Family<Counter>),
    Gauge(Family<Gauge>),
    Histogram(Family<Histogram>),
}

impl Registry {
    /// An empty registry, with the default bound on the series of a family.
    pub fn new() -> Registry {
        Registry::with_max_series(MAX_SERIES)
    }

    /// An empty registry, whose families hold at most `max_series` series each.
    pub fn with_max_series(max_series: usize) -> Registry {
        Registry::with_bounds(max_series, LATENCY_MS)
    }

    /// The same, with ascending inclusive upper bounds in milliseconds for [`latency`](Self::latency).
    pub fn with_bounds(max_series: usize, latency: &'static [f64]) -> Registry {
        let help = "Look-ups of a series that was over the family's bound and became the overflow series.";
        let dropped = Family::new(DROPPED, help, &["family"], (), usize::MAX, None);
        let families = BTreeMap::from([(DROPPED, AnyFamily::Counter(dropped.clone()))]);
        Registry(Arc::new(Inner { families: Mutex::new(families), dropped, max_series, latency }))
    }

    /// The family of counters of this name: made now, or the one that was made before under the same name and labels.
    ///
    /// A name that is taken by something else is a mistake in the code: it fails in tests, and otherwise gives a family that is not
    /// exported, with an error in the log.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family<Counter> {
        self.family(name, help, labels, (), AnyFamily::Counter, |any| match any {
            AnyFamily::Counter(family) => Some(family),
            _ => None,
        })
    }

    /// The family of gauges of this name; see [`counter`](Self::counter).
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family<Gauge> {
        self.family(name, help, labels, (), AnyFamily::Gauge, |any| match any {
            AnyFamily::Gauge(family) => Some(family),
            _ => None,
        })
    }

    /// The family of histograms of this name, over ascending inclusive upper bounds; see [`counter`](Self::counter).
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
    ) -> Family<Histogram> {
        self.family(name, help, labels, bounds, AnyFamily::Histogram, |any| match any {
            AnyFamily::Histogram(family) => Some(family),
            _ => None,
        })
    }

    /// The family of histograms of times in milliseconds of this name, over the bounds that the registry was made with.
    pub fn latency(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Family<Histogram> {
        self.histogram(name, help, labels, self.0.latency)
    }

    /// Appends everything as Prometheus text, format 0.0.4 (`text/plain; version=0.0.4`), sorted by name and label values, with the
    /// figures of this process (`process_*`) at the end, read now.
    pub fn encode(&self, out: &mut String) {
        let families = self.0.families.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for family in families.values() {
            // Writing to a String does not fail.
            let _ = match family {
                AnyFamily::Counter(family) => family.encode(out),
                AnyFamily::Gauge(family) => family.encode(out),
                AnyFamily::Histogram(family) => family.encode(out),
            };
        }
        process::encode(out);
    }

    fn family<V: Value>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        spec: V::Spec,
        wrap: fn(Family<V>) -> AnyFamily,
        unwrap: fn(AnyFamily) -> Option<Family<V>>,
    ) -> Family<V> {
        let inner = &*self.0;
        let make = || Family::new(name, help, labels, spec, inner.max_series, Some(inner.dropped.clone()));
        let mut families = inner.families.lock().unwrap_or_else(PoisonError::into_inner);
        match families.entry(name) {
            Entry::Vacant(free) => {
                let new = make();
                free.insert(wrap(new.clone()));
                new
            }
            Entry::Occupied(taken) => {
                match unwrap(taken.get().clone()).filter(|family| family.is_alike(labels, spec)) {
                    Some(family) => family,
                    None => {
                        debug_assert!(false, "metric {name} is registered twice, differently");
                        tracing::error!(metric = name, "registered twice, differently; the second is not exported");
                        make()
                    }
                }
            }
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.encode(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::SIZE_BYTES;
    use std::thread;

    /// Everything but the figures of the process.
    fn text(registry: &Registry) -> String {
        let text = registry.to_string();
        let end = text.find("# HELP process_").unwrap();
        text[..end].to_owned()
    }

    #[test]
    fn the_text_is_exact_sorted_and_keeps_stock_names() {
        let registry = Registry::new();
        let requests = registry.counter("dapr_http_server_request_count", "HTTP requests.", &["app_id", "status"]);
        requests.with(&["orders", "404"]).add(2);
        requests.with(&["orders", "200"]).inc();
        registry.gauge("active", "Open connections.", &[]).with(&[]).set(-3);
        let took = registry.histogram("took", "Milliseconds.", &["app_id"], &[1.0, 2.5]).with(&["orders"]);
        for value in [0.5, 1.0, 2.0, 99.0] {
            took.observe(value);
        }
        registry.counter("unused", "No series, so no line.", &["a"]);
        assert_eq!(
            text(&registry),
            "# HELP active Open connections.\n\
             # TYPE active gauge\n\
             active -3\n\
             # HELP dapr_http_server_request_count HTTP requests.\n\
             # TYPE dapr_http_server_request_count counter\n\
             dapr_http_server_request_count{app_id=\"orders\",status=\"200\"} 1\n\
             dapr_http_server_request_count{app_id=\"orders\",status=\"404\"} 2\n\
             # HELP took Milliseconds.\n\
             # TYPE took histogram\n\
             took_bucket{app_id=\"orders\",le=\"1\"} 2\n\
             took_bucket{app_id=\"orders\",le=\"2.5\"} 3\n\
             took_bucket{app_id=\"orders\",le=\"+Inf\"} 4\n\
             took_sum{app_id=\"orders\"} 102.5\n\
             took_count{app_id=\"orders\"} 4\n"
        );
    }

    #[test]
    fn concurrent_recordings_are_all_counted() {
        let registry = Registry::new();
        let counters = registry.counter("c", "c", &["k"]);
        let times = registry.histogram("h", "h", &[], LATENCY_MS);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for i in 0..10_000_u32 {
                        counters.with(&[if i % 2 == 0 { "even" } else { "odd" }]).inc();
                        times.with(&[]).observe(f64::from(i % 7));
                    }
                });
            }
            for _ in 0..20 {
                text(&registry);
            }
        });
        assert_eq!((counters.with(&["even"]).get(), counters.with(&["odd"]).get()), (40_000, 40_000));
        assert_eq!(times.with(&[]).count(), 80_000);
        let sum = (0..10_000_u32).map(|i| i % 7).sum::<u32>() * 8;
        assert!(text(&registry).contains(&format!("h_sum {}\n", super::super::text::Float(f64::from(sum)))));
    }

    #[test]
    fn one_client_cannot_make_more_series_than_the_bound() {
        let registry = Registry::with_max_series(3);
        let requests = registry.counter("requests", "Requests.", &["path", "status"]);
        for i in 0..10_000 {
            requests.with(&[&format!("/{i:05}"), "200"]).inc();
        }
        assert_eq!(
            text(&registry),
            "# HELP outrigger_metrics_series_dropped_total Look-ups of a series that was over the family's bound and became the overflow series.\n\
             # TYPE outrigger_metrics_series_dropped_total counter\n\
             outrigger_metrics_series_dropped_total{family=\"requests\"} 9997\n\
             # HELP requests Requests.\n\
             # TYPE requests counter\n\
             requests{path=\"/00000\",status=\"200\"} 1\n\
             requests{path=\"/00001\",status=\"200\"} 1\n\
             requests{path=\"/00002\",status=\"200\"} 1\n\
             requests{path=\"overflow\",status=\"overflow\"} 9997\n"
        );
    }

    #[test]
    fn a_label_value_cannot_break_the_text() {
        let registry = Registry::new();
        let paths = registry.counter("c", "c", &["path"]);
        paths.with(&["a\"} 1\nforged{x=\"\u{1b}[31m\u{9b}\\"]).inc();
        paths.with(&[&"é".repeat(10_000)]).inc();
        paths.with(&[&"é".repeat(9_000)]).inc();
        let text = text(&registry);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('c')).collect();
        assert_eq!(
            lines,
            [
                "c{path=\"a\\\"} 1 forged{x=\\\"\u{fffd}[31m\u{fffd}\\\\\"} 1",
                &format!("c{{path=\"{}\"}} 2", "é".repeat(64)),
            ]
        );
    }

    #[test]
    fn the_same_family_may_be_asked_for_from_two_places() {
        let registry = Registry::new();
        registry.counter("c", "c", &["k"]).with(&["v"]).inc();
        registry.counter("c", "c", &["k"]).with(&["v"]).inc();
        assert!(text(&registry).contains("c{k=\"v\"} 2\n"));
    }

    #[test]
    #[should_panic(expected = "registered twice")]
    fn a_name_taken_by_another_kind_fails_in_tests() {
        let registry = Registry::new();
        registry.counter("c", "c", &[]);
        registry.gauge("c", "c", &[]);
    }

    #[test]
    fn stocks_buckets_come_out_as_stock_writes_them() {
        let registry = Registry::new();
        registry.histogram("sizes", "s", &[], SIZE_BYTES).with(&[]).observe_bytes(2_000_000);
        let text = text(&registry);
        for line in [
            "sizes_bucket{le=\"1.048576e+06\"} 0",
            "sizes_bucket{le=\"4.194304e+06\"} 1",
            "sizes_bucket{le=\"65536\"} 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
