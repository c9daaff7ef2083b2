//! Ending without breaking what is under way.
//!
//! A [`Drain`] is started once; every connection holds a [`Watch`], sees the
//! start, finishes what it has, and drops its watch. The drain has finished
//! when no watch is left.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// The starting end.
pub struct Drain {
    signal: watch::Sender<bool>,
    alive: mpsc::Receiver<Infallible>,
}

/// The watching end: while one is held, the drain has not finished.
#[derive(Clone)]
pub struct Watch {
    signal: watch::Receiver<bool>,
    _alive: mpsc::Sender<Infallible>,
}

/// A drain and its first watch.
pub fn channel() -> (Drain, Watch) {
    let (signal, receiver) = watch::channel(false);
    let (sender, alive) = mpsc::channel(1);
    (Drain { signal, alive }, Watch { signal: receiver, _alive: sender })
}

impl Drain {
    /// Asks every holder of a watch to finish. Safe to call twice.
    pub fn start(&self) {
        self.signal.send_replace(true);
    }

    /// Waits until no watch is held: `true`; or until `timeout` has passed: `false`.
    pub async fn finished(mut self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.alive.recv()).await.is_ok()
    }
}

impl Watch {
    /// Whether the drain has started.
    pub fn is_draining(&self) -> bool {
        *self.signal.borrow()
    }

    /// Completes when the drain starts, at once if it has. Never completes when
    /// the drain was dropped without having been started. Cancel safe.
    pub async fn draining(&mut self) {
        if self.signal.wait_for(|started| *started).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_finishes_when_the_last_watch_is_dropped() {
        let (drain, mut watch) = channel();
        let holder = tokio::spawn(async move {
            watch.draining().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        drain.start();
        assert!(drain.finished(Duration::from_secs(5)).await);
        holder.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_on_who_holds_on() {
        let (drain, watch) = channel();
        drain.start();
        assert!(watch.is_draining());
        assert!(!drain.finished(Duration::from_secs(5)).await);
    }
}
