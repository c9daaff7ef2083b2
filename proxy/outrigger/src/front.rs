//! What stands behind the listeners in clear: one closed set, so that the HTTP server is
//! compiled once and not once for each of them.

use http::{Request, Response};
use outrigger_api::grpc::GrpcApi;
use outrigger_api::http::{HttpApi, PublicApi};
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_wire::{Body, Failure};

use crate::admin::MetricsPage;
use crate::body_limit::BodyLimit;

/// A service of the sidecar.
pub(crate) enum Front {
    /// The HTTP API.
    Http(BodyLimit<HttpApi>),
    /// The gRPC API.
    Grpc(Box<GrpcApi>),
    /// Health and metadata, on a port of their own.
    Public(PublicApi),
    /// Metrics and health, for scrapers.
    Metrics(MetricsPage),
}

impl Service for Front {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        match self {
            Front::Http(api) => api.call(connection, request).await,
            Front::Grpc(api) => api.call(connection, request).await,
            Front::Public(api) => api.call(connection, request).await,
            Front::Metrics(page) => page.call(connection, request).await,
        }
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        match self {
            Front::Http(api) => api.refuse(failure),
            Front::Grpc(api) => api.refuse(failure),
            Front::Public(api) => api.refuse(failure),
            Front::Metrics(page) => page.refuse(failure),
        }
    }

    fn limit_exceeded(&self, name: &'static str) {
        match self {
            Front::Http(api) => api.limit_exceeded(name),
            Front::Grpc(api) => api.limit_exceeded(name),
            Front::Public(api) => api.limit_exceeded(name),
            Front::Metrics(page) => page.limit_exceeded(name),
        }
    }
}
