//! The per-user process: certificate authority and registry of one user's sidecars.
//!
//! - [`home`]: the folder it lives in, and what makes that safe.
//! - [`run`] is the process itself (`outrigger control --embedded`).
//! - [`ensure`] starts it where none runs; [`stop`] ends it.
//! - [`status`]: what the running process says of itself in `control.json`.
//! - `authority`: the certificate authority, replaced in time; `ca_listen`: its TCP door's address.
//!
//! One process a folder: the one that holds the lock (`election`). It ends by itself when
//! the last sidecar has left (`idle`), and whoever misses it starts it again.

mod authority;
mod ca_listen;
mod client;
mod election;
pub(crate) mod file;
pub mod home;
mod idle;
mod log;
mod process;
mod start;
pub mod status;
mod terminate;

pub use authority::AuthorityError;
pub(crate) use authority::SignerWatch;
pub use home::{Home, HomeError};
pub use process::{Config, RunError, run, run_until};
pub use start::{Connected, EnsureError, arguments, ensure};
pub use status::Status;
pub use terminate::{StopError, Stopped, stop};
