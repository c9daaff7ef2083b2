//! The wires between sidecars, and the HTTP/2 connections that carry them.

pub(crate) mod coalesce;
pub(crate) mod dapr;
pub(crate) mod http2;
pub(crate) mod native;
