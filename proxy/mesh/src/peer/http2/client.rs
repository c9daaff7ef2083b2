//! One connection to a peer: many streams, one driver.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection as Codec, SendRequest};
use h2::{Ping, PingPong};
use http::{Request, Response};
use http_body::Body as _;
use outrigger_identity::SpiffeId;
use outrigger_wire::{Body, Cause, Failure, Limits, OnEnd, RetryClass, header};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, timeout};
use tokio_rustls::TlsConnector;

use super::io::{Stream, socket};
use super::pump::{Pump, Stopped};
use crate::Wire;
use crate::peer::coalesce::{Coalesce, Flusher, coalesce};
use crate::peer::{dapr, native};

/// In the count of streams: the connection ends. Far above any count.
const CLOSED: u32 = 1 << 31;

/// An established connection to one replica.
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    streams: Arc<AtomicU32>,
    stall_after: Duration,
    /// What it speaks.
    pub(super) wire: Wire,
    /// Of the Dapr wire: the peer has shown that it takes calls only as one message.
    pub(crate) takes_whole_calls_only: AtomicBool,
    /// Who answered, as its certificate says; `None` without mutual TLS.
    pub(super) peer: Option<SpiffeId>,
    /// TLS version and key exchange; `None` without.
    pub(super) tls: Option<Arc<str>>,
    /// Of the identity it was made under.
    pub(super) generation: u64,
}

/// What runs a connection; ends with it.
pub(super) struct Driver {
    codec: Codec<Coalesce<Stream>, Bytes>,
    flusher: Flusher<Stream>,
    liveness: Liveness,
}

