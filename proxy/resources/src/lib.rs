//! Configuration in: bytes in, types out.
//!
//! * [`duration`] and [`quantity`]: Go durations and Kubernetes quantities, for YAML and for flags.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod duration;
pub mod quantity;
