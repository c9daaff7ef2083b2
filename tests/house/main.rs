//! The rules of the house that no compiler checks: which crate may stand on which, and what may come in from outside.
//!
//! `deny.toml` is where licences, bans and doubles are listed; this suite reads them from there, so that `./test` holds the
//! tree to them on a machine without cargo-deny.

mod deny;
mod floors;
mod tree;
