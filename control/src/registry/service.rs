//! The gRPC service over the registry's table.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use outrigger_identity::AppId;
use outrigger_proto::registry::registry_server::Registry as RegistryApi;
use outrigger_proto::registry::{Announced, Announcement, Endpoints, ListRequest, ListResponse, WatchRequest};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::entry::Entry;
use super::table::{Announcer, Full, Registry, Watcher};

/// Shortest time between two messages that one stream takes or gives. What comes in
/// between is coalesced (Watch) or waits (Announce).
const PACE: Duration = Duration::from_millis(20);

/// Longest wait for the first message of an Announce stream.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// `outrigger.registry.v1.Registry` over one [`Registry`].
#[derive(Clone, Debug)]
pub struct RegistryService {
    registry: Registry,
    draining: watch::Receiver<bool>,
}

impl RegistryService {
    /// The service; each of its streams ends as `UNAVAILABLE` once `draining` is true.
    pub fn new(registry: Registry, draining: watch::Receiver<bool>) -> Self {
        Self { registry, draining }
    }
}

#[tonic::async_trait]
impl RegistryApi for RegistryService {
    type AnnounceStream = Replies<Announced>;
    type WatchStream = Replies<Endpoints>;

    async fn announce(
        &self,
        request: Request<Streaming<Announcement>>,
    ) -> Result<Response<Self::AnnounceStream>, Status> {
        let announcing = Announcing {
            announcer: self.registry.announcer().map_err(full)?,
            messages: request.into_inner(),
            draining: self.draining.clone(),
            first: true,
        };
        Ok(Response::new(Box::pin(stream::try_unfold(announcing, next_announced))))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { namespace, app_id } = request.into_inner();
        let app = AppId::new(&namespace, &app_id).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let watching =
            Watching { watcher: self.registry.watch(app).map_err(full)?, draining: self.draining.clone(), first: true };
        Ok(Response::new(Box::pin(stream::try_unfold(watching, next_endpoints))))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(ListResponse { sidecars: self.registry.list() }))
    }
}

struct Announcing {
    announcer: Announcer,
    messages: Streaming<Announcement>,
    draining: watch::Receiver<bool>,
    first: bool,
}

/// Stores the next message and answers it; the end of the messages is the end of the stream.
async fn next_announced(mut this: Announcing) -> Result<Option<(Announced, Announcing)>, Status> {
    let message = if this.first {
        this.first = false;
        tokio::time::timeout(FIRST_MESSAGE, this.messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no announcement came on the Announce stream"))??
    } else {
        tokio::time::sleep(PACE).await;
        tokio::select! {
            message = this.messages.message() => message?,
            () = drain(&mut this.draining) => return Err(leaving()),
        }
    };
    let Some(message) = message else { return Ok(None) };
    let entry = Entry::parse(message).map_err(|error| {
        tracing::info!(%error, "refused an announcement");
        Status::invalid_argument(error.to_string())
    })?;
    tracing::debug!(instance = entry.instance, app = %entry.app, draining = entry.draining, "announced");
    this.announcer.announce(entry);
    Ok(Some((Announced {}, this)))
}

struct Watching {
    watcher: Watcher,
    draining: watch::Receiver<bool>,
    first: bool,
}

async fn next_endpoints(mut this: Watching) -> Result<Option<(Endpoints, Watching)>, Status> {
    if this.first {
        this.first = false;
    } else {
        tokio::time::sleep(PACE).await;
        tokio::select! {
            // First, for a drain ends the announcements too: that they go then is no news of
            // the sidecars, who are still there.
            biased;
            () = drain(&mut this.draining) => return Err(leaving()),
            () = this.watcher.changed() => {}
        }
    }
    Ok(Some((this.watcher.now(), this)))
}

/// Returns when the process drains; a sender that is gone means the same.
async fn drain(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

fn leaving() -> Status {
    Status::unavailable("the embedded control process is ending; start it again and come back")
}

fn full(error: Full) -> Status {
    tracing::warn!(%error, "refused a stream");
    Status::resource_exhausted(error.to_string())
}
