//! What the proxy knows of the world: immutable, typed, shared.
//!
//! One task builds a [`View`] from what files and control planes say; the data path only reads it. A new
//! view shares every part that did not change, so live state that is keyed by a part (a breaker, a pool)
//! can be carried over by comparing pointers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod endpoint;
mod policies;
mod view;

pub use endpoint::Endpoint;
pub use policies::Policies;
pub use view::View;
