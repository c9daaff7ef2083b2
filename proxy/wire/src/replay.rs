//! A request body that can be sent again, as long as little of it was read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::{Body, Cause, Failure};

/// Keeps what is read of a body, up to a bound, so that another attempt can begin with it.
///
/// One attempt reads at a time: taking the next [`body`](Self::body) ends the one before.
#[derive(Debug, Clone)]
pub struct Replay(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    source: Body,
    // Most requests are one piece: it needs no vector.
    first: Option<Bytes>,
    more: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    kept: usize,
    limit: usize,
    /// More was read than may be kept, or the attempt that reads is the last.
    forgets: bool,
    ended: bool,
    attempt: u32,
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    state: Arc<Mutex<State>>,
    attempt: u32,
    next: usize,
    trailers_sent: bool,
}

impl Replay {
    /// Keeps at most `limit` bytes of `body`.
    pub fn new(body: Body, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            source: body,
            first: None,
            more: Vec::new(),
            trailers: None,
            kept: 0,
            limit,
            forgets: false,
            ended: false,
            attempt: 0,
        })))
    }

    /// The whole body, from its start, for the next attempt; `None` when too much of it
    /// was read to begin again.
    pub fn body(&self) -> Option<Body> {
        let mut state = lock(&self.0);
        if state.forgets {
            return None;
        }
        state.attempt += 1;
        let attempt = Attempt { state: Arc::clone(&self.0), attempt: state.attempt, next: 0, trailers_sent: false };
        Some(Body::from_attempt(attempt))
    }

    /// Whether [`body`](Self::body) would give one.
    pub fn can_repeat(&self) -> bool {
        !lock(&self.0).forgets
    }

    /// Keeps nothing more: the attempt under way is the last.
    pub fn commit(&self) {
        lock(&self.0).forgets = true;
    }
}

// A piece is kept whole or not at all, so a panic elsewhere leaves the state usable.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn pieces(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn piece(&self, index: usize) -> Option<&Bytes> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(rest) => self.more.get(rest),
        }
    }

    /// Keeps a piece; whether it was kept.
    fn keep(&mut self, piece: &Bytes) -> bool {
        if self.forgets {
            return false;
        }
        self.kept = self.kept.saturating_add(piece.len());
        if self.kept > self.limit {
            self.forgets = true;
            return false;
        }
        if self.first.is_none() {
            self.first = Some(piece.clone());
        } else {
            self.more.push(piece.clone());
        }
        true
    }
}

impl Attempt {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut state = lock(&self.state);
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(Failure::new(Cause::Cancelled))));
        }
        if let Some(piece) = state.piece(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if state.ended {
            let trailers = if self.trailers_sent { None } else { state.trailers.clone() };
            self.trailers_sent = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut state.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    if state.keep(piece) {
                        self.next += 1;
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    state.trailers = Some(trailers.clone());
                    state.ended = true;
                    self.trailers_sent = true;
                }
            }
            // What the source cannot give now it cannot give to another attempt.
            Some(Err(_)) => state.forgets = true,
            None => state.ended = true,
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        let nothing_kept_is_left = self.next >= state.pieces();
        let no_trailers_are_left = state.trailers.is_none() || self.trailers_sent;
        nothing_kept_is_left && no_trailers_are_left && (state.ended || state.source.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let kept: usize = (self.next..state.pieces()).filter_map(|index| state.piece(index)).map(Bytes::len).sum();
        match state.source.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest.saturating_add(kept as u64)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn pieces(pieces: &[&'static str]) -> Body {
        let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
        Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn read(body: Body) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn another_attempt_begins_again_wherever_the_first_had_come_to() {
        let replay = Replay::new(pieces(&["one ", "two ", "three"]), 100);
        let mut first = replay.body().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
        let second = replay.body().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap_err().name(), "cancelled");
        assert_eq!(read(second).await, "one two three");
        assert_eq!(read(replay.body().unwrap()).await, "one two three");
    }

    #[tokio::test]
    async fn what_is_longer_than_the_bound_is_sent_once() {
        let replay = Replay::new(pieces(&["12345", "67890"]), 8);
        assert_eq!(read(replay.body().unwrap()).await, "1234567890");
        assert!(replay.body().is_none());
    }

    #[tokio::test]
    async fn a_committed_attempt_reads_on_and_keeps_nothing() {
        let replay = Replay::new(pieces(&["one ", "two"]), 100);
        let body = replay.body().unwrap();
        replay.commit();
        assert_eq!(read(body).await, "one two");
        assert!(replay.body().is_none());
    }

    #[tokio::test]
    async fn trailers_are_sent_again_too() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers.clone()))];
        let replay = Replay::new(Body::boxed(StreamBody::new(futures_util::stream::iter(frames))), 100);
        for _ in 0..2 {
            let collected = replay.body().unwrap().collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers));
        }
    }
}
