//! The apps asked for: each is watched for as long as somebody wants it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_identity::AppId;
use outrigger_proto::registry as proto;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::convert;
use super::link::{Backoff, LinkHandle, Up};

const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// All watched apps. Dropping it ends the watches.
pub(super) struct Demand {
    shared: Arc<Shared>,
    limit: usize,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    link: LinkHandle,
    idle: Duration,
    grace: Duration,
    watched: Mutex<HashMap<AppId, Watched>>,
}

struct Watched {
    state: Arc<State>,
    asked: Instant,
    task: AbortHandle,
}

struct State {
    // Whether the registry has answered once.
    answered: watch::Sender<bool>,
    endpoints: watch::Sender<Arc<Vec<Endpoint>>>,
}

impl Demand {
    pub(super) fn new(link: LinkHandle, limit: usize, idle: Duration, grace: Duration) -> Self {
        let shared = Shared { link, idle, grace, watched: Mutex::default() };
        Self { shared: Arc::new(shared), limit, tasks: Mutex::default() }
    }

    /// The endpoints of `app`, once the registry has said them for the first time.
    pub(super) async fn endpoints(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        let (mut answered, endpoints) = self.watch(app)?;
        match answered.wait_for(|answered| *answered).await {
            Ok(_) => Ok(endpoints),
            Err(_) => Err(Failure::new(Cause::Unresolved { target: format!("{app}: it is no longer watched") })),
        }
    }

    #[expect(clippy::type_complexity, reason = "the two halves of one state")]
    fn watch(&self, app: &AppId) -> Result<(watch::Receiver<bool>, watch::Receiver<Arc<Vec<Endpoint>>>), Failure> {
        let now = Instant::now();
        let mut watched = self.shared.watched();
        if let Some(known) = watched.get_mut(app) {
            known.asked = now;
            return Ok((known.state.answered.subscribe(), known.state.endpoints.subscribe()));
        }
        if watched.len() >= self.limit {
            let unused = watched
                .iter()
                .filter(|(_, watched)| watched.state.endpoints.receiver_count() == 0)
                .min_by_key(|(_, watched)| watched.asked)
                .map(|(app, _)| app.clone());
            match unused.and_then(|app| watched.remove(&app)) {
                Some(gone) => gone.task.abort(),
                None => {
                    let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
                    return Err(Failure::new(Cause::Limit { name: "registry_watches", limit }));
                }
            }
        }
        let state = Arc::new(State { answered: watch::Sender::new(false), endpoints: watch::Sender::default() });
        let receivers = (state.answered.subscribe(), state.endpoints.subscribe());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn(keep_watched(Arc::clone(&self.shared), app.clone(), Arc::clone(&state)));
        watched.insert(app.clone(), Watched { state, asked: now, task });
        Ok(receivers)
    }
}

impl Shared {
    fn watched(&self) -> MutexGuard<'_, HashMap<AppId, Watched>> {
        // No code under the lock leaves the map half changed.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `app` out if nobody holds its endpoints nor has asked for them lately.
    fn evict(&self, app: &AppId, state: &State) -> bool {
        let mut watched = self.watched();
        let ours = watched.get(app).filter(|watched| std::ptr::eq(&raw const *watched.state, state));
        let Some(ours) = ours else { return true };
        let unused = state.endpoints.receiver_count() == 0 && ours.asked.elapsed() >= self.idle;
        if unused {
            watched.remove(app);
        }
        unused
    }
}

async fn keep_watched(shared: Arc<Shared>, app: AppId, state: Arc<State>) {
    let keep = async {
        let mut backoff = Backoff::default();
        loop {
            let up = shared.link.up().await;
            let epoch = up.epoch;
            let ended = watch(up, &app, &state, shared.grace, &mut backoff).await;
            tracing::debug!(%app, reason = ended.message(), "the watch ended; watching again");
            shared.link.ended(epoch, &ended);
            tokio::time::sleep(backoff.next()).await;
        }
    };
    let idle = async {
        loop {
            tokio::time::sleep(shared.idle).await;
            if shared.evict(&app, &state) {
                break;
            }
        }
    };
    tokio::select! {
        () = idle => tracing::debug!(%app, "nobody asks for it: no longer watched"),
        () = keep => {}
    }
}

/// Follows the endpoints until the stream ends, and returns how it ended.
async fn watch(mut up: Up, app: &AppId, state: &State, grace: Duration, backoff: &mut Backoff) -> Status {
    let request = proto::WatchRequest { namespace: app.namespace().to_owned(), app_id: app.app_id().to_owned() };
    let opened = match tokio::time::timeout(FIRST_ANSWER, up.client.watch(request)).await {
        Ok(opened) => opened,
        Err(_) => return Status::unavailable("the registry did not answer the watch"),
    };
    let mut sent: Streaming<proto::Endpoints> = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => return status,
    };
    let before = Arc::clone(&state.endpoints.borrow());
    let mut grace_ends = std::pin::pin!(tokio::time::sleep(grace));
    let mut in_grace = !before.is_empty();
    let mut fresh = Vec::new();
    loop {
        tokio::select! {
            message = sent.message() => match message {
                Ok(Some(message)) => {
                    fresh = convert::endpoints(message);
                    *backoff = Backoff::default();
                }
                Ok(None) => return Status::unavailable("the registry ended the watch"),
                Err(status) => return status,
            },
            () = grace_ends.as_mut(), if in_grace => in_grace = false,
        }
        let now = if in_grace { merged(&before, &fresh) } else { fresh.clone() };
        state.endpoints.send_if_modified(|last| {
            let changed = **last != now;
            if changed {
                *last = Arc::new(now);
            }
            changed
        });
        state.answered.send_replace(true);
    }
}

/// What the registry says, and of what was known before it went away that which it does not
/// yet speak of: a registry that has just started knows nobody.
fn merged(before: &[Endpoint], fresh: &[Endpoint]) -> Vec<Endpoint> {
    let unheard = |known: &&Endpoint| !fresh.iter().any(|endpoint| endpoint.instance == known.instance);
    fresh.iter().chain(before.iter().filter(unheard)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::registry::link::Link;

    fn endpoint(instance: &str, port: u16) -> Endpoint {
        Endpoint { instance: instance.into(), address: ([127, 0, 0, 1], port).into(), draining: false }
    }

    #[test]
    fn what_was_known_stays_until_it_is_heard_of_again() {
        let before = [endpoint("a", 1), endpoint("b", 2)];
        assert_eq!(merged(&before, &[]), before);
        assert_eq!(merged(&before, &[endpoint("b", 9)]), [endpoint("b", 9), endpoint("a", 1)]);
        assert_eq!(merged(&[], &[endpoint("c", 3)]), [endpoint("c", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_is_watched_for_as_long_as_somebody_uses_it_and_a_while_more() {
        let link = Link::start("/nowhere/control.sock".into(), None);
        let demand = Demand::new(link.handle(), 8, Duration::from_secs(60), Duration::ZERO);
        let app = AppId::new("default", "orders").unwrap();
        let watched_after = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            demand.shared.watched().len()
        };
        let (_, used) = demand.watch(&app).unwrap();
        assert_eq!(watched_after(600).await, 1);
        drop(used);
        assert_eq!(watched_after(61).await, 0);
        drop(demand.watch(&app).unwrap());
        assert_eq!(watched_after(30).await, 1);
        drop(demand.watch(&app).unwrap());
        assert_eq!(watched_after(50).await, 1);
        assert_eq!(watched_after(61).await, 0);
    }
}
