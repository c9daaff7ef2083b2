//! The native wire: plain HTTP/2 streams over mutual TLS, nothing wrapped.
//!
//! The app's own request is the stream: method, path, headers, body, trailers.
//! `:authority` is `<app>.<namespace>` of the app asked for. A failure of the callee's
//! sidecar is a response with `outrigger-failure`; whatever else begins with
//! `outrigger-` is stripped on the way in. The wire is offered by ALPN as `outrigger/1`.

/// The wire's name in ALPN.
pub(crate) const ALPN: &[u8] = b"outrigger/1";
