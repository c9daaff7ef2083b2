//! `--max-body-size`: the largest request body that the HTTP API takes.
//!
//! Bodies stream, so this bounds what one request may send and not memory. A
//! length that is announced is refused before anything is read; a body without
//! one is cut at the bound. gRPC has no such bound: a stream has no size.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_wire::{Body, Failure, Limit};

/// A service whose requests have bodies of bounded length.
pub(crate) struct BodyLimit<S> {
    inner: S,
    limit: Option<Limit>,
}

impl<S> BodyLimit<S> {
    /// At most `bytes` a body; 0 sets no bound, as in stock.
    pub(crate) fn new(inner: S, bytes: u64) -> Self {
        let limit = (bytes != 0).then_some(Limit { name: "max-body-size", value: bytes });
        BodyLimit { inner, limit }
    }
}

impl<S: Service> Service for BodyLimit<S> {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        let Some(limit) = self.limit else {
            return self.inner.call(connection, request).await;
        };
        let size = request.body().size_hint();
        if size.lower() > limit.value {
            self.inner.limit_exceeded(limit.name);
            let mut refused = self.inner.refuse(&Failure::limit(limit));
            *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return refused;
        }
        if size.exact().is_some() {
            return self.inner.call(connection, request).await;
        }
        let bounded = request.map(|body| Body::boxed(Bounded { body, limit, left: limit.value }));
        self.inner.call(connection, bounded).await
    }

    fn refuse(&self, failure: &Failure) -> Response<Body> {
        self.inner.refuse(failure)
    }

    fn limit_exceeded(&self, name: &'static str) {
        self.inner.limit_exceeded(name);
    }
}

/// A body that fails past its bound.
struct Bounded {
    body: Body,
    limit: Limit,
    left: u64,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(sent) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(Failure::limit(self.limit)))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    /// Answers with the length of the body, or with what broke it off.
    struct Length;

    impl Service for Length {
        async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
            let text = match request.into_body().collect().await {
                Ok(body) => body.to_bytes().len().to_string(),
                Err(failure) => failure.to_string(),
            };
            Response::new(Body::from(text))
        }
    }

    fn chunks(sizes: &[usize]) -> Body {
        let frames: Vec<_> =
            sizes.iter().map(|size| Ok::<_, Failure>(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
        Body::boxed(StreamBody::new(tokio_stream::iter(frames)))
    }

    async fn answer(limit: u64, body: Body) -> (StatusCode, String) {
        let connection = Connection { peer: "127.0.0.1:1".parse().unwrap(), listener: "http" };
        let response = BodyLimit::new(Length, limit).call(&connection, Request::new(body)).await;
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&text).into_owned())
    }

    #[tokio::test]
    async fn an_announced_length_past_the_bound_is_refused_at_once() {
        let (status, text) = answer(4, Body::full("12345")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("max-body-size"), "{text}");
        assert_eq!(answer(5, Body::full("12345")).await, (StatusCode::OK, "5".to_owned()));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_cut_at_the_bound() {
        assert_eq!(answer(6, chunks(&[3, 3])).await, (StatusCode::OK, "6".to_owned()));
        let (_, text) = answer(6, chunks(&[3, 3, 1])).await;
        assert!(text.contains("max-body-size"), "{text}");
    }

    #[tokio::test]
    async fn zero_sets_no_bound() {
        assert_eq!(answer(0, chunks(&[100, 100])).await, (StatusCode::OK, "200".to_owned()));
    }
}
