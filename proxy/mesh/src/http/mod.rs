//! HTTP at the loopback edges: serving the API, calling the app.
//!
//! HTTP/1.1 by our own codec, HTTP/2 by hyper at connection level; the pools are ours.
//! Between sidecars speaks `peer/native`, not this.

pub mod client;
mod edge;
mod head;
mod http1;
pub mod server;
