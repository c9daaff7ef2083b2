//! The app: it keeps what it is asked and answers by path.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_wire::{Body, Failure};

/// Shared by the app and the test.
#[derive(Clone, Default)]
pub(crate) struct App {
    asked: Arc<Mutex<Vec<Parts>>>,
    cancelled: Arc<AtomicUsize>,
}

impl App {
    /// The head of the last request that reached the app.
    pub(crate) fn last(&self) -> Parts {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// Whether nothing has reached the app.
    pub(crate) fn is_untouched(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }

    /// Requests that were given up while the app worked on them.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service for App {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        self.asked.lock().unwrap().push(head);
        let mut response = Response::new(Body::empty());
        match path.as_str() {
            "/hang" | "/svc/Hang" => {
                let _working = Working(&self.cancelled);
                std::future::pending::<()>().await;
            }
            "/teapot" => *response.status_mut() = StatusCode::IM_A_TEAPOT,
            "/cookies" => {
                response.headers_mut().append("set-cookie", HeaderValue::from_static("a=1"));
                response.headers_mut().append("set-cookie", HeaderValue::from_static("b=2"));
                response.headers_mut().append("outrigger-policy", HeaderValue::from_static("forged"));
            }
            "/svc/None" => {
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
                response.headers_mut().insert("grpc-message", HeaderValue::from_static("no such order"));
            }
            "/svc/Stall" => {
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                let head =
                    futures_util::stream::once(async { Ok(http_body::Frame::data(Bytes::from_static(b"part"))) });
                let body = futures_util::StreamExt::chain(head, futures_util::stream::pending());
                *response.body_mut() = Body::boxed(StreamBody::new(body));
            }
            grpc if grpc.starts_with("/svc/") => {
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let trailers = async move { Some(Ok::<_, Failure>(trailers)) };
                *response.body_mut() = Body::boxed(body.with_trailers(trailers));
            }
            _ => *response.body_mut() = body,
        }
        response
    }
}
