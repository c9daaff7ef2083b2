//! HTTP/2 connections between sidecars: many streams, one driver, one flush a wakeup.
//!
//! Which wire a connection speaks is settled once, when it is made: in the handshake by
//! ALPN, where both ends prove who they are; without mutual TLS it is the Dapr wire.

mod client;
mod io;
mod pool;
mod pump;
mod server;

pub(crate) use client::Connection;
pub(crate) use io::{Socket, socket};
pub(crate) use pool::{Dialer, Occupied, Pool};
pub(crate) use server::{Handler, serve};
