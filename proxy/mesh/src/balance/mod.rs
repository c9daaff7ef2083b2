//! Which replica takes an attempt.

mod load;
mod p2c;

pub(crate) use load::{Load, Pending};
pub(crate) use p2c::pick;

use std::sync::{Mutex, PoisonError};

use outrigger_policy::breaker::{Breaker, Permit};
use outrigger_view::Endpoint;
use tokio::time::Instant;

use crate::peer::http2;

/// One replica of a target, with its live state: kept while discovery names it.
pub(crate) struct Replica {
    pub(crate) endpoint: Endpoint,
    pub(crate) load: Load,
    pub(crate) pool: http2::Pool,
    breaker: Option<Mutex<Breaker>>,
}

impl Replica {
    pub(crate) fn new(endpoint: Endpoint, pool: http2::Pool, breaker: Option<Breaker>) -> Self {
        Self { endpoint, load: Load::new(Instant::now()), pool, breaker: breaker.map(Mutex::new) }
    }

    /// Whether the breaker lets a call through now.
    fn would_pass(&self, now: Instant) -> bool {
        self.with_breaker(|breaker| breaker.would_pass(now.into_std())).unwrap_or(true)
    }

    /// Leave for one attempt; `None` when the breaker has opened meanwhile.
    fn admit(&self, now: Instant) -> Option<Admission> {
        match self.with_breaker(|breaker| breaker.try_acquire(now.into_std())) {
            None => Some(Admission::NONE),
            Some(Ok(permit)) => Some(Admission(Some(permit))),
            Some(Err(_)) => None,
        }
    }

    /// Tells the breaker how an attempt ended: `Some(false)` when the replica is to blame,
    /// `None` when the attempt said nothing of it.
    pub(crate) fn settle(&self, now: Instant, admission: Admission, ok: Option<bool>) {
        let Some(permit) = admission.0 else { return };
        self.with_breaker(|breaker| match ok {
            Some(ok) => breaker.on_result(now.into_std(), permit, ok),
            None => breaker.release(permit),
        });
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        // A breaker is whole between calls, so a panic elsewhere leaves it usable.
        let mut breaker = self.breaker.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut breaker))
    }
}

/// Leave for one attempt at a replica.
#[derive(Debug)]
pub(crate) struct Admission(Option<Permit>);

impl Admission {
    /// Of an attempt that no breaker was asked about.
    pub(crate) const NONE: Self = Self(None);
}

/// Why no replica was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPicked {
    /// There is none that has not been tried.
    NoneLeft,
    /// There are some, and the breaker of each is open.
    AllOpen,
}
