//! What the public port serves: health and metadata, to anybody who reaches it.

use ::http::{Method, Request, Response};
use outrigger_blocks::error::Problem;
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_wire::{Body, Failure};

use super::HttpApi;
use super::route::Route;

/// The part of the HTTP API that needs no token: `GET` of both health checks and of the metadata.
pub struct PublicApi(pub(super) HttpApi);

impl Service for PublicApi {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        match Route::of(&Method::GET, path, None).within(&self.0.0.rules, path, None) {
            _ if request.method() != Method::GET => self.0.failed(Problem::NoAppId { path }),
            Route::Healthz => self.0.healthz(request.uri().query()),
            Route::HealthzOutbound => self.0.healthz_outbound(),
            Route::GetMetadata => self.0.get_metadata(),
            _ => self.0.failed(Problem::NoAppId { path }),
        }
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        self.0.refuse(failure)
    }

    fn limit_exceeded(&self, name: &'static str) {
        self.0.limit_exceeded(name);
    }
}
