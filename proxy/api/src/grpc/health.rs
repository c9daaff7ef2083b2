//! `grpc.health.v1.Health` of the sidecar itself: what `/v1.0/healthz/outbound` says, over gRPC.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body_util::BodyExt as _;
use outrigger_proto::health::health_check_response::ServingStatus;
use outrigger_proto::health::health_server::{Health, HealthServer};
use outrigger_proto::health::{HealthCheckRequest, HealthCheckResponse};
use outrigger_wire::{Body, Failure};
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};

use super::reflection;
use crate::readiness::Readiness;

/// How often a watcher's answer is looked at again.
const EVERY: Duration = Duration::from_millis(250);

/// Path prefix of the service.
const SERVICE: &str = "/grpc.health.v1.Health/";

/// The service behind its codec.
pub(super) struct HealthService(HealthServer<Served>);

impl HealthService {
    /// Tells what `readiness` says of calls that leave.
    pub(super) fn new(readiness: Arc<Readiness>) -> Self {
        Self(HealthServer::new(Served(readiness)))
    }

    /// Whether a path is of the service.
    pub(super) fn has(path: &str) -> bool {
        path.starts_with(SERVICE)
    }

    /// Serves one call; every failure is a response.
    pub(super) async fn call(&self, request: ::http::Request<Body>) -> ::http::Response<Body> {
        // A clone shares the service; tonic wants one of its own for each call.
        match self.0.clone().call(request).await {
            Ok(response) => {
                response.map(|body| Body::boxed(body.map_err(|status| Failure::internal(status.message()))))
            }
            Err(never) => match never {},
        }
    }
}

struct Served(Arc<Readiness>);

impl Served {
    /// `None` for a service that is not served here.
    fn status(readiness: &Readiness, service: &str) -> Option<ServingStatus> {
        if !service.is_empty() && !reflection::SERVICES.contains(&service) {
            return None;
        }
        let ready = readiness.outbound_waiting_for().is_empty();
        Some(if ready { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

#[async_trait]
impl Health for Served {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = Self::status(&self.0, &service)
            .ok_or_else(|| Status::not_found("no such service here; the empty name asks for the sidecar"))?;
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The status now and at every change; a stream ends with its caller or its connection.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (service, readiness) = (request.into_inner().service, Arc::clone(&self.0));
        let changes = unfold(None, move |told: Option<ServingStatus>| {
            let (service, readiness) = (service.clone(), Arc::clone(&readiness));
            async move {
                loop {
                    let now = Self::status(&readiness, &service).unwrap_or(ServingStatus::ServiceUnknown);
                    if told != Some(now) {
                        return Some((Ok(HealthCheckResponse { status: now.into() }), Some(now)));
                    }
                    tokio::time::sleep(EVERY).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
