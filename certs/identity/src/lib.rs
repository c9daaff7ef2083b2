//! Who a workload is: SPIFFE IDs, trust domains and app IDs, parsed once.
//!
//! A value of these types is proof that its text keeps the rules, so nothing
//! further in checks them again and comparison is comparison of bytes: there is
//! no case folding, no percent-decoding and no other normal form to get wrong.
//!
//! - [`TrustDomain`]: the authority that vouches for a set of identities.
//! - [`SpiffeId`]: a workload's identity, `spiffe://<trust domain>/<path>`, with
//!   views for the two path layouts that we meet ([`DaprId`], [`IstioId`]).
//! - [`AppId`]: an app as a caller *asks* for it; which identity it must prove
//!   follows from it by [`AppId::spiffe_id`].
//!
//! Rules: the SPIFFE ID specification, sections 2.1 to 2.3; app IDs as Dapr
//! bounds them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod app_id;
mod spiffe_id;
mod trust_domain;

pub use app_id::{AppId, AppIdError, MAX_APP_ID_BYTES, MAX_NAMESPACE_BYTES};
pub use spiffe_id::{DaprId, IstioId, MAX_SPIFFE_ID_BYTES, SpiffeId, SpiffeIdError};
pub use trust_domain::{MAX_TRUST_DOMAIN_BYTES, TrustDomain, TrustDomainError};
