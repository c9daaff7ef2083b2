//! The reading half of a connection: heads, and bodies by their framing.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::{Frame, SizeHint};
use outrigger_wire::{Cause, Failure, Limits};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use super::chunked::{Chunked, Step};
use super::head::{self, Looked, ResponseHead};

/// Room for a read where a small message is likely.
const SMALL: usize = 8 * 1024;
/// Room for a read in the midst of a large body.
const LARGE: usize = 64 * 1024;
/// `HTTP/1.1 100 Continue`, for a client that waits for it (RFC 9110, section 10.1.1).
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Which end of the connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Role {
    /// Requests of a client.
    Server,
    /// Responses of an app.
    Client,
}

/// How the end of the body is told.
#[derive(Debug)]
pub(in crate::http) enum Framing {
    /// It has ended, or there was none.
    Done,
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// What reads a connection.
#[derive(Debug)]
pub(in crate::http) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    limits: Arc<Limits>,
    role: Role,
    framing: Framing,
    chunked: Chunked,
    looked: Looked,
    /// The other side has ended its half.
    ended: bool,
    /// Nobody may read the rest of the body.
    abandoned: bool,
    /// Of an interim response, what is still to be written before the body is read.
    go_on: &'static [u8],
    /// Waits for the body to end.
    waiting: Option<Waker>,
}

