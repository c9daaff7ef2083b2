//! Which failed attempt may be made again, after how long, and within which budget.
//!
//! Three questions, three machines: [`RetryOn`] says whether repeating is *safe and useful*, [`Backoff`]
//! how long to wait, and [`Budget`] whether the service as a whole can *afford* it. A retry happens only
//! when all three agree, so that a failing service is never sent a multiple of its traffic.

mod backoff;
mod budget;
mod retry_on;

pub use backoff::Backoff;
pub use budget::{Budget, BudgetPolicy};
pub use retry_on::{AttemptEnd, Codes, RetryOn};

/// Repeating of failed attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts after the first one. `0` never repeats.
    ///
    /// Default 2: with replica exclusion a third replica is tried; when three of them fail, a fourth
    /// seldom helps.
    pub max_retries: u32,
    /// How long to wait before each repetition.
    pub backoff: Backoff,
    /// How much extra load all repetitions together may be.
    pub budget: BudgetPolicy,
    /// Which ends of an attempt are repeated.
    pub on: RetryOn,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 2, backoff: Backoff::default(), budget: BudgetPolicy::default(), on: RetryOn::default() }
    }
}

impl RetryPolicy {
    /// A policy that never repeats.
    #[must_use]
    pub fn never() -> Self {
        Self { max_retries: 0, ..Self::default() }
    }
}
