//! [`Registry`]: the families of one process, by name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

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
        let help = "Look-ups of a series that was over the family's bound and became the overflow series.";
        let dropped = Family::new(DROPPED, help, &["family"], (), usize::MAX, Counter::default());
        let families = BTreeMap::from([(DROPPED, AnyFamily::Counter(dropped.clone()))]);
        Registry(Arc::new(Inner { families: Mutex::new(families), dropped, max_series }))
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
        let make = || Family::new(name, help, labels, spec, inner.max_series, inner.dropped.with(&[name]));
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
