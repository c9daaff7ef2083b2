//! The writing half of a connection: what is at hand leaves in one write.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use outrigger_wire::{Body, Failure, header};
use tokio::io::AsyncWrite as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::date;
use super::head::content_length;

/// A piece of a body up to this size is copied behind what waits; a larger one is written from where it is.
const COPIED: usize = 8 * 1024;
/// What waits may grow to this before it is written.
const GATHERED: usize = 16 * 1024;

/// How the body being written says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Encoding {
    /// There is none.
    Empty,
    /// So many bytes are still to be written.
    Length(u64),
    /// In chunks; whether the reader takes trailers.
    Chunked {
        /// Trailers may follow.
        trailers: bool,
    },
    /// With the connection.
    UntilClose,
}

/// What writes a connection.
#[derive(Debug)]
pub(in crate::http) struct Writer {
    half: OwnedWriteHalf,
    /// Waits to be written, from `written` on; then `piece`, then `tail`.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
    encoding: Encoding,
    /// Bytes that have gone out on the connection since it was made.
    sent: usize,
}

/// The body was not as long as its head had said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct WrongLength;

impl Writer {
    pub(in crate::http) fn new(half: OwnedWriteHalf) -> Self {
        let (out, piece, tail) = (Vec::with_capacity(1_024), Bytes::new(), &[][..]);
        Self { half, out, written: 0, piece, tail, encoding: Encoding::Empty, sent: 0 }
    }

    /// Bytes that the kernel has taken since the last request was begun.
    pub(in crate::http) const fn sent(&self) -> usize {
        self.sent
    }

    /// Whether everything has been handed to the kernel.
    pub(in crate::http) fn is_flushed(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Writes these bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A request head, with the framing that its body needs.
    ///
    /// # Errors
    /// `BadInput` when the head gives the body's length in two ways.
    pub(in crate::http) fn request(&mut self, head: &Parts, exact: Option<u64>, upgrade: bool) -> Result<(), Failure> {
        self.out.clear();
        (self.written, self.sent, self.piece, self.tail) = (0, 0, Bytes::new(), &[]);
        let given = content_length(&head.headers)?;
        let may_have_none = !matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
        self.encoding = match (given, exact) {
            _ if upgrade => Encoding::UntilClose,
            (Some(length), _) => Encoding::Length(length),
            (None, Some(0)) => Encoding::Empty,
            (None, Some(length)) => Encoding::Length(length),
            (None, None) => Encoding::Chunked { trailers: true },
        };
        self.raw(head.method.as_str().as_bytes());
        self.raw(b" ");
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        if !target.starts_with(['/', '*']) {
            // A target that came as `http://host?query` has no path of its own.
            self.raw(b"/");
        }
        self.raw(target.as_bytes());
        self.raw(b" HTTP/1.1\r\n");
        for (name, value) in &head.headers {
            if !matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION | UPGRADE) {
                self.field(name.as_str(), value.as_bytes());
            }
        }
        match self.encoding {
            Encoding::Length(length) => self.length(length),
            Encoding::Empty if !may_have_none => self.length(0),
            Encoding::Chunked { .. } => self.field("transfer-encoding", b"chunked"),
            Encoding::Empty | Encoding::UntilClose => {}
        }
        if upgrade {
            self.field("connection", b"upgrade");
            for protocol in head.headers.get_all(UPGRADE) {
                self.field("upgrade", protocol.as_bytes());
            }
        }
        self.raw(b"\r\n");
        Ok(())
    }

    /// A response head, with the framing that its body needs; gives whether the connection can go on.
    pub(super) fn response(&mut self, response: &Response<Body>, asked: &Asked, keep: bool) -> bool {
        let (status, headers) = (response.status(), response.headers());
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let given = content_length(headers).unwrap_or_default();
        let exact = response.body().size_hint().exact();
        let without = asked.head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        self.encoding = match (given, exact) {
            _ if switches => Encoding::UntilClose,
            _ if without => Encoding::Empty,
            (Some(length), _) | (None, Some(length)) => Encoding::Length(length),
            (None, None) if asked.version == Version::HTTP_11 => Encoding::Chunked { trailers: asked.trailers },
            (None, None) => Encoding::UntilClose,
        };
        let keep = keep && self.encoding != Encoding::UntilClose;
        self.raw(if asked.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        self.raw(status.as_str().as_bytes());
        self.raw(b" ");
        self.raw(status.canonical_reason().unwrap_or("<none>").as_bytes());
        self.raw(b"\r\n");
        for (name, value) in headers {
            let frames = matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION)
                || *name == UPGRADE && !switches
                || *name == TRAILER && !matches!(self.encoding, Encoding::Chunked { trailers: true });
            if !frames {
                self.field(name.as_str(), value.as_bytes());
            }
        }
        match self.encoding {
            Encoding::Length(length) => self.length(length),
            Encoding::Chunked { .. } => self.field("transfer-encoding", b"chunked"),
            // What GET would have got (RFC 9110, section 8.6); nothing with 204.
            Encoding::Empty if status != StatusCode::NO_CONTENT => {
                let exact = exact.filter(|length| *length > 0 && asked.head);
                if let Some(length) = given.or(exact) {
                    self.length(length);
                }
            }
            Encoding::Empty | Encoding::UntilClose => {}
        }
        if switches {
            self.field("connection", b"upgrade");
        } else if !keep {
            self.field("connection", b"close");
        } else if asked.version == Version::HTTP_10 {
            self.field("connection", b"keep-alive");
        }
        if !headers.contains_key(DATE) {
            self.raw(b"date: ");
            date::write(&mut self.out);
            self.raw(b"\r\n");
        }
        self.raw(b"\r\n");
        keep
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.raw(name.as_bytes());
        self.raw(b": ");
        self.raw(value);
        self.raw(b"\r\n");
    }

