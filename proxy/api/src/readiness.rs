//! What the sidecar still waits for before it can serve.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The facts behind `/v1.0/healthz`, set by whoever brings each about.
///
/// What a sidecar does not need (a certificate without mutual TLS, an app without a
/// port) its starter sets as done.
#[derive(Debug)]
pub struct Readiness {
    api_listening: AtomicBool,
    identity_held: AtomicBool,
    app_answered: AtomicBool,
    draining: AtomicBool,
    app_healthy: watch::Sender<bool>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Nothing is there yet; the app counts as healthy until somebody has asked it.
    pub fn new() -> Self {
        Self {
            api_listening: AtomicBool::new(false),
            identity_held: AtomicBool::new(false),
            app_answered: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            app_healthy: watch::Sender::new(true),
        }
    }

    /// Every listener of the API is bound.
    pub fn api_is_listening(&self) {
        self.api_listening.store(true, Ordering::Release);
    }

    /// A certificate is held, or none is needed.
    pub fn identity_is_held(&self) {
        self.identity_held.store(true, Ordering::Release);
    }

    /// The app's port took a connection, or there is no app port.
    pub fn app_has_answered(&self) {
        self.app_answered.store(true, Ordering::Release);
    }

    /// What the last health check of the app said. It is no part of `/v1.0/healthz`, which
    /// is about the sidecar: as in stock, an unhealthy app must not have its sidecar restarted.
    pub fn app_is_healthy(&self, healthy: bool) {
        self.app_healthy.send_replace(healthy);
    }

    /// Completes when the app is unhealthy, at once if it is. Cancel safe.
    pub async fn app_is_unhealthy(&self) {
        // The sender is ours, so the wait ends by a value only.
        let mut watched = self.app_healthy.subscribe();
        let _unhealthy = watched.wait_for(|healthy| !healthy).await;
    }

    /// The sidecar is on its way out; for good.
    pub fn is_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// What the app's callers wait for; empty when ready.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        let mut waiting = self.outbound_waiting_for();
        if !self.app_answered.load(Ordering::Acquire) {
            waiting.push("app port");
        }
        waiting
    }

    /// What calls by the app wait for; empty when ready. The app itself is none of it, so
    /// that an app may wait for its sidecar before it listens.
    pub fn outbound_waiting_for(&self) -> Vec<&'static str> {
        let facts = [
            (self.api_listening.load(Ordering::Acquire), "API listeners"),
            (self.identity_held.load(Ordering::Acquire), "workload certificate"),
            (!self.draining.load(Ordering::Acquire), "nothing: it is shutting down"),
        ];
        facts.into_iter().filter(|(done, _)| !done).map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unhealthy_app_is_heard_of_and_leaves_the_sidecar_ready() {
        let readiness = Readiness::new();
        let mut heard = Box::pin(readiness.app_is_unhealthy());
        tokio::select! {
            biased;
            () = &mut heard => panic!("a healthy app was called unhealthy"),
            () = std::future::ready(()) => {}
        }
        let waiting = readiness.waiting_for();
        readiness.app_is_healthy(false);
        heard.await;
        assert_eq!(readiness.waiting_for(), waiting);
    }

    #[test]
    fn outbound_is_ready_before_the_app_and_neither_while_draining() {
        let readiness = Readiness::new();
        assert_eq!(readiness.waiting_for(), ["API listeners", "workload certificate", "app port"]);
        readiness.api_is_listening();
        readiness.identity_is_held();
        assert!(readiness.outbound_waiting_for().is_empty());
        assert_eq!(readiness.waiting_for(), ["app port"]);
        readiness.app_has_answered();
        assert!(readiness.waiting_for().is_empty());
        readiness.is_draining();
        assert!(!readiness.waiting_for().is_empty() && !readiness.outbound_waiting_for().is_empty());
    }
}
