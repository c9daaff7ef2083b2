//! [`Family`]: all series of one name, found by their label values, bounded in number.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::text::Labels;
use super::value::{Counter, Value};
use crate::clean::{clean, is_clean};

/// Most series of a family, the one for the overflow left out.
pub const MAX_SERIES: usize = 1_000;
/// Longest label value, in bytes.
pub const MAX_LABEL: usize = 128;
/// The value of every label of the series that takes what is over the bound.
const OVERFLOW: &str = "overflow";

/// Label values, and what is recorded under them.
type Series<V> = (Box<[Box<str>]>, V);

/// All series of one metric. Cloning shares them.
#[derive(Debug)]
pub struct Family<V: Value>(Arc<Inner<V>>);

#[derive(Debug)]
struct Inner<V: Value> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    spec: V::Spec,
    max_series: usize,
    /// Sorted by label values: a look-up is a binary search that needs no owned key, and the text comes out in a stable order.
    series: RwLock<Vec<Series<V>>>,
    overflow: V,
    /// Made with the first look-up that is over the bound, so that a healthy proxy's text has no line of it.
    dropped: OnceLock<Counter>,
    all_dropped: Option<Family<Counter>>,
}

impl<V: Value> Clone for Family<V> {
    fn clone(&self) -> Family<V> {
        Family(self.0.clone())
    }
}

impl<V: Value> Family<V> {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        spec: V::Spec,
        max_series: usize,
        all_dropped: Option<Family<Counter>>,
    ) -> Family<V> {
        let overflow = V::create(spec);
        Family(Arc::new(Inner {
            name,
            help,
            labels,
            spec,
            max_series,
            series: RwLock::default(),
            overflow,
            dropped: OnceLock::new(),
            all_dropped,
        }))
    }

    /// The series with these label values, in the order of the family's label names; made at zero when it is new.
    ///
    /// Missing values are empty, surplus ones are ignored: both are mistakes of the caller, and tests catch them.
    pub fn with(&self, values: &[&str]) -> V {
        debug_assert_eq!(values.len(), self.0.labels.len(), "label values of {}", self.0.name);
        if values.len() == self.0.labels.len() && values.iter().all(|value| is_clean(value, MAX_LABEL)) {
            return self.find_or_add(values);
        }
        let cleaned: Vec<Cow<'_, str>> = values.iter().map(|value| clean(value, MAX_LABEL)).collect();
        let values: Vec<&str> =
            cleaned.iter().map(|value| &**value).chain(std::iter::repeat("")).take(self.0.labels.len()).collect();
        self.find_or_add(&values)
    }

    fn find_or_add(&self, values: &[&str]) -> V {
        let inner = &*self.0;
        let series = inner.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = position(&series, values).ok().and_then(|index| series.get(index)) {
            return found.clone();
        }
        drop(series);

        let mut series = inner.series.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it between the two locks.
        let index = match position(&series, values) {
            Ok(index) => return series.get(index).map_or_else(|| inner.overflow.clone(), |(_, found)| found.clone()),
            Err(index) => index,
        };
        if series.len() >= inner.max_series {
            drop(series);
            self.count_dropped();
            return inner.overflow.clone();
        }
        let new = V::create(inner.spec);
        series.insert(index, (values.iter().map(|value| Box::from(*value)).collect(), new.clone()));
        new
    }

    fn count_dropped(&self) {
        let inner = &*self.0;
        let made = || inner.all_dropped.as_ref().map(|family| family.with(&[inner.name])).unwrap_or_default();
        inner.dropped.get_or_init(made).inc();
    }

    pub(super) fn is_alike(&self, labels: &'static [&'static str], spec: V::Spec) -> bool {
        self.0.labels == labels && self.0.spec == spec
    }

    /// Writes help, type and every series; nothing while there is no series.
    pub(super) fn encode(&self, out: &mut String) -> fmt::Result {
        let inner = &*self.0;
        // Handles are cloned out, so that writing long text does not hold up who adds a series.
        let series = inner.series.read().unwrap_or_else(PoisonError::into_inner).clone();
        if series.is_empty() {
            return Ok(());
        }
        let name = inner.name;
        writeln!(out, "# HELP {name} {}", inner.help)?;
        writeln!(out, "# TYPE {name} {}", V::TYPE)?;
        for (values, value) in &series {
            value.encode(name, &Labels::new(inner.labels, values), out)?;
        }
        if inner.dropped.get().is_some() {
            let overflow: Vec<Box<str>> = inner.labels.iter().map(|_| Box::from(OVERFLOW)).collect();
            inner.overflow.encode(name, &Labels::new(inner.labels, &overflow), out)?;
        }
        Ok(())
    }
}

fn position<V>(series: &[Series<V>], values: &[&str]) -> Result<usize, usize> {
    series.binary_search_by(|(key, _)| key.iter().map(|value| &**value).cmp(values.iter().copied()))
}
