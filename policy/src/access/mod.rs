//! Who may call which operation of an app: Dapr's `spec.accessControl`.
//!
//! The specification ([`AccessControlSpec`]) is compiled once into a matcher ([`AccessControl`]); a
//! request is then decided without an allocation. What the rules mean, and where Dapr's meaning may
//! surprise, is told in `docs/configuration.md`.

mod control;
mod decision;
mod operation;
mod remedy;
mod spec;
mod verb;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod table;

pub use control::{AccessControl, AccessRequest};
pub use decision::Decision;
pub use spec::{AccessControlSpec, Action, AppPolicySpec, CallProtocol, OperationSpec};
pub use verb::{UnknownVerb, Verb, Verbs};
