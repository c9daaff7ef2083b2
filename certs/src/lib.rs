//! Who we are and who the peer is: keys, SVIDs, roots, TLS, certificate authorities.
//!
//! - [`Svid`] and [`Roots`] are what a workload holds; an [`Identity`] is one
//!   immutable pair of them and makes the TLS configurations of its generation.
//! - [`verify`] decides whether a chain proves a SPIFFE ID: one pure function, used by
//!   both ends of a handshake and by ourselves before a new certificate is published.
//! - [`csr`] makes a key and the request for its certificate; a
//!   [`CertificateAuthority`] answers it ([`ca::sentry`] over the network,
//!   [`ca::signer`] is the authority itself).
//! - [`rotate`] keeps an [`IdentityWatch`] fresh: early renewal, last good one kept,
//!   roots followed without a restart.
//!
//! Time is a [`Clock`], so that every rule about it can be tested. TLS is 1.3 only,
//! with aws-lc; the key exchange is X25519MLKEM768, then X25519.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod ca;
mod clock;
pub mod csr;
mod leaf;
mod peer;
mod provider;
pub mod roots;
pub mod rotate;
pub mod store;
pub mod svid;
pub mod tls;
pub mod verify;

pub use ca::{CaError, CertificateAuthority, Issued};
pub use clock::{Clock, system_clock, unix_now};
pub use csr::{CertificateRequest, Key, KeyAlgorithm};
pub use leaf::LeafError;
pub use peer::{PeerError, connection_facts, handshake_reason, peer_identity};
pub use provider::{crypto_provider, install_provider};
pub use roots::{Roots, RootsError, RootsSource};
pub use rotate::{Rotation, RotationConfig, RotationCounters, RotationEvent};
pub use store::{IdentityStore, IdentityWatch};
pub use svid::{Svid, SvidError};
pub use tls::{Identity, TlsError, server_name};
pub use verify::{TrustDomains, VerifyError};
