//! Requests, and bodies that come as a case wants them.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use outrigger_wire::{Body, Failure};
use tokio::sync::{mpsc, watch};

use crate::wait::within;

type Piece = Result<Frame<Bytes>, Failure>;

pub(crate) fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, Body::empty())
}

pub(crate) fn post(path: &str, body: Body) -> Request<Body> {
    request("POST", path, body)
}

/// The whole body of a response.
pub(crate) async fn read(response: Response<Body>) -> Bytes {
    within("the end of a body", response.into_body().collect()).await.unwrap().to_bytes()
}

/// The next piece of a response; `None` at its end.
pub(crate) async fn next(response: &mut Response<Body>) -> Option<Bytes> {
    let frame = within("a piece of a body", response.body_mut().frame()).await?;
    Some(frame.unwrap().into_data().unwrap())
}

/// A body of these pieces, of a length that nobody knows before its end.
pub(crate) fn pieces<const N: usize>(pieces: [Piece; N]) -> Body {
    Body::boxed(StreamBody::new(stream::iter(pieces)))
}

/// One piece of data.
pub(crate) fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// A body of one `x`, and these trailers after it.
pub(crate) fn with_trailers<const N: usize>(fields: [(&'static str, &'static str); N]) -> Body {
    let fields = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    pieces([data("x"), Ok(Frame::trailers(HeaderMap::from_iter(fields)))])
}

/// Writes a body piece by piece; dropping it ends the body.
pub(crate) struct Writer(mpsc::Sender<Piece>);

impl Writer {
    pub(crate) fn body() -> (Self, Body) {
        let (writer, written) = mpsc::channel(1);
        let written =
            stream::unfold(written, |mut written| async { written.recv().await.map(|piece| (piece, written)) });
        (Self(writer), Body::boxed(StreamBody::new(written)))
    }

    pub(crate) async fn write(&self, text: &'static str) {
        self.0.send(data(text)).await.unwrap();
    }
}

/// Bodies without an end, and how much of them was taken.
pub(crate) struct Flood(watch::Sender<u64>);

impl Default for Flood {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Flood {
    /// Bytes of one piece.
    const PIECE: usize = 16 * 1024;

    pub(crate) fn body(&self) -> Body {
        let taken = self.0.clone();
        Body::boxed(StreamBody::new(stream::repeat_with(move || {
            taken.send_modify(|taken| *taken += Self::PIECE as u64);
            Ok(Frame::data(Bytes::from_static(&[7; Self::PIECE])))
        })))
    }

    /// Waits until that many bodies have filled their streams' windows, and each has one piece
    /// more waiting: nothing moves until a reader does.
    pub(crate) async fn stalled(&self, bodies: u64, window: u64) {
        let all = bodies * (window + Self::PIECE as u64);
        within("bodies that fill their windows", self.0.subscribe().wait_for(|taken| *taken >= all)).await.unwrap();
    }
}
