//! Configuration of the binary: flags and environment in, types out.
//!
//! Everything is typed before anything starts. All mistakes are gathered and
//! reported at once, each with its name, its value, the reason and the fix
//! ([`Mistakes`]); below this module there are no strings, no environment and
//! no defaults.

pub(crate) mod address;
mod authority;
pub(crate) mod env;
mod files;
pub(crate) mod flags;
mod go;
mod known;
mod metrics;
mod mistake;
mod nearest;
pub(crate) mod read;
pub(crate) mod sidecar;
mod size;
pub(crate) mod table;
mod tracing;

pub(crate) use mistake::Mistakes;
