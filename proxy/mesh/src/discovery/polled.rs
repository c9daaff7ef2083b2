//! Sources that can only be asked: each app is asked about again for as long as somebody wants it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Resolver;

/// Most endpoints of one app that are kept; the rest is left out, and told once.
pub(super) const MOST_ENDPOINTS: usize = 1024;
/// Longest wait for one answer of a source.
const ANSWER: Duration = Duration::from_secs(3);
/// How long endpoints are kept that the source can no longer confirm.
const KEPT_UNCONFIRMED: Duration = Duration::from_secs(60);

/// A source of endpoints that is asked.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// Where the replicas of `app` are now; none when it is not known.
    ///
    /// # Errors
    /// When the source does not answer.
    async fn lookup(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure>;

    /// How long an answer holds.
    fn holds(&self) -> Duration;

    /// Why an app may be unknown, and what to do: the end of a sentence.
    fn hint(&self, app: &AppId) -> String;
}

/// A resolver that asks `L` again and again. Its tasks are on the runtime it was made in, and end with it.
pub struct Polled<L> {
    shared: Arc<Shared<L>>,
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared<L> {
    source: L,
    most: usize,
    known: Mutex<HashMap<AppId, watch::Receiver<Arc<Vec<Endpoint>>>>>,
}

impl<L: Lookup> Polled<L> {
    /// A resolver over `source` that follows at most `most` apps at once. To be called within the runtime
    /// that is to ask.
    pub fn new(source: L, most: usize) -> Self {
        let shared = Shared { source, most, known: Mutex::default() };
        Self { shared: Arc::new(shared), runtime: Handle::current(), tasks: Mutex::default() }
    }

    fn follow(&self, app: &AppId, first: Vec<Endpoint>) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        let mut known = self.shared.known();
        if let Some(found) = known.get(app) {
            // Another call has asked meanwhile.
            return Ok(found.clone());
        }
        if known.len() >= self.shared.most {
            let limit = u64::try_from(self.shared.most).unwrap_or(u64::MAX);
            return Err(Failure::new(Cause::Limit { name: "targets", limit }));
        }
        let (endpoints, found) = watch::channel(Arc::new(first));
        known.insert(app.clone(), found.clone());
        drop(known);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(keep_asking(Arc::clone(&self.shared), app.clone(), endpoints), &self.runtime);
        Ok(found)
    }

