//! What every wire shares: bodies, failures, limits, paths and headers.
//!
//! Floor 0: this crate knows no building block, no policy and no peer. A
//! [`Failure`] is the one currency of things going wrong, a [`Body`] the one
//! currency of bytes, and a [`CanonicalPath`] the one form of a path that policy
//! and routing may look at.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod body;
mod failure;
pub mod header;
mod limits;
pub mod path;
mod replay;

pub use body::{Body, OnEnd};
pub use failure::{Cause, Failure, RetryClass};
pub use limits::{Limit, Limits};
pub use path::CanonicalPath;
pub use replay::Replay;
