//! The commands of `outrigger`, one a file.

pub(crate) mod check;
pub(crate) mod cli;
pub(crate) mod control;
pub(crate) mod invoke;
pub(crate) mod list;
mod many;
pub(crate) mod quickstart;
mod registered;
pub(crate) mod run;
pub(crate) mod sidecar;
pub(crate) mod stop;
pub(crate) mod version;