/// One stream counted on a connection until dropped.
pub(super) struct Slot(Arc<AtomicU32>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shakes hands over a fresh TCP connection, both ends proving who they are.
///
/// # Errors
/// `Tls` when either end refuses the other or the peer speaks no wire of ours;
/// `Timeout`.
pub(super) async fn establish(
    stream: TcpStream,
    identity: &outrigger_certs::Identity,
    expected: &SpiffeId,
    endpoint: std::net::SocketAddr,
    limits: &Limits,
) -> Result<(Connection, Driver), Failure> {
    let refused = |reason: String| Failure::new(Cause::Tls { endpoint: endpoint.to_string(), reason });
    let config =
        identity.client_config(expected, &[native::ALPN, dapr::ALPN]).map_err(|error| refused(error.to_string()))?;
    let within = Limits::millis(limits.handshake_timeout_ms);
    let shaking = TlsConnector::from(config).connect(outrigger_certs::server_name(), socket(stream));
    let tls = timeout(within, shaking)
        .await
        .map_err(|_| refused(format!("no handshake within {within:?}")))?
        .map_err(|error| refused(outrigger_certs::handshake_reason(&error)))?;
    let session = tls.get_ref().1;
    // Its choice is part of the handshake, which both ends have signed.
    let wire = match session.alpn_protocol() {
        Some(native::ALPN) => Wire::Native,
        Some(dapr::ALPN) => Wire::Dapr,
        _ => {
            return Err(refused(
                "the peer speaks neither the native wire (outrigger/1) nor the Dapr wire (h2)".to_owned(),
            ));
        }
    };
    let peer = outrigger_certs::peer_identity(session).map_err(|error| refused(error.to_string()))?;
    let facts = outrigger_certs::connection_facts(session).into();
    let proven = Proven { wire, peer: Some(peer), tls: Some(facts), generation: identity.generation };
    begin(Stream::Tls(Box::new(tls)), proven, limits).await
}

/// Begins the Dapr wire over a fresh TCP connection, in clear: nobody proves anything.
///
/// # Errors
/// When the peer does not speak HTTP/2.
pub(super) async fn establish_in_clear(stream: TcpStream, limits: &Limits) -> Result<(Connection, Driver), Failure> {
    let proven = Proven { wire: Wire::Dapr, peer: None, tls: None, generation: 0 };
    begin(Stream::Clear(socket(stream)), proven, limits).await
}

/// What is known of a connection before its first frame.
struct Proven {
    wire: Wire,
    peer: Option<SpiffeId>,
    tls: Option<Arc<str>>,
    generation: u64,
}

async fn begin(stream: Stream, proven: Proven, limits: &Limits) -> Result<(Connection, Driver), Failure> {
    let (io, flusher) = coalesce(stream);
    let (sender, mut codec) = h2::client::Builder::new()
        .initial_window_size(Limits::word(limits.http2_stream_window))
        .initial_connection_window_size(limits.shared_window(limits.peer_streams))
        .max_header_list_size(Limits::word(limits.http2_header_list_bytes))
        .max_send_buffer_size(Limits::size(limits.http2_send_buffer))
        .max_concurrent_reset_streams(Limits::size(limits.http2_pending_resets))
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(Failure::from_h2)?;
    let streams = Arc::new(AtomicU32::new(0));
    let liveness = Liveness::new(codec.ping_pong(), Arc::clone(&streams), limits);
    let connection = Connection {
        sender,
        streams,
        stall_after: Limits::millis(limits.stall_timeout_ms),
        wire: proven.wire,
        takes_whole_calls_only: AtomicBool::new(false),
        peer: proven.peer,
        tls: proven.tls,
        generation: proven.generation,
    };
    Ok((connection, Driver { codec, flusher, liveness }))
}

impl Connection {
    /// Ended for having been idle; takes no stream.
    pub(super) fn is_closed(&self) -> bool {
        self.streams.load(Ordering::Relaxed) >= CLOSED
    }

    /// A place for one stream more; `None` when the connection has as many as it may.
    pub(super) fn take_slot(&self, most: u64) -> Option<Slot> {
        if u64::from(self.streams.fetch_add(1, Ordering::Relaxed)) < most {
            return Some(Slot(Arc::clone(&self.streams)));
        }
        self.streams.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Whether a stream can still be opened: not after `GOAWAY` or a broken connection.
    pub(super) async fn ready(&self) -> Result<SendRequest<Bytes>, Failure> {
        let mut sender = self.sender.clone();
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(Failure::from_h2)?;
        Ok(sender)
    }

    /// Sends a request on `sender` and gives the response, its body still to come.
    ///
    /// The request body is sent by this future until the head has come, and by a
    /// task after that, which ends with the response body. Dropping the future or the
    /// body resets the stream.
    pub(crate) async fn send(
        &self,
        mut sender: SendRequest<Bytes>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        let (head, body) = request.into_parts();
        let ends = body.is_end_stream();
        let (response, stream) = sender.send_request(Request::from_parts(head, ()), ends).map_err(Failure::from_h2)?;
        drop(sender);
        let mut pump = (!ends).then(|| Pump::new(stream, body, self.stall_after));
        let mut response = pin!(response);
        let response = poll_fn(|cx| {
            if let Some(sending) = &mut pump {
                match pin!(sending).poll(cx) {
                    Poll::Ready(Err(Stopped::Source(failure))) => return Poll::Ready(Err(of_the_caller(failure))),
                    // The peer wants no more of it; what it answers says why.
                    Poll::Ready(Ok(()) | Err(Stopped::Reader(_))) => pump = None,
                    Poll::Pending => {}
                }
            }
            response.as_mut().poll(cx).map_err(Failure::from_h2)
        })
        .await?;
        Ok(response.map_with(pump))
    }
}

/// A body that breaks off is its sender's doing: no word against the replica, and nothing
/// that another attempt could mend.
fn of_the_caller(failure: Failure) -> Failure {
    match failure.retry_class() {
        RetryClass::Never => failure,
        RetryClass::NotSent | RetryClass::MaybeSent => Failure::with_source(Cause::Cancelled, failure),
    }
}

/// Turns the codec's response into ours.
trait MapWith {
    fn map_with(self, pump: Option<Pump>) -> Response<Body>;
}

impl MapWith for Response<h2::RecvStream> {
    fn map_with(self, pump: Option<Pump>) -> Response<Body> {
        let length = header::content_length(self.headers());
        let response = self.map(|stream| Body::h2(stream, length));
        let Some(pump) = pump else { return response };
        let sending = tokio::spawn(async move {
            if let Err(stopped) = pump.await {
                tracing::debug!(?stopped, "request body ended early");
            }
        });
        response.map(|body| body.with_on_end(Box::new(Sending(sending.abort_handle()))))
    }
}

/// Ends the sending of a request body with the response body.
struct Sending(AbortHandle);

impl OnEnd for Sending {
    fn data(&mut self, _length: usize) {}

    fn end(self: Box<Self>, _result: Result<(), &Failure>) {}
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Driver {
    /// Runs the connection until it ends, flushing once a wakeup.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        poll_fn(|cx| {
            // The codec first: after a pause of ours the pong may lie unread.
            let ended = pin!(&mut self.codec).poll(cx);
            if let Poll::Ready(result) = self.liveness.poll_over(cx) {
                return Poll::Ready(result);
            }
            match self.flusher.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::new(Cause::Reset { reason: error.to_string() }))),
                _ => ended.map_err(Failure::from_h2),
            }
        })
        .await
    }
}

/// Finds out that a peer is gone though its connection seems to stand: while streams
/// are open, a ping must be answered within one period.
struct Liveness {
    ping_pong: Option<PingPong>,
    streams: Arc<AtomicU32>,
    period: Duration,
    idle: Duration,
    idle_after: Duration,
    ticks: Interval,
    waiting: bool,
}

impl Liveness {
    fn new(ping_pong: Option<PingPong>, streams: Arc<AtomicU32>, limits: &Limits) -> Self {
        let idle_after = Limits::millis(limits.peer_idle_timeout_ms);
        let period = Limits::millis(limits.ping_timeout_ms).min(idle_after);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ping_pong, streams, period, idle: Duration::ZERO, idle_after, ticks, waiting: false }
    }

    fn poll_over(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(ping_pong) = &mut self.ping_pong else { return Poll::Pending };
        if self.waiting && ping_pong.poll_pong(cx).is_ready() {
            self.waiting = false;
        }
        while self.ticks.poll_tick(cx).is_ready() {
            if self.waiting {
                return Poll::Ready(Err(Failure::timeout("answer of the peer to a ping", self.period)));
            }
            if self.streams.load(Ordering::Relaxed) == 0 {
                self.idle += self.period;
                // A stream that comes just now makes the exchange fail, and keeps it.
                let over = self.idle > self.idle_after
                    && self.streams.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
                if over {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.idle = Duration::ZERO;
                self.waiting = ping_pong.send_ping(Ping::opaque()).is_ok();
            }
        }
        Poll::Pending
    }
}