/// Whoever reads holds the lock for one poll; nothing in it can panic halfway.
pub(in crate::http) fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    pub(in crate::http) fn new(half: OwnedReadHalf, buffer: BytesMut, role: Role, limits: Arc<Limits>) -> Self {
        Self {
            half,
            buffer,
            role,
            framing: Framing::Done,
            chunked: chunked(&limits),
            limits,
            looked: Looked::default(),
            ended: false,
            abandoned: false,
            go_on: &[],
            waiting: None,
        }
    }

    /// The socket that is read.
    pub(in crate::http) fn socket(&self) -> &tokio::net::TcpStream {
        self.half.as_ref()
    }

    /// Whether bytes were read that nobody has taken.
    pub(in crate::http) fn has_bytes(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// A request head; `None` when the client ended between two requests.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Request<()>>, Failure>> {
        loop {
            if self.has_bytes()
                && let Some(request) = head::request(&mut self.buffer, &mut self.looked, &self.limits)?
            {
                self.looked = Looked::default();
                return Poll::Ready(Ok(Some(request)));
            }
            if ready!(self.poll_fill(cx, SMALL)).map_err(|error| self.broken_off(&error.to_string()))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// A response head.
    pub(in crate::http) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        loop {
            if self.has_bytes()
                && let Some(response) = head::response(&mut self.buffer, &mut self.looked, &self.limits)?
            {
                self.looked = Looked::default();
                return Poll::Ready(Ok(response));
            }
            if ready!(self.poll_fill(cx, SMALL)).map_err(|error| self.broken_off(&error.to_string()))? == 0 {
                return Poll::Ready(Err(self.broken_off("the connection was closed before the response was whole")));
            }
        }
    }

    /// Says how the body that follows the head is framed; `goes_on` answers an `Expect: 100-continue`
    /// when the body is first asked for.
    pub(in crate::http) fn begin(&mut self, framing: Framing, goes_on: bool) {
        if matches!(framing, Framing::Chunked) {
            self.chunked = chunked(&self.limits);
        }
        self.framing = framing;
        self.go_on = if goes_on { GO_ON } else { &[] };
        self.waiting = None;
    }

    /// The whole body when it is here already, so that nobody need wait for it.
    pub(in crate::http) fn at_hand(&mut self) -> Option<Bytes> {
        let Framing::Length(length) = self.framing else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.buffer.len())?;
        self.framing = Framing::Done;
        self.go_on = &[];
        Some(self.buffer.split_to(length).freeze())
    }

    /// Whether the body has been read to its end.
    pub(in crate::http) fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// What the client is still owed of a `100 Continue` that was begun; nothing more will be sent of one that was not.
    pub(super) fn take_go_on(&mut self) -> &'static [u8] {
        let left = std::mem::take(&mut self.go_on);
        if left.len() == GO_ON.len() { &[] } else { left }
    }

    /// Ends the body where it stands: what is left of it is nobody's.
    pub(super) fn abandon(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        self.abandoned = true;
    }

    /// Drops what is here of a body that nobody has read; whether that was all of it.
    pub(super) fn skip_at_hand(&mut self) -> bool {
        while !self.is_done() {
            match self.take_piece() {
                Ok(Some(Step::Data(_))) => {}
                Ok(Some(Step::Trailers(_) | Step::End)) => self.finish(),
                Ok(Some(Step::More) | None) | Err(_) => return false,
            }
        }
        self.is_done()
    }

    /// Whether the other side has gone while nothing is to be read of it.
    ///
    /// Says nothing while a body is being read: its reader finds out.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_done() {
            self.waiting = Some(cx.waker().clone());
            return false;
        }
        // What is pipelined is read when its turn comes.
        if self.has_bytes() {
            return false;
        }
        matches!(self.poll_fill(cx, SMALL), Poll::Ready(Ok(0) | Err(_)))
    }

    /// The next piece of the body.
    pub(in crate::http) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.abandoned {
            return Poll::Ready(Some(Err(Failure::new(Cause::Cancelled))));
        }
        if self.is_done() {
            return Poll::Ready(None);
        }
        if let Err(failure) = ready!(self.poll_go_on(cx)) {
            return Poll::Ready(Some(Err(failure)));
        }
        loop {
            match self.take_piece() {
                Ok(Some(Step::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Step::Trailers(trailers))) => {
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Step::End)) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(Some(Step::More) | None) => {}
                Err(failure) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(failure)));
                }
            }
            if self.ended {
                return Poll::Ready(Some(Err(self.broken_off("the connection was closed before the body was whole"))));
            }
            let room = match self.framing {
                Framing::Length(left) if left <= SMALL as u64 => SMALL,
                _ => LARGE,
            };
            match ready!(self.poll_fill(cx, room)) {
                Ok(0) if matches!(self.framing, Framing::UntilClose) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken_off(&error.to_string())))),
            }
        }
    }

    /// Takes a piece of the body from what was read.
    fn take_piece(&mut self) -> Result<Option<Step>, Failure> {
        match &mut self.framing {
            Framing::Done => Ok(Some(Step::End)),
            Framing::Chunked => self.chunked.step(&mut self.buffer).map(Some).map_err(|error| match self.role {
                Role::Server => Failure::bad_input("body", "", error.to_string()),
                Role::Client => head::broken(error.to_string()),
            }),
            _ if self.buffer.is_empty() => Ok(None),
            Framing::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= length as u64;
                let piece = self.buffer.split_to(length).freeze();
                if *left == 0 {
                    self.finish();
                }
                Ok(Some(Step::Data(piece)))
            }
            Framing::UntilClose => Ok(Some(Step::Data(self.buffer.split().freeze()))),
        }
    }

    fn finish(&mut self) {
        self.framing = Framing::Done;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn poll_go_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.has_bytes() && self.go_on.len() == GO_ON.len() {
            // It did not wait.
            self.go_on = &[];
        }
        while !self.go_on.is_empty() {
            let socket = self.half.as_ref();
            match socket.try_write(self.go_on) {
                Ok(written) => self.go_on = self.go_on.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = ready!(socket.poll_write_ready(cx)) {
                        return Poll::Ready(Err(self.broken_off(&error.to_string())));
                    }
                }
                Err(error) => return Poll::Ready(Err(self.broken_off(&error.to_string()))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; the number of bytes, 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.buffer.capacity() - self.buffer.len() < SMALL / 2 {
            self.buffer.reserve(room);
        }
        let read = ready!(pin!(self.half.read_buf(&mut self.buffer)).poll(cx));
        Poll::Ready(read.inspect(|read| self.ended = *read == 0))
    }

    /// Whether an idle connection can take another request: nothing has come on it, not even its end.
    pub(in crate::http) fn is_quiet(&mut self) -> bool {
        if self.ended || self.has_bytes() {
            return false;
        }
        // A task that has used up its budget must not take a closed connection for an idle one.
        let look = tokio::task::unconstrained(poll_fn(|cx| self.poll_fill(cx, SMALL)));
        pin!(look).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Bytes left by the body's own length.
    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Done => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    fn broken_off(&self, reason: &str) -> Failure {
        match self.role {
            Role::Server => Failure::new(Cause::Cancelled),
            Role::Client => Failure::new(Cause::Reset { reason: reason.to_owned() }),
        }
    }
}

fn chunked(limits: &Limits) -> Chunked {
    Chunked::new(Limits::size(limits.http1_headers), Limits::size(limits.http1_header_bytes))
}

/// A request's body, read as it is asked for.
#[derive(Debug)]
pub(super) struct Incoming(pub(super) Arc<Mutex<Reader>>);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        lock(&self.0).poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_done()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).size_hint()
    }
}

/// Reads and drops what still comes, so that a close does not take back the answer.
pub(super) async fn discard(reader: &Mutex<Reader>, most: usize) {
    let mut dropped = 0;
    while dropped < most {
        let read = poll_fn(|cx| {
            let mut reader = lock(reader);
            reader.ended = false;
            reader.buffer.clear();
            reader.poll_fill(cx, SMALL)
        });
        match read.await {
            Ok(0) | Err(_) => return,
            Ok(read) => dropped += read,
        }
    }
}
