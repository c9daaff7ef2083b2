//! What the building blocks mean.
//!
//! Floor 4: the API above decodes and encodes, the mesh below carries bytes; here is
//! what a call *is*. [`invoke`] is the way out, [`app`] the one gate before our own
//! app, and [`error`] the one table of what Dapr's API says when something fails.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod app;
pub mod error;
mod forwarded;
pub mod invoke;
mod recent;

pub use forwarded::Forwarded;
