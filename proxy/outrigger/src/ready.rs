//! How a sidecar becomes ready: identity, then app, then discovery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_api::Readiness;
use outrigger_certs::IdentityWatch;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::discovery::Announcements;
use crate::memory;

/// Longest wait for our entry to be stored before we call ourselves
/// ready without it.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// How long after readiness the last of the start has run.
const SETTLED: Duration = Duration::from_secs(1);

/// What readiness waits for.
pub(crate) struct Becoming {
    /// Told of each fact as it comes about.
    pub(crate) readiness: Arc<Readiness>,
    /// The identity; `None` without mutual TLS.
    pub(crate) identity: Option<IdentityWatch>,
    /// Host and port of the app; `None` for one that only calls.
    pub(crate) app: Option<(String, u16)>,
    /// Announces the sidecar; `None` for one that has no peer port.
    pub(crate) announce: Option<Box<dyn FnOnce() -> Announcements + Send>>,
    /// The runtime on which the announcement is kept.
    pub(crate) admin: Handle,
    /// When the start began.
    pub(crate) since: Instant,
    /// Gets the announcement, for the end to change it.
    pub(crate) announced: watch::Sender<Option<Arc<Announcements>>>,
}

/// Waits for the identity, then for the app, then announces the sidecar: a
/// peer that finds us can call us.
pub(crate) async fn become_ready(waiting: Becoming) {
    if let Some(mut identity) = waiting.identity
        && identity.wait_for(Option::is_some).await.is_err()
    {
        // The rotation is gone, so the sidecar is on its way out.
        return;
    }
    waiting.readiness.identity_is_held();
    if let Some((host, port)) = &waiting.app {
        app_answers(host, *port).await;
    }
    if let Some(announce) = waiting.announce {
        let announced = {
            let _there = waiting.admin.enter();
            Arc::new(announce())
        };
        // Published first, so that an end that comes now still takes the entry back.
        waiting.announced.send_replace(Some(Arc::clone(&announced)));
        let stored = tokio::time::timeout(ANNOUNCED, announced.stored()).await;
        if stored.is_err() {
            tracing::warn!(
                "our entry is not stored everywhere within {ANNOUNCED:?}; other apps may not find this one yet"
            );
        }
    }
    waiting.readiness.app_has_answered();
    let elapsed = waiting.since.elapsed().as_millis();
    tracing::info!("dapr initialized. Status: Running. Init Elapsed {elapsed}ms");
    tokio::time::sleep(SETTLED).await;
    memory::forget_startup();
    // Keeps the announcement for as long as the task is not ended.
    waiting.announced.closed().await;
}

/// Waits until the app's port takes a connection.
async fn app_answers(host: &str, port: u16) {
    const ATTEMPT: Duration = Duration::from_millis(500);
    const OFTEN: u32 = 100;
    tracing::info!("waiting on port {port} of {host}; the API serves calls of the app meanwhile");
    let mut attempts = 0_u32;
    loop {
        let connecting = TcpStream::connect((host, port));
        if matches!(tokio::time::timeout(ATTEMPT, connecting).await, Ok(Ok(_))) {
            tracing::info!("application discovered on port {port}");
            return;
        }
        attempts = attempts.saturating_add(1);
        if attempts.is_multiple_of(OFTEN) {
            tracing::info!("waiting for application to listen on port {port}");
        }
        let pause = if attempts < OFTEN { 10 } else { 50 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn becoming(app: Option<(String, u16)>, identity: Option<IdentityWatch>) -> (Arc<Readiness>, Becoming) {
        let readiness = Arc::new(Readiness::new());
        readiness.api_is_listening();
        let (announced, _) = watch::channel(None);
        let admin = Handle::current();
        (
            Arc::clone(&readiness),
            Becoming { readiness, identity, app, announce: None, admin, since: Instant::now(), announced },
        )
    }

    #[tokio::test]
    async fn a_sidecar_that_needs_nothing_is_ready_at_once() {
        let (readiness, becoming) = becoming(None, None);
        become_ready(becoming).await;
        assert!(readiness.waiting_for().is_empty());
    }

    #[tokio::test]
    async fn an_app_that_does_not_listen_holds_up_inbound_readiness_only() {
        // A port that was just given back: nobody listens on it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (readiness, becoming) = becoming(Some(("127.0.0.1".into(), port)), None);
        let task = tokio::spawn(become_ready(becoming));
        while !readiness.outbound_waiting_for().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(readiness.waiting_for(), ["app port"]);
        let _app = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        task.await.unwrap();
        assert!(readiness.waiting_for().is_empty());
    }

    #[tokio::test]
    async fn without_an_identity_nothing_is_ready() {
        let (identity, watched) = watch::channel(None);
        let (readiness, becoming) = becoming(None, Some(watched));
        let task = tokio::spawn(become_ready(becoming));
        tokio::task::yield_now().await;
        assert!(readiness.outbound_waiting_for().contains(&"workload certificate"));
        drop(identity);
        task.await.unwrap();
        assert!(!readiness.waiting_for().is_empty());
    }
}
