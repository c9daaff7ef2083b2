//! One body type for every wire, so that no layer boxes what another can name.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::replay::Attempt;
use crate::{Failure, header};

/// A request or response body: bytes, then perhaps trailers.
///
/// Dropping it before its end is safe: the stream it came from is reset.
#[must_use = "a body that is dropped resets its stream"]
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// Told of its passing, in this order. Two have a place of their own: a call's
    /// record and a pooled connection are the usual ones.
    on_end: [Option<Box<dyn OnEnd>>; 2],
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Hyper(hyper::body::Incoming),
    H2(H2),
    Replay(Attempt),
    Boxed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = Failure> + Send>>),
}

/// What a body's owner wants to know of its passing.
///
/// Dropped without [`OnEnd::end`] when the reader went away before the end.
pub trait OnEnd: Send {
    /// A piece of data passed.
    fn data(&mut self, length: usize);
    /// The reader asked and must wait: nothing more is there yet.
    fn waiting(&mut self) {}
    /// Trailers passed.
    fn trailers(&mut self, _trailers: &HeaderMap) {}
    /// The body ended, well or not. Called at most once, last.
    fn end(self: Box<Self>, result: Result<(), &Failure>);
}

/// The receiving half of an HTTP/2 stream.
struct H2 {
    stream: h2::RecvStream,
    /// Bytes still to come by the message's own `content-length`.
    remaining: Option<u64>,
    data_done: bool,
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self { kind: Kind::Empty, on_end: [None, None] }
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self { kind: Kind::Full(bytes), on_end: [None, None] } }
    }

    /// The receiving half of an HTTP/2 stream; `content_length` as its head declared.
    pub fn h2(stream: h2::RecvStream, content_length: Option<u64>) -> Self {
        if stream.is_end_stream() {
            return Self::empty();
        }
        Self { kind: Kind::H2(H2 { stream, remaining: content_length, data_done: false }), on_end: [None, None] }
    }

    pub(crate) fn from_attempt(attempt: Attempt) -> Self {
        Self { kind: Kind::Replay(attempt), on_end: [None, None] }
    }

    /// Any other body, at the price of a box.
    pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = Failure> + Send + 'static) -> Self {
        Self { kind: Kind::Boxed(Box::pin(body)), on_end: [None, None] }
    }

    /// The same body, with `on_end` told of its passing after any earlier one.
    pub fn with_on_end(mut self, on_end: Box<dyn OnEnd>) -> Self {
        let [first, second] = &mut self.on_end;
        match (&first, second.take()) {
            (None, _) => *first = Some(on_end),
            (Some(_), None) => *second = Some(on_end),
            (Some(_), Some(other)) => *second = Some(Box::new(Both(other, on_end))),
        }
        if self.is_end_stream() {
            self.finish(Ok(()));
        }
        self
    }

    /// The whole body in memory when it is there already: empty or given as bytes.
    pub fn as_full(&self) -> Option<Bytes> {
        match &self.kind {
            Kind::Empty => Some(Bytes::new()),
            Kind::Full(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    fn finish(&mut self, result: Result<(), &Failure>) {
        for on_end in self.on_end.iter_mut().filter_map(Option::take) {
            on_end.end(result);
        }
    }

    /// All bytes the head promised have passed, though the end may not have been seen:
    /// a reader that counts (HTTP/1.1 with `content-length`) asks no further.
    fn promised_all(&self) -> bool {
        match &self.kind {
            Kind::H2(h2) => h2.remaining == Some(0) || h2.stream.is_end_stream(),
            _ => self.is_end_stream(),
        }
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Hyper(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Failure::from_hyper),
            Kind::H2(h2) => h2.poll_frame(cx),
            Kind::Replay(attempt) => attempt.poll_frame(cx),
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }
}

impl H2 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        while !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                // The frame that only ends the stream has nothing for a reader.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // The reader has it: let the peer send as much again. An error
                    // here only means that the stream has ended meanwhile.
                    let _ended = self.stream.flow_control().release_capacity(data.len());
                    if let Some(remaining) = &mut self.remaining {
                        *remaining = remaining.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(Failure::from_h2(error)))),
                None => self.data_done = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(Failure::from_h2(error)))),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Poll::Ready(mut frame) = self.poll_kind(cx) else {
            for on_end in self.on_end.iter_mut().flatten() {
                on_end.waiting();
            }
            return Poll::Pending;
        };
        // What nobody may say in a header nobody may say in a trailer: some apps read both as one.
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            header::strip_trailers(trailers);
        }
        match &frame {
            Some(Ok(frame)) => {
                for on_end in self.on_end.iter_mut().flatten() {
                    if let Some(data) = frame.data_ref() {
                        on_end.data(data.len());
                    } else if let Some(trailers) = frame.trailers_ref() {
                        on_end.trailers(trailers);
                    }
                }
                if frame.is_trailers() || self.promised_all() {
                    self.finish(Ok(()));
                }
            }
            Some(Err(failure)) => {
                let failure = failure.clone();
                self.finish(Err(&failure));
            }
            None => self.finish(Ok(())),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Hyper(incoming) => incoming.is_end_stream(),
            Kind::H2(h2) => h2.stream.is_end_stream(),
            Kind::Replay(attempt) => attempt.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Hyper(incoming) => incoming.size_hint(),
            Kind::H2(h2) => h2.remaining.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Replay(attempt) => attempt.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

/// Two that want to know, in one place.
struct Both(Box<dyn OnEnd>, Box<dyn OnEnd>);

impl OnEnd for Both {
    fn data(&mut self, length: usize) {
        self.0.data(length);
        self.1.data(length);
    }

    fn waiting(&mut self) {
        self.0.waiting();
        self.1.waiting();
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.0.trailers(trailers);
        self.1.trailers(trailers);
    }

    fn end(self: Box<Self>, result: Result<(), &Failure>) {
        let Self(first, second) = *self;
        first.end(result);
        second.end(result);
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self { kind: Kind::Hyper(incoming), on_end: [None, None] }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Full(_) => "Body::Full",
            Kind::Hyper(_) => "Body::Hyper",
            Kind::H2(_) => "Body::H2",
            Kind::Replay(_) => "Body::Replay",
            Kind::Boxed(_) => "Body::Boxed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<(usize, Option<bool>)>>);

    impl OnEnd for Seen {
        fn data(&mut self, length: usize) {
            self.0.lock().unwrap().0 += length;
        }
        fn end(self: Box<Self>, result: Result<(), &Failure>) {
            self.0.lock().unwrap().1 = Some(result.is_ok());
        }
    }

    #[tokio::test]
    async fn an_observer_sees_every_byte_and_one_end() {
        let seen = Seen::default();
        let mut body = Body::full("hello");
        for _ in 0..4 {
            body = body.with_on_end(Box::new(seen.clone()));
        }
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(*seen.0.lock().unwrap(), (20, Some(true)));
    }

    #[test]
    fn an_empty_body_ends_at_once_for_its_observer() {
        let seen = Seen::default();
        let _body = Body::empty().with_on_end(Box::new(seen.clone()));
        assert_eq!(*seen.0.lock().unwrap(), (0, Some(true)));
    }

    #[test]
    fn a_body_dropped_midway_never_says_that_it_ended() {
        let seen = Seen::default();
        drop(Body::full("hello").with_on_end(Box::new(seen.clone())));
        assert_eq!(*seen.0.lock().unwrap(), (0, None));
    }
}
