//! The callee's end of a connection: every stream in one task, one flush a wakeup.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use http_body::Body as _;
use outrigger_wire::{Body, Failure, Limits, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::pump::{Pump, Stopped};
use crate::drain;
use crate::peer::coalesce::coalesce;

/// What answers the streams of a connection.
pub(crate) trait Handler: Sync {
    /// Answers one request; every failure is a response. Dropped when the caller resets the stream.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves one connection until it ends; after the drain has started, until its open streams have.
///
/// # Errors
/// When the peer breaks HTTP/2 or the connection breaks.
pub(crate) async fn serve<S, H>(stream: S, handler: &H, limits: &Limits, mut drain: drain::Watch) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let (io, flusher) = coalesce(stream);
    let within = Limits::millis(limits.handshake_timeout_ms);
    let shaking = h2::server::Builder::new()
        .initial_window_size(Limits::word(limits.http2_stream_window))
        .initial_connection_window_size(limits.shared_window(limits.peer_streams))
        .max_header_list_size(Limits::word(limits.http2_header_list_bytes))
        .max_send_buffer_size(Limits::size(limits.http2_send_buffer))
        .max_concurrent_streams(Limits::word(limits.peer_streams))
        .max_pending_accept_reset_streams(Limits::size(limits.http2_pending_resets))
        .max_concurrent_reset_streams(Limits::size(limits.http2_pending_resets))
        .handshake::<_, Bytes>(io);
    let mut connection = timeout(within, shaking)
        .await
        .map_err(|_| Failure::timeout("HTTP/2 preface of the peer", within))?
        .map_err(Failure::from_h2)?;

    let stall_after = Limits::millis(limits.stall_timeout_ms);
    let mut streams = FuturesUnordered::new();
    let mut draining = pin!(drain.draining());
    let mut lame = false;
    poll_fn(|cx| {
        if !lame && draining.as_mut().poll(cx).is_ready() {
            lame = true;
            connection.graceful_shutdown();
        }
        let ended = loop {
            // Streams first: what they answer is then written in the same wakeup.
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    streams.push(one(request, respond, handler, stall_after));
                }
                Poll::Ready(Some(Err(error))) => break Some(Err(Failure::from_h2(error))),
                Poll::Ready(None) => break Some(Ok(())),
                Poll::Pending => break None,
            }
        };
        if let Poll::Ready(Err(error)) = flusher.poll_flush(cx) {
            let reason = error.to_string();
            return Poll::Ready(Err(Failure::with_source(outrigger_wire::Cause::Reset { reason }, error)));
        }
        ended.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// One stream, from its head to the end of its answer or its reset.
async fn one<H: Handler>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    handler: &H,
    stall_after: Duration,
) {
    let length = header::content_length(request.headers());
    let request = request.map(|stream| Body::h2(stream, length));
    let response = {
        let mut answering = pin!(handler.handle(request));
        poll_fn(|cx| {
            if respond.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            answering.as_mut().poll(cx).map(Some)
        })
        .await
    };
    let Some(response) = response else { return };
    let (head, body) = response.into_parts();
    let ends = body.is_end_stream();
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), ends) else { return };
    if ends {
        return;
    }
    if let Err(Stopped::Source(failure) | Stopped::Reader(failure)) = Pump::new(stream, body, stall_after).await {
        tracing::debug!(%failure, "response body ended early");
    }
}
