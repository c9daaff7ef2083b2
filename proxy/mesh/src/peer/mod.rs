//! The wires between sidecars.

pub(crate) mod coalesce;
pub(crate) mod native;
