//! Serving HTTP/1.1 and HTTP/2 in clear on one port, told apart by the preface.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode, Version as HttpVersion};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::net::TcpStream;

use super::edge::{Clock, Edge, Open, OpenRequest, Version};
use super::{head, http1};
use crate::drain;
use crate::listener::{Listener, serve_each};

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request; every failure is a response.
    ///
    /// Dropped when the client goes away.
    fn call(&self, connection: &Connection, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;

    /// The response for a head that was refused before [`Service::call`].
    fn refuse(&self, failure: &Failure) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("{failure}\n")));
        *response.status_mut() = refusal_status(failure);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    /// Told of each bound met here, for its counter.
    fn limit_exceeded(&self, _name: &'static str) {}
}

/// A client's connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Name of the listener it came in by.
    pub listener: &'static str,
}

/// The HTTP status of a refused head: the bound's own where HTTP has one.
pub fn refusal_status(failure: &Failure) -> StatusCode {
    match failure.cause() {
        Cause::Limit { name: "path_bytes", .. } => StatusCode::URI_TOO_LONG,
        Cause::Limit { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => failure.http(),
    }
}

/// Serves connections of `listener` until the drain starts, then lets the open ones
/// finish: HTTP/1 connections close after their request, HTTP/2 ones get `GOAWAY`.
///
/// Returns when the last connection has ended; dropping the future cuts them.
pub async fn serve<S: Service>(listener: Listener, service: Arc<S>, limits: Arc<Limits>, drain: drain::Watch) {
    let (limit, name) = (limits.connections, listener.name());
    let watch = drain.clone();
    let full = || service.limit_exceeded("connections");
    serve_each(listener, limit, drain, full, |socket, peer| {
        let connection = Connection { peer, listener: name };
        one(socket, connection, Arc::clone(&service), Arc::clone(&limits), watch.clone())
    })
    .await;
}

async fn one<S: Service>(
    socket: TcpStream,
    connection: Connection,
    service: Arc<S>,
    limits: Arc<Limits>,
    mut drain: drain::Watch,
) {
    let clock = Clock {
        header: Limits::millis(limits.header_timeout_ms),
        idle: Limits::millis(limits.idle_timeout_ms),
        stall: Limits::millis(limits.stall_timeout_ms),
    };
    let open = Open::default();
    let detected = tokio::select! {
        detected = Edge::detect(socket, clock, open.clone()) => detected,
        () = drain.draining() => return,
    };
    let peer = connection.peer;
    let Ok((edge, version)) = detected else {
        tracing::debug!(%peer, listener = connection.listener, "client ended before its first request");
        return;
    };
    if version == Version::Http1 {
        let (socket, read_ahead) = edge.into_parts();
        let served = http1::Served { socket, read_ahead, limits };
        if let Err(failure) = http1::serve(served, &connection, &*service, &drain).await {
            tracing::debug!(%peer, %failure, "client connection ended");
        }
        return;
    }
    let connection = Arc::new(connection);
    let answer = {
        let limits = Arc::clone(&limits);
        service_fn(move |request: Request<Incoming>| {
            let (service, connection, limits) = (Arc::clone(&service), Arc::clone(&connection), Arc::clone(&limits));
            let open = open.enter();
            async move { Ok::<_, Infallible>(answer(&*service, &connection, request, &limits, open).await) }
        })
    };
    let mut builder = http2::Builder::new(Tasks(drain.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(Limits::word(limits.http2_streams))
        .initial_stream_window_size(Limits::word(limits.http2_stream_window))
        .initial_connection_window_size(Limits::word(limits.http2_connection_window))
        .max_send_buf_size(Limits::size(limits.http2_send_buffer))
        .max_header_list_size(Limits::word(limits.http2_header_list_bytes))
        .max_pending_accept_reset_streams(Limits::size(limits.http2_pending_resets))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Limits::millis(limits.ping_timeout_ms));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(edge), answer));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = drain.draining() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = %Failure::from_hyper(error), "client connection ended");
    }
}

async fn answer<S: Service>(
    service: &S,
    connection: &Connection,
    request: Request<Incoming>,
    limits: &Limits,
    open: OpenRequest,
) -> Response<Responding> {
    let mut response = match head::check(&request, limits) {
        Ok(()) => service.call(connection, request.map(Body::from)).await,
        Err(failure) => {
            if let Cause::Limit { name, .. } = failure.cause() {
                service.limit_exceeded(name);
            }
            service.refuse(&failure)
        }
    };
    *response.version_mut() = HttpVersion::HTTP_2;
    response.map(|body| Responding { body, _open: open })
}

/// A response body, and with it the request it ends.
struct Responding {
    body: Body,
    _open: OpenRequest,
}

impl http_body::Body for Responding {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the tasks that hyper needs for HTTP/2 streams; each holds the drain open.
#[derive(Clone)]
struct Tasks(drain::Watch);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let watch = self.0.clone();
        // A stream's task ends with its connection, which the JoinSet above owns.
        tokio::spawn(async move {
            task.await;
            drop(watch);
        });
    }
}