    /// Asks on the runtime of the source, whichever the caller's is.
    async fn ask(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure> {
        let (shared, app) = (Arc::clone(&self.shared), app.clone());
        let mut asking = JoinSet::new();
        asking.spawn_on(async move { shared.ask(&app).await }, &self.runtime);
        match asking.join_next().await {
            Some(Ok(answer)) => answer,
            _ => Err(Failure::new(Cause::Unresolved { target: "the sidecar is ending".to_owned() })),
        }
    }
}

impl<L: Lookup> Shared<L> {
    async fn ask(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure> {
        let mut found = match tokio::time::timeout(ANSWER, self.source.lookup(app)).await {
            Ok(found) => found?,
            Err(_) => {
                let target = format!("{app}: name resolution did not answer within {ANSWER:?}");
                return Err(Failure::new(Cause::Unresolved { target }));
            }
        };
        if found.len() > MOST_ENDPOINTS {
            tracing::warn!(%app, found = found.len(), kept = MOST_ENDPOINTS, "more replicas than are used");
            found.truncate(MOST_ENDPOINTS);
        }
        // An answer in another order is the same answer.
        found.sort_by(|a, b| a.instance.cmp(&b.instance).then(a.address.cmp(&b.address)));
        found.dedup();
        Ok(found)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<AppId, watch::Receiver<Arc<Vec<Endpoint>>>>> {
        // No code under the lock leaves the map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<L: Lookup> Resolver for Polled<L> {
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        let known = self.shared.known().get(app).cloned();
        if let Some(found) = known {
            return Ok(found);
        }
        let found = self.ask(app).await?;
        if found.is_empty() {
            let target = format!("{app}: {}", self.shared.source.hint(app));
            return Err(Failure::new(Cause::Unresolved { target }));
        }
        self.follow(app, found)
    }
}

/// Asks until nobody but the map wants the answer, or there is no replica left: then the next call asks anew.
async fn keep_asking<L: Lookup>(shared: Arc<Shared<L>>, app: AppId, endpoints: watch::Sender<Arc<Vec<Endpoint>>>) {
    let mut confirmed = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(shared.source.holds()).await;
        {
            let mut known = shared.known();
            // The map's own receiver is one of them.
            if endpoints.receiver_count() <= 1 {
                known.remove(&app);
                return;
            }
        }
        match shared.ask(&app).await {
            Ok(found) => {
                confirmed = tokio::time::Instant::now();
                if found != **endpoints.borrow() {
                    tracing::debug!(%app, replicas = found.len(), "replicas changed");
                    endpoints.send_replace(Arc::new(found));
                }
            }
            Err(failure) if confirmed.elapsed() < KEPT_UNCONFIRMED => {
                tracing::info!(%app, %failure, "cannot ask where its replicas are; keeping what was known");
            }
            Err(failure) => {
                tracing::warn!(%app, %failure, "its replicas could not be confirmed for too long");
                endpoints.send_replace(Arc::default());
            }
        }
        if endpoints.borrow().is_empty() {
            shared.known().remove(&app);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose answers the test sets.
    #[derive(Default)]
    struct Said {
        answer: Answer,
    }

    #[async_trait]
    impl Lookup for Said {
        async fn lookup(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure> {
            let answer = self.answer.lock().unwrap().clone();
            answer.ok_or_else(|| Failure::new(Cause::Unresolved { target: format!("{app}: away") }))
        }

        fn holds(&self) -> Duration {
            Duration::from_secs(1)
        }

        fn hint(&self, _: &AppId) -> String {
            "start it".to_owned()
        }
    }

    fn at(port: u16) -> Endpoint {
        Endpoint { instance: port.to_string().into(), address: ([127, 0, 0, 1], port).into(), draining: false }
    }

    type Answer = Arc<Mutex<Option<Vec<Endpoint>>>>;

    fn polled(most: usize) -> (Polled<Said>, Answer) {
        let said = Said::default();
        let answer = Arc::clone(&said.answer);
        (Polled::new(said, most), answer)
    }

    fn app(name: &str) -> AppId {
        AppId::new("default", name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_answer_reaches_whoever_holds_the_first() {
        let (resolver, answer) = polled(8);
        *answer.lock().unwrap() = Some(vec![at(2), at(1), at(1)]);
        let mut found = resolver.resolve(&app("orders")).await.unwrap();
        assert_eq!(**found.borrow(), [at(1), at(2)]);
        *answer.lock().unwrap() = Some(vec![at(3)]);
        found.changed().await.unwrap();
        assert_eq!(**found.borrow_and_update(), [at(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_goes_away_leaves_what_it_said_for_a_while() {
        let (resolver, answer) = polled(8);
        *answer.lock().unwrap() = Some(vec![at(1)]);
        let mut found = resolver.resolve(&app("orders")).await.unwrap();
        *answer.lock().unwrap() = None;
        tokio::time::sleep(KEPT_UNCONFIRMED / 2).await;
        assert_eq!(**found.borrow(), [at(1)]);
        found.wait_for(|endpoints| endpoints.is_empty()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_whose_replicas_all_left_is_asked_about_anew() {
        let (resolver, answer) = polled(8);
        *answer.lock().unwrap() = Some(vec![at(1)]);
        let mut found = resolver.resolve(&app("orders")).await.unwrap();
        *answer.lock().unwrap() = Some(Vec::new());
        found.wait_for(|endpoints| endpoints.is_empty()).await.unwrap();
        while found.changed().await.is_ok() {}
        let refused = resolver.resolve(&app("orders")).await.unwrap_err().to_string();
        assert_eq!(refused, "cannot resolve orders.default: start it");
        *answer.lock().unwrap() = Some(vec![at(4)]);
        assert_eq!(**resolver.resolve(&app("orders")).await.unwrap().borrow(), [at(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_apps_are_followed_than_allowed_and_the_unwanted_make_room() {
        let (resolver, answer) = polled(1);
        *answer.lock().unwrap() = Some(vec![at(1)]);
        let first = resolver.resolve(&app("a")).await.unwrap();
        let full = resolver.resolve(&app("b")).await.unwrap_err();
        assert!(matches!(full.cause(), Cause::Limit { limit: 1, .. }), "{full}");
        drop(first);
        tokio::time::sleep(Duration::from_secs(2)).await;
        resolver.resolve(&app("b")).await.unwrap();
    }
}
