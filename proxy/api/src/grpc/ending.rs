//! How a proxied response ends: as the app ends it, or by our own trailers.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use outrigger_blocks::error::{ApiError, Manner, Problem};
use outrigger_wire::{Body, Failure};
use tokio::time::{Instant, Sleep};

use super::status;

/// When a call must have ended, and what it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) after: Duration,
}

impl Deadline {
    /// `after` from now; `None` past what a clock can tell, which is for ever.
    pub(super) fn new(after: Duration) -> Option<Self> {
        Instant::now().checked_add(after).map(|at| Self { at, after })
    }

    /// What is left of it.
    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(super) fn passed(self) -> Failure {
        Failure::timeout("deadline", self.after)
    }
}

/// A response body whose failure, or whose deadline, becomes the call's status in
/// trailers: a stream that merely broke would leave the caller to guess.
pub(super) struct Ending {
    /// `None` once our own trailers have ended it, which cancels the app's side.
    app: Option<Body>,
    deadline: Option<(Deadline, Pin<Box<Sleep>>)>,
}

impl Ending {
    pub(super) fn body(app: Body, deadline: Option<Deadline>) -> Body {
        if app.is_end_stream() {
            return app;
        }
        let deadline = deadline.map(|deadline| (deadline, Box::pin(tokio::time::sleep_until(deadline.at))));
        Body::boxed(Self { app: Some(app), deadline })
    }

    fn end_with(&mut self, failure: &Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.app = None;
        let error = ApiError::new(Problem::Proxy { failure }, Manner::Plain);
        Poll::Ready(Some(Ok(Frame::trailers(status::trailers(&error)))))
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(app) = &mut self.app else { return Poll::Ready(None) };
        match Pin::new(app).poll_frame(cx) {
            Poll::Ready(Some(Err(failure))) => return self.end_with(&failure),
            Poll::Ready(frame) => return Poll::Ready(frame),
            Poll::Pending => {}
        }
        let Some((deadline, sleep)) = &mut self.deadline else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        let failure = deadline.passed();
        self.end_with(&failure)
    }

    fn is_end_stream(&self) -> bool {
        self.app.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives one piece of data, then what it is told.
    struct Then(Option<Bytes>, Option<Failure>);

    impl http_body::Body for Then {
        type Data = Bytes;
        type Error = Failure;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
            match (self.0.take(), self.1.take()) {
                (Some(data), then) => {
                    self.1 = then;
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                (None, Some(failure)) => Poll::Ready(Some(Err(failure))),
                (None, None) => Poll::Pending,
            }
        }
    }

    async fn ended(then: Then, deadline: Option<Deadline>) -> (String, Bytes) {
        let collected = Ending::body(Body::boxed(then), deadline).collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap();
        (format!("{:?} {:?}", trailers["grpc-status"], trailers["grpc-message"]), collected.to_bytes())
    }

    #[tokio::test]
    async fn a_stream_that_breaks_ends_with_a_status_that_says_why() {
        let broken = outrigger_wire::Cause::Reset { reason: "gone".into() };
        let (status, data) = ended(Then(Some("part".into()), Some(broken.into())), None).await;
        assert_eq!((status.as_str(), &data[..]), (r#""14" "the stream was reset: gone""#, &b"part"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_past_its_deadline_ends_with_deadline_exceeded() {
        let started = Instant::now();
        let (status, data) = ended(Then(Some("part".into()), None), Deadline::new(Duration::from_secs(2))).await;
        assert_eq!((status.as_str(), &data[..]), (r#""4" "deadline timed out after 2s""#, &b"part"[..]));
        assert_eq!(started.elapsed().as_secs(), 2);
    }
}
