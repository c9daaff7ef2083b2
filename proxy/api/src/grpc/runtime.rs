//! What the sidecar itself serves over gRPC: the runtime's service, as far as it is here.
//!
//! Unlike proxied calls these have messages, and tonic reads and writes them.

use std::sync::Arc;

use ::http::{HeaderMap, Request, Response};
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Limited};
use outrigger_blocks::error::{ApiError, Manner, Problem, grpc_code};
use outrigger_blocks::invoke::{Invocation, Invoke};
use outrigger_policy::access::CallProtocol;
use outrigger_proto::runtime::dapr_server::{Dapr, DaprServer};
use outrigger_proto::runtime::{
    GetMetadataRequest, GetMetadataResponse, InvokeResponse, InvokeServiceRequest, SetMetadataRequest, ShutdownRequest,
};
use outrigger_telemetry::trace::Tracer;
use outrigger_wire::{Body, Cause, Failure, Limit, Limits};
use tonic::codegen::Service as _;
use tonic::{Code, Status};

use super::http_message;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Path prefix of the service.
pub(super) const SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/";

/// Its methods that are here.
const METHODS: [&str; 4] = ["InvokeService", "GetMetadata", "SetMetadata", "Shutdown"];

/// What the service is made of.
pub(super) struct Parts {
    pub(super) invoke: Arc<Invoke>,
    pub(super) metadata: Arc<Metadata>,
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) limits: Arc<Limits>,
    pub(super) tracer: Tracer,
    pub(super) metrics: Arc<Metrics>,
}

/// The service behind its codec.
pub(super) struct Runtime(DaprServer<Served>);

impl Runtime {
    pub(super) fn new(parts: Parts) -> Self {
        let bytes = Limits::size(parts.limits.message_bytes);
        let server = DaprServer::new(Served(parts));
        Self(server.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
    }

    /// Whether a path names a method that is here.
    pub(super) fn has(path: &str) -> bool {
        path.strip_prefix(SERVICE).is_some_and(|method| METHODS.contains(&method))
    }

    /// Serves one call; every failure is a response.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        // A clone shares the service; tonic wants one of its own for each call.
        match self.0.clone().call(request).await {
            Ok(response) => {
                response.map(|body| Body::boxed(body.map_err(|status| Failure::internal(status.message()))))
            }
            Err(never) => match never {},
        }
    }
}

struct Served(Parts);

impl Served {
    fn limited(&self, limit: Limit) -> Failure {
        self.0.metrics.limit_exceeded(limit.name);
        Failure::limit(limit)
    }

    /// The app's answer to an invocation by message, whole.
    async fn invoke(&self, metadata: HeaderMap, call: InvokeServiceRequest) -> Result<Response<bytes::Bytes>, Failure> {
        let trace = self.0.tracer.receive_grpc(&metadata);
        let request = http_message::request(call.message.unwrap_or_default(), metadata)?;
        let path = request.uri().path().to_owned();
        let protocol = CallProtocol::Http;
        let invocation = Invocation { target: &call.id, protocol, path: &path, deadline: None, trace };
        let (head, body) = self.0.invoke.call(invocation, request).await?.into_parts();
        let limit = self.0.limits.message_bytes();
        let body = Limited::new(body, Limits::size(limit.value))
            .collect()
            .await
            .map_err(|error| error.downcast::<Failure>().map_or_else(|_| self.limited(limit), |failure| *failure))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

#[async_trait]
impl Dapr for Served {
    async fn invoke_service(
        &self,
        request: tonic::Request<InvokeServiceRequest>,
    ) -> Result<tonic::Response<InvokeResponse>, Status> {
        let (metadata, _, call) = request.into_parts();
        let target = call.id.clone();
        match self.invoke(metadata.into_headers(), call).await {
            Ok(response) => http_message::answer(response, grpc_code),
            Err(failure) => Err(failed(Problem::Invoke { target: &target, failure: &failure })),
        }
    }

    async fn get_metadata(
        &self,
        _request: tonic::Request<GetMetadataRequest>,
    ) -> Result<tonic::Response<GetMetadataResponse>, Status> {
        Ok(tonic::Response::new(self.0.metadata.message()))
    }

    async fn set_metadata(&self, request: tonic::Request<SetMetadataRequest>) -> Result<tonic::Response<()>, Status> {
        let SetMetadataRequest { key, value } = request.into_inner();
        let kept = self.0.metadata.set(&key, value, &self.0.limits);
        kept.map(tonic::Response::new).map_err(|failure| {
            self.0.metrics.count_limit(&failure);
            failed(Problem::Request { failure: &failure })
        })
    }

    async fn shutdown(&self, request: tonic::Request<ShutdownRequest>) -> Result<tonic::Response<()>, Status> {
        self.0.shutdown.ask(&request.into_parts().0.into_headers());
        Ok(tonic::Response::new(()))
    }
}

fn failed(problem: Problem<'_>) -> Status {
    let error = ApiError::new(problem, Manner::Plain);
    Status::new(Code::from(i32::try_from(error.grpc).unwrap_or_default()), error.message)
}

/// The refusal of a method of the service that is not here.
pub(super) fn unimplemented(method: &str) -> Failure {
    Cause::Unsupported { what: format!("the gRPC method {method}") }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_here_is_in_a_group_of_the_rules() {
        for method in METHODS {
            assert!(crate::rules::of_grpc(method).is_some(), "{method}");
        }
    }
}
