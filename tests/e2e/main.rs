//! The product from outside: real processes, real sockets, applications that say what reached them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod access;
mod commands;
mod control;
mod drain;
mod grpc;
mod headers;
mod http_api;
mod identity;
mod invoke;
mod pair;
mod paths;
mod replicas;
mod seen;
mod streaming;
mod tokens;
