//! `outrigger.registry.v1.Registry`: which sidecars of this user are here, and where.
//!
//! - [`entry`]: what an announcement must look like.
//! - [`table`]: what is announced now, and who watches it.
//! - [`service`]: the gRPC service over both.

mod entry;
mod service;
mod table;

pub use service::RegistryService;
pub use table::{Presence, Registry, RegistryLimits};
