//! Child processes that never outlive their parent.
//!
//! A child leads a process group of its own, so that a terminal's Ctrl-C
//! reaches only us and we decide the order of the end; its output is read line
//! by line and prefixed ([`output`]); when we die, however we die, the kernel
//! tells it ([`parent`]), and an app's whole group is ended by the small
//! process between us and it ([`launch`]).

mod child;
pub(crate) mod launch;
pub(crate) mod output;
pub(crate) mod parent;
mod signals;

pub(crate) use child::{Child, Spec, exit_code};
pub(crate) use signals::Signals;
