//! The Dapr wire: what stock sidecars speak among themselves.
//!
//! An HTTP call is a gRPC call of `dapr.proto.internals.v1.ServiceInvocation`: its head is
//! the first message, its body the numbered pieces after it (`CallLocalStream`), or all of
//! it one message (`CallLocal`, of old). A gRPC call goes through as it is, with metadata
//! that names both apps. The wire is offered by ALPN as `h2`; without mutual TLS it is
//! spoken in clear, and then nobody proves who they are.
//!
//! It cannot carry what the native wire can: trailers of HTTP, `%2F` in a path, an upgrade,
//! methods of HTTP that it has no number for.

mod body;
mod callee;
mod caller;
mod head;
mod message;
mod status;

pub(crate) use callee::{Called, Refused, answer};
pub(crate) use caller::{Apps, call};

/// The wire's name in ALPN.
pub(crate) const ALPN: &[u8] = b"h2";

/// Path of every method of the service that sidecars call.
const SERVICE: &str = "/dapr.proto.internals.v1.ServiceInvocation/";
const CALL_LOCAL: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";
const CALL_LOCAL_STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";

/// Who is to blame for what cannot be read.
const PEER: &str = "the peer's sidecar";
