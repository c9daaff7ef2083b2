//! The data path over real sockets and real handshakes: two sidecars and the wire between them,
//! and either one's loopback edges.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod app;
mod app_client;
mod bodies;
mod body_end;
mod ca;
mod codec;
mod connecting;
mod dapr;
mod gate;
mod idle_clients;
mod native;
mod pair;
mod refusals;
mod stock;
mod streams;
mod targets;
mod trailers;
mod wait;
