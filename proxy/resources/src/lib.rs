//! Configuration in: bytes in, types out.
//!
//! * [`configuration`]: `kind: Configuration` of Dapr, validated and compiled into policies and settings.
//! * [`resources`]: the folders of `--resources-path`: [`component`]s and [`http_endpoint`]s, whose named values are
//!   [`property`]s; every other kind is refused by name until it is built.
//! * [`kind`]: what a document is, and whom it is for.
//! * [`template`]: the multi-app template of `run -f`.
//! * [`source`]: files and folders, read with a bound.
//! * [`mistake`]: all that is wrong at once, each with file, line, field and fix.
//! * [`duration`] and [`quantity`]: Go durations and Kubernetes quantities, for YAML and for flags.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation))]

pub mod component;
pub mod configuration;
#[cfg(test)]
mod docs_test;
pub mod duration;
mod env;
mod fields;
pub mod http_endpoint;
pub mod kind;
pub mod mistake;
pub mod property;
pub mod quantity;
mod reader;
pub mod resources;
pub mod source;
pub mod template;
mod yaml;
