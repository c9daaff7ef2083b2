//! `--app-max-concurrency`: how many calls may be in the app at once.
//!
//! The next call waits, in order, until one has been answered to the end of its body; it
//! leaves the queue when its caller goes away. Queue and wait are bounded.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use outrigger_wire::{Body, Failure, Limits, OnEnd};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns that the app gives.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Arc<Limits>,
}

/// One call's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// At most so many calls at once.
    pub(super) fn new(most: NonZeroUsize, limits: Arc<Limits>) -> Self {
        let most = most.get().min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), waiting: AtomicUsize::new(0), limits }
    }

    /// Waits for a turn. Cancel safe.
    ///
    /// # Errors
    /// `Limit` when too many wait already, `Timeout` when none came in time.
    pub(super) async fn take(&self) -> Result<Turn, Failure> {
        if let Ok(free) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Turn(free));
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before as u64 >= self.limits.app_queue {
            return Err(Failure::limit(self.limits.app_queue()));
        }
        let longest: Duration = Limits::millis(self.limits.app_queue_timeout_ms);
        match tokio::time::timeout(longest, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(free)) => Ok(Turn(free)),
            // Nobody closes it, and time is the only other way out.
            Ok(Err(_)) | Err(_) => Err(Failure::timeout("wait for a turn in the app (--app-max-concurrency)", longest)),
        }
    }
}

impl Turn {
    /// The response, which gives the turn back at its end.
    pub(super) fn until_end_of(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| body.with_on_end(Box::new(self)))
    }
}

impl OnEnd for Turn {
    fn data(&mut self, _length: usize) {}

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn turns(most: usize, queue: u64) -> Turns {
        let limits = Limits { app_queue: queue, ..Limits::default() };
        Turns::new(NonZeroUsize::new(most).unwrap(), Arc::new(limits))
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_call_waits_until_the_body_before_it_has_ended() {
        let turns = turns(1, 10);
        let mut response = turns.take().await.unwrap().until_end_of(Response::new(Body::full("hello")));
        let mut next = Box::pin(turns.take());
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut next).await.is_err());
        response.body_mut().frame().await;
        next.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_dropped_gives_its_turn_back() {
        let turns = turns(1, 10);
        drop(turns.take().await.unwrap().until_end_of(Response::new(Body::full("hello"))));
        turns.take().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn queue_and_wait_are_bounded_and_who_leaves_makes_room() {
        let turns = turns(1, 1);
        let _taken = turns.take().await.unwrap();
        let mut queued = Box::pin(turns.take());
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut queued).await.is_err());
        assert_eq!(turns.take().await.unwrap_err().name(), "limit");
        drop(queued);
        assert_eq!(turns.take().await.unwrap_err().name(), "timeout");
    }
}
