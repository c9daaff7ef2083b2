//! A body in numbered pieces.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use outrigger_proto::common::v1::StreamPayload;
use outrigger_proto::internals::v1::{
    InternalInvokeRequestStream, InternalInvokeResponse, InternalInvokeResponseStream,
};
use outrigger_wire::{Body, Failure};
use prost::Message;

use super::message::{Messages, broken, decode, encode};
use super::status;

/// Most bytes of a body that go in one message. Stock takes no message over 4 MiB.
const PIECE: usize = 32 * 1024;

/// A message of either direction's stream.
pub(super) trait Chunk: Message + Default + Send + Unpin + 'static {
    /// A message with nothing but this piece.
    fn of(payload: StreamPayload) -> Self;
    /// Whether it has a head, and the piece that it has.
    fn parts(self) -> (bool, Option<StreamPayload>);
}

impl Chunk for InternalInvokeRequestStream {
    fn of(payload: StreamPayload) -> Self {
        Self { request: None, payload: Some(payload) }
    }

    fn parts(self) -> (bool, Option<StreamPayload>) {
        let head = self.request.is_some_and(|head| head.message.is_some() || !head.metadata.is_empty());
        (head, self.payload)
    }
}

impl Chunk for InternalInvokeResponseStream {
    fn of(payload: StreamPayload) -> Self {
        Self { response: None, payload: Some(payload) }
    }

    fn parts(self) -> (bool, Option<StreamPayload>) {
        // Stock sends an empty head with each piece of an event stream.
        let says =
            |head: InternalInvokeResponse| head.status.is_some() || head.message.is_some() || !head.headers.is_empty();
        (self.response.is_some_and(says), self.payload)
    }
}

/// How a stream of pieces ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The caller's: with the stream.
    Silent,
    /// The callee's: with a status in trailers.
    WithStatus,
}

/// Takes the pieces out of a stream whose head has been read.
pub(super) struct Pieces<M> {
    messages: Messages,
    /// The piece that came with the head.
    held: Option<StreamPayload>,
    expected: u64,
    /// Bytes still to come where the head said how many.
    remaining: Option<u64>,
    ends: Ends,
    done: bool,
    chunk: PhantomData<fn() -> M>,
}

impl<M: Chunk> Pieces<M> {
    pub(super) fn body(messages: Messages, first: Option<StreamPayload>, length: Option<u64>, ends: Ends) -> Body {
        Body::boxed(Self {
            messages,
            held: first,
            expected: 0,
            remaining: length,
            ends,
            done: false,
            chunk: PhantomData,
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<StreamPayload, Failure>>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(Ok(held)));
        }
        loop {
            let Some(message) = ready!(self.messages.poll_next(cx)?) else { return Poll::Ready(None) };
            let (head, payload) = decode::<M>(message)?.parts();
            if head {
                return Poll::Ready(Some(Err(broken("a second head within a stream"))));
            }
            if let Some(payload) = payload {
                return Poll::Ready(Some(Ok(payload)));
            }
        }
    }

    fn check(&mut self, payload: &StreamPayload) -> Result<(), Failure> {
        if payload.seq != self.expected {
            return Err(broken(format!("piece {} of a body came where {} was due", payload.seq, self.expected)));
        }
        self.expected = self.expected.saturating_add(1);
        if let Some(remaining) = &mut self.remaining {
            let length = payload.data.len() as u64;
            *remaining = remaining.checked_sub(length).ok_or_else(|| broken("a body is longer than its head said"))?;
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        if self.ends == Ends::WithStatus {
            status::ended(self.messages.trailers())?;
        }
        match self.remaining {
            None | Some(0) => Ok(()),
            Some(_) => Err(broken("a body is shorter than its head said")),
        }
    }
}

impl<M: Chunk> http_body::Body for Pieces<M> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        while !this.done {
            match ready!(this.poll_piece(cx)) {
                Some(Ok(payload)) => {
                    this.check(&payload)?;
                    if !payload.data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(payload.data))));
                    }
                }
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                None => {
                    this.done = true;
                    this.end()?;
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        // A reader that counts what was promised asks no further.
        self.done || self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Puts a body into pieces behind the message that is the head.
pub(super) struct Cut<M> {
    head: Option<Bytes>,
    body: Body,
    piece: Bytes,
    seq: u64,
    /// What ends a callee's stream; sent once.
    ends: Ends,
    done: bool,
    chunk: PhantomData<fn() -> M>,
}

impl<M: Chunk> Cut<M> {
    /// `head` goes first, encoded already.
    pub(super) fn body(head: Bytes, body: Body, ends: Ends) -> Body {
        let piece = Bytes::new();
        Body::boxed(Self { head: Some(head), body, piece, seq: 0, ends, done: false, chunk: PhantomData })
    }

    fn end(&mut self, trailers: impl FnOnce() -> HeaderMap) -> Option<Result<Frame<Bytes>, Failure>> {
        self.done = true;
        (self.ends == Ends::WithStatus).then(|| Ok(Frame::trailers(trailers())))
    }
}

impl<M: Chunk> http_body::Body for Cut<M> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if let Some(head) = this.head.take() {
            if this.ends == Ends::Silent && this.body.is_end_stream() {
                this.done = true;
            }
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        while !this.done {
            if !this.piece.is_empty() {
                let length = this.piece.len().min(PIECE);
                let payload = StreamPayload { data: this.piece.split_to(length), seq: this.seq };
                this.seq = this.seq.saturating_add(1);
                return Poll::Ready(Some(encode(&M::of(payload)).map(Frame::data)));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // The wire has no place for trailers.
                Some(Ok(frame)) => this.piece = frame.into_data().unwrap_or_default(),
                Some(Err(failure)) if this.ends == Ends::WithStatus => {
                    return Poll::Ready(this.end(|| status::trailers(&failure)));
                }
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                None => return Poll::Ready(this.end(status::ok)),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}