    fn length(&mut self, length: u64) {
        // Writing to memory cannot fail.
        let _infallible = write!(self.out, "content-length: {length}\r\n");
    }

    /// Whether the body needs no more than was written of it.
    pub(in crate::http) fn is_whole(&self) -> bool {
        matches!(self.encoding, Encoding::Empty | Encoding::Length(0))
    }

    /// Whether only the connection's end tells the body's.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.encoding == Encoding::UntilClose
    }

    /// A piece of the body, or its trailers. Call when [`poll_room`](Self::poll_room) was ready.
    ///
    /// # Errors
    /// When the body is longer than its head said: the connection must end.
    pub(in crate::http) fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), WrongLength> {
        match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    self.trailers(&mut trailers);
                }
                Ok(())
            }
        }
    }

    fn data(&mut self, data: Bytes) -> Result<(), WrongLength> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.encoding {
            // A body for HEAD is made by some handlers, and dropped.
            Encoding::Empty => return Ok(()),
            Encoding::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?,
            Encoding::Chunked { .. } => {
                // Writing to memory cannot fail.
                let _infallible = write!(self.out, "{:x}\r\n", data.len());
                self.tail = b"\r\n";
            }
            Encoding::UntilClose => {}
        }
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(std::mem::take(&mut self.tail));
        } else {
            self.piece = data;
        }
        Ok(())
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        if let Encoding::Chunked { trailers: taken } = self.encoding {
            header::strip_trailers(trailers);
            self.raw(b"0\r\n");
            if taken {
                for (name, value) in &*trailers {
                    self.field(name.as_str(), value.as_bytes());
                }
            }
            self.raw(b"\r\n");
            self.encoding = Encoding::Empty;
        }
    }

    /// The end of the body.
    ///
    /// # Errors
    /// When the body is shorter than its head said: the connection must end.
    pub(in crate::http) fn end(&mut self) -> Result<(), WrongLength> {
        match self.encoding {
            Encoding::Length(1..) => return Err(WrongLength),
            Encoding::Chunked { .. } => self.raw(b"0\r\n\r\n"),
            Encoding::Empty | Encoding::Length(0) | Encoding::UntilClose => {}
        }
        self.encoding = Encoding::Empty;
        Ok(())
    }

    /// Ready when another piece may be given.
    pub(in crate::http) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.piece.is_empty() && self.tail.is_empty() && self.out.len() < GATHERED {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    /// Writes all that waits.
    pub(in crate::http) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            let first = self.out.get(self.written..).unwrap_or_default();
            let slices = [IoSlice::new(first), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            let half = Pin::new(&mut self.half);
            let mut written = ready!(if self.piece.is_empty() && self.tail.is_empty() {
                half.poll_write(cx, first)
            } else {
                half.poll_write_vectored(cx, &slices)
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(written);
            let of_first = written.min(first.len());
            self.written += of_first;
            written -= of_first;
            let of_piece = written.min(self.piece.len());
            bytes::Buf::advance(&mut self.piece, of_piece);
            self.tail = self.tail.get(written - of_piece..).unwrap_or_default();
        }
        self.out.clear();
        self.written = 0;
        // A burst grows the buffer; an idle connection need not keep it.
        self.out.shrink_to(GATHERED);
        Poll::Ready(Ok(()))
    }

    /// Ends our half of the connection, after all that waits.
    pub(in crate::http) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.half).poll_shutdown(cx)
    }
}

/// What of a request matters to how its response is written.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) head: bool,
    pub(super) version: Version,
    /// It takes trailers (RFC 9110, section 10.1.4).
    pub(super) trailers: bool,
}
