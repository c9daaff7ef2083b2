//! What is allowed, and how a call is treated: decisions and machines without I/O.
//!
//! Everything here is a pure function or a small state machine. Time is an argument, random numbers are
//! an argument, and the owner above keeps the instance (and the lock around it, where it is shared). The
//! crate pulls in no runtime, no TLS and no HTTP, so each decision is tested as a table.
//!
//! * [`access`]: who may call which operation (Dapr `spec.accessControl`).
//! * [`call_policy`]: what the executor of calls is told, with its defaults and their reasons.
//! * [`retry`]: which failed attempt may be made again, after how long, and within which budget.
//! * [`timeout`]: how a deadline and a per-try timeout become the time one attempt has.
//! * [`breaker`]: when a replica is left alone, and how it is tried again.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)
)]

pub mod access;
pub mod breaker;
pub mod call_policy;
pub mod retry;
pub mod timeout;
