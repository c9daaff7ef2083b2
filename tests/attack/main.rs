//! Bad bytes against the real binary.
//!
//! Each case sends what a broken or hostile client, peer or application would, over a raw socket, and asserts four
//! things: the answer is a clear error or a clean close, the process lives and no task of it panicked, a good call that
//! was in flight all the while is untouched, and nothing smuggled reached the application.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod case;
mod http1;
mod http2;
mod peer;
