//! Real parts for the suites under `tests/`: the binary as a process, applications that record what reached them,
//! a certificate authority that signs whatever a case wants, sockets that carry exactly the bytes they are given.
//!
//! Everything blocks, with a timeout, and cleans up on drop: processes by their id, threads by their sockets, files with
//! their folder. A part that cannot do what a case asks panics, and that is a failed test with the reason in its text.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a test may panic: that is a failed test"
)]

mod api;
mod app;
mod binary;
mod ca;
pub mod grpc;
pub mod h2_frame;
mod home;
pub mod http1;
mod log;
mod port;
mod process;
mod raw;
mod sidecar;
mod wait;

pub use api::{Api, Reply};
pub use app::{Answer, App, Gate, Received};
pub use binary::binary;
pub use ca::{Ca, Leaf, tls_connect};
pub use grpc::{GrpcApp, GrpcCall, GrpcClient};
pub use home::Home;
pub use log::Log;
pub use port::free_port;
pub use process::Process;
pub use raw::{Ended, RawConnection};
pub use sidecar::{Sidecar, SidecarBuilder};
pub use wait::{eventually, within};
