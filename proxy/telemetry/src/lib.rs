//! What the proxy tells the outside: [`metrics`], [`trace`] context and spans, one [`access_record`] a call, and the [`log`].
//!
//! Floor 0: this crate knows no wire and no policy. It is handed names and numbers, bounds them, and writes them out.
//! Everything that a client can choose (header values, paths, label values) is cut to a bound and stripped of control
//! characters here, so that no caller above has to remember to.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)
)]

pub mod access_record;
mod clean;
pub mod log;
pub mod metrics;
pub mod trace;
