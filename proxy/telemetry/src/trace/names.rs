//! Span names and attribute keys, as stock names them, with OpenTelemetry's semantic conventions.

use std::borrow::Cow;

/// Attribute keys.
pub mod attribute {
    /// The API that was called: `GET /v1.0/invoke/…` or the full gRPC method.
    pub const DAPR_API: &str = "dapr.api";
    /// The status of an HTTP API call, as text.
    pub const DAPR_STATUS_CODE: &str = "dapr.status_code";
    /// `http` or `grpc`.
    pub const DAPR_PROTOCOL: &str = "dapr.protocol";
    /// The invoked method of the callee.
    pub const DAPR_INVOKE_METHOD: &str = "dapr.invoke_method";
    /// `ServiceInvocation` on the way to an app, `Dapr` otherwise.
    pub const RPC_SERVICE: &str = "rpc.service";
    /// `grpc` on proxied gRPC.
    pub const RPC_SYSTEM: &str = "rpc.system";
    /// The numeric gRPC status.
    pub const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
    /// The callee's app ID.
    pub const NET_PEER_NAME: &str = "net.peer.name";
    /// The HTTP method.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// The numeric HTTP status.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// The request target as stock gives it, but without its query: a query may hold what must not be exported.
    pub const URL_FULL: &str = "url.full";
    /// The address that the caller connected from (stock puts the caller's here).
    pub const SERVER_ADDRESS: &str = "server.address";
    /// The port that goes with it.
    pub const SERVER_PORT: &str = "server.port";
    /// The cause of a failure, by the name that metrics and the access record use.
    pub const ERROR_TYPE: &str = "error.type";
}

/// The name of the span of an invocation: `CallLocal/<app>/<method>`, without a leading slash on the method.
pub fn call_local(app_id: &str, method: &str) -> Cow<'static, str> {
    format!("CallLocal/{app_id}/{}", method.trim_start_matches('/')).into()
}
