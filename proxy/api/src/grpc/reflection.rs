//! Server reflection, `v1` and `v1alpha`, of the services that the sidecar itself serves.

use std::convert::Infallible;

use ::http::{Request, Response};
use http_body_util::BodyExt as _;
use outrigger_wire::{Body, Failure};
use tonic_reflection::server::{Builder, Error};
use tower::util::BoxCloneSyncService;
use tower::{Service as _, ServiceExt as _};

/// Every service that is served here beside reflection, by its full name.
pub(super) const SERVICES: [&str; 2] = ["dapr.proto.runtime.v1.Dapr", "grpc.health.v1.Health"];

/// Path prefixes of the two versions.
const V1: &str = "/grpc.reflection.v1.ServerReflection/";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";

/// One version behind its codec; its own type cannot be named.
type Version = BoxCloneSyncService<Request<Body>, Response<tonic::body::Body>, Infallible>;

/// Both versions.
pub(super) struct Reflection {
    v1: Version,
    v1alpha: Version,
}

impl Reflection {
    /// # Errors
    /// When the descriptors that were built in cannot be read, which a test excludes.
    pub(super) fn new() -> Result<Self, Error> {
        let builder = || {
            let builder = Builder::configure().register_encoded_file_descriptor_set(outrigger_proto::SERVED);
            SERVICES.into_iter().fold(builder, Builder::with_service_name)
        };
        Ok(Self {
            v1: BoxCloneSyncService::new(
                builder().with_service_name("grpc.reflection.v1.ServerReflection").build_v1()?,
            ),
            v1alpha: BoxCloneSyncService::new(
                builder().with_service_name("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?,
            ),
        })
    }

    /// Whether a path is of reflection.
    pub(super) fn has(path: &str) -> bool {
        path.starts_with(V1) || path.starts_with(V1ALPHA)
    }

    /// Serves one call; every failure is a response.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let mut version = if request.uri().path().starts_with(V1) { self.v1.clone() } else { self.v1alpha.clone() };
        let answered = match version.ready().await {
            Ok(version) => version.call(request).await,
            Err(never) => match never {},
        };
        match answered {
            Ok(response) => {
                response.map(|body| Body::boxed(body.map_err(|status| Failure::internal(status.message()))))
            }
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_that_were_built_in_can_be_read() {
        assert!(Reflection::new().is_ok());
    }
}
