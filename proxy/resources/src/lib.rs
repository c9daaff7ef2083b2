//! Configuration in: bytes in, types out.
//!
//! * [`configuration`]: `kind: Configuration` of Dapr, validated and compiled into policies and settings.
//! * [`kind`]: the other resources, each refused by name until it is built.
//! * [`source`]: files and folders, read with a bound.
//! * [`mistake`]: all that is wrong at once, each with file, line, field and fix.
//! * [`duration`] and [`quantity`]: Go durations and Kubernetes quantities, for YAML and for flags.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation))]

pub mod configuration;
#[cfg(test)]
mod docs_test;
pub mod duration;
mod env;
mod fields;
pub mod kind;
pub mod mistake;
pub mod quantity;
mod reader;
pub mod source;
mod yaml;
