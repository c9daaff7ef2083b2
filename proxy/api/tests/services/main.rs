//! The API's two front ends over real sockets, with a real app behind the gate: an app
//! that calls itself through its own sidecar, which is the whole way but for the wire
//! between two of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod app;
mod grpc;
mod http;
mod sidecar;
