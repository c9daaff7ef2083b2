//! Sends a body on an HTTP/2 stream, no faster than the reader takes it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use outrigger_wire::{Body, Cause, Failure};
use tokio::time::{Sleep, sleep};

/// A body on its way; completes when its end, or its failure, has been handed to the stream.
///
/// Holds one piece of the body at a time. Dropped before its end, it resets the stream.
pub(super) struct Pump {
    stream: SendStream<Bytes>,
    body: Body,
    piece: Bytes,
    ended: bool,
    stall: Option<Pin<Box<Sleep>>>,
    stall_after: Duration,
}

/// Why a body did not reach its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Whoever makes the body failed or went away; the stream has been reset.
    Source(Failure),
    /// The reader reset the stream, or took nothing for too long.
    Reader(Failure),
}

impl Pump {
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, stall_after: Duration) -> Self {
        Self { stream, body, piece: Bytes::new(), ended: false, stall: None, stall_after }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        while !self.piece.is_empty() {
            self.stream.reserve_capacity(self.piece.len());
            if self.stream.capacity() == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Stopped::Reader(Failure::from_h2(error)))),
                    Poll::Ready(None) => return Poll::Ready(Err(self.reset_by_reader(cx))),
                    Poll::Pending => return self.poll_stall(cx),
                }
                if self.stream.capacity() == 0 {
                    continue;
                }
            }
            self.stall = None;
            let length = self.stream.capacity().min(self.piece.len());
            let piece = self.piece.split_to(length);
            // Asked once: the answer may change while we look, on a runtime of many threads.
            self.ended = self.piece.is_empty() && self.body.is_end_stream();
            self.stream.send_data(piece, self.ended).map_err(|error| Stopped::Reader(Failure::from_h2(error)))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            return Poll::Ready(Err(Stopped::Reader(reset_failure(reset))));
        }
        let after = self.stall_after;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(after)));
        ready!(stall.as_mut().poll(cx));
        self.stream.send_reset(Reason::CANCEL);
        Poll::Ready(Err(Stopped::Reader(Failure::timeout("reading of a body by the peer", after))))
    }

    fn reset_by_reader(&mut self, cx: &mut Context<'_>) -> Stopped {
        match self.stream.poll_reset(cx) {
            Poll::Ready(reset) => Stopped::Reader(reset_failure(reset)),
            Poll::Pending => Stopped::Reader(Failure::new(Cause::Cancelled)),
        }
    }
}

fn reset_failure(reset: Result<Reason, h2::Error>) -> Failure {
    Failure::from_h2(reset.map_or_else(|error| error, h2::Error::from))
}

impl Future for Pump {
    type Output = Result<(), Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            ready!(this.poll_piece(cx))?;
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.piece = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let sent = this.stream.send_trailers(trailers);
                        return Poll::Ready(sent.map_err(|error| {
                            // Not sent, so nothing has ended the stream yet.
                            this.stream.send_reset(Reason::INTERNAL_ERROR);
                            Stopped::Reader(Failure::from_h2(error))
                        }));
                    }
                },
                Poll::Ready(Some(Err(failure))) => {
                    this.stream.send_reset(reset_reason(&failure));
                    return Poll::Ready(Err(Stopped::Source(failure)));
                }
                Poll::Ready(None) => {
                    let sent = this.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(sent.map_err(|error| Stopped::Reader(Failure::from_h2(error))));
                }
                Poll::Pending => {
                    return match this.stream.poll_reset(cx) {
                        Poll::Ready(reset) => Poll::Ready(Err(Stopped::Reader(reset_failure(reset)))),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}

/// What tells the reader best why the rest will not come.
fn reset_reason(failure: &Failure) -> Reason {
    match failure.cause() {
        Cause::Cancelled | Cause::Reset { .. } | Cause::Refused { .. } => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}
