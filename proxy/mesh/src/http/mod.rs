//! HTTP at the loopback edges: serving the API, calling the app.
//!
//! Hyper at connection level; the pools are ours. Between sidecars speaks
//! `peer/native`, not this.

pub mod client;
mod edge;
mod head;
pub mod server;
