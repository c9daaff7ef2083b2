//! Which service answers a request: the first segment of the path says it.

use http::{Request, Response};
use hyper::body::Incoming;
use outrigger_proto::registry::registry_server::RegistryServer;
use outrigger_proto::sentry::ca_server::CaServer;
use tonic::Status;
use tonic::server::NamedService;
use tower::ServiceExt;

use crate::door::Answer;
use crate::registry::RegistryService;
use crate::sentry::SentryService;

/// Longest request message, in bytes.
const REQUEST_MAX: usize = 64 * 1024;

/// The services behind one door.
#[derive(Clone)]
pub(crate) struct Services {
    sentry: CaServer<SentryService>,
    registry: Option<RegistryServer<RegistryService>>,
}

impl Services {
    /// The authority, and the registry where this door offers it.
    pub(crate) fn new(sentry: SentryService, registry: Option<RegistryService>) -> Self {
        Self {
            sentry: CaServer::new(sentry).max_decoding_message_size(REQUEST_MAX),
            registry: registry.map(|registry| RegistryServer::new(registry).max_decoding_message_size(REQUEST_MAX)),
        }
    }
}

impl Answer for Services {
    async fn answer(&self, request: Request<Incoming>) -> Response<tonic::body::Body> {
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        let answered = match (service, self.registry.clone()) {
            (Some(CaServer::<SentryService>::NAME), _) => self.sentry.clone().oneshot(request).await,
            (Some(RegistryServer::<RegistryService>::NAME), Some(registry)) => registry.oneshot(request).await,
            _ => Ok(Status::unimplemented("no such service behind this door").into_http()),
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
