//! One HTTP/1.1 connection of a client, from its first request to its last.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, EXPECT, TE};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body as _;
use outrigger_wire::{Body, Cause, Failure, Limits};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout};

use super::head::{content_length, is_chunked, keeps_alive, names};
use super::reader::{Framing, Incoming, Reader, Role, discard, lock};
use super::writer::{Asked, Writer};
use crate::drain;
use crate::http::head::check;
use crate::http::server::{Connection, Service};

/// After an answer that ends the connection, how long and how much is still read and dropped: a
/// close with bytes unread would take the answer back.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// A client's connection, with what was read of it already.
pub(in crate::http) struct Served {
    pub(in crate::http) socket: TcpStream,
    pub(in crate::http) read_ahead: BytesMut,
    pub(in crate::http) limits: Arc<Limits>,
}

/// Serves a connection until either side ends it.
///
/// After the drain has started the request under way is the last; an idle connection ends at once.
///
/// # Errors
/// `Cancelled` when the client went away, `Timeout` when it took too long, or what its bytes broke.
pub(in crate::http) async fn serve<S: Service>(
    served: Served,
    connection: &Connection,
    service: &S,
    drain: &drain::Watch,
) -> Result<(), Failure> {
    let Served { socket, read_ahead, limits } = served;
    let (read, write) = socket.into_split();
    let reader = Reader::new(read, read_ahead, Role::Server, Arc::clone(&limits));
    let mut client = Client {
        reader: Arc::new(Mutex::new(reader)),
        writer: Writer::new(write),
        limits,
        reading: Alarm::default(),
        stall: Stall::default(),
    };
    let mut watch = drain.clone();
    let mut draining = pin!(watch.draining());
    loop {
        let request = match client.next_request(draining.as_mut()).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(failure) => return client.refuse(service, &failure).await,
        };
        let (asked, body, mut keep) = match client.admit(&request) {
            Ok(admitted) => admitted,
            Err(failure) => return client.refuse(service, &failure).await,
        };
        let request = request.map(|()| body);
        let Some(mut response) = client.answer(service, connection, request).await else {
            return Err(Cause::Cancelled.into());
        };
        if response.status().is_informational() {
            return Err(Failure::internal("an interim response in place of an answer"));
        }
        keep = keep && !drain.is_draining() && !names(response.headers(), &CONNECTION, b"close");
        let unread = {
            let mut reader = lock(&client.reader);
            client.writer.raw(reader.take_go_on());
            !reader.is_done()
        };
        // Whether the body of a client that expects `100 Continue` still comes is not to be known.
        keep = keep && !(unread && asked.expects);
        keep = client.writer.response(&response, &asked.of_response, keep);
        client.send(response.body_mut()).await?;
        drop(response);
        let read = lock(&client.reader).skip_at_hand();
        if !read {
            lock(&client.reader).abandon();
        }
        if !(read && keep) {
            return client.close().await;
        }
    }
}

/// What of a request is to be remembered for its answer.
struct Admitted {
    of_response: Asked,
    expects: bool,
}

struct Client {
    reader: Arc<Mutex<Reader>>,
    writer: Writer,
    limits: Arc<Limits>,
    reading: Alarm,
    stall: Stall,
}

impl Client {
    /// The next request's head; `None` when there will be none.
    async fn next_request(
        &mut self,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Request<()>>, Failure> {
        let (mut idle_since, mut head_since) = (None, None);
        let (header, idle) =
            (Limits::millis(self.limits.header_timeout_ms), Limits::millis(self.limits.idle_timeout_ms));
        poll_fn(|cx| {
            let mut reader = lock(&self.reader);
            if let Poll::Ready(request) = reader.poll_request(cx) {
                return Poll::Ready(request);
            }
            let partial = reader.has_bytes();
            drop(reader);
            if !partial && draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            let (since, within) = if partial { (&mut head_since, header) } else { (&mut idle_since, idle) };
            let deadline = *since.get_or_insert_with(Instant::now) + within;
            self.reading.poll_at(deadline, cx).map(|()| {
                // Nobody waits for an answer to half a head.
                if partial {
                    tracing::debug!("a header section did not come within {within:?}")
                }
                Ok(None)
            })
        })
        .await
    }

    /// Checks a head, and begins the body that it announces.
    fn admit(&self, request: &Request<()>) -> Result<(Admitted, Body, bool), Failure> {
        check(request, &self.limits)?;
        let (headers, version) = (request.headers(), request.version());
        let framing = match (is_chunked(headers)?, content_length(headers)?) {
            (true, _) => Framing::Chunked,
            (false, None | Some(0)) => Framing::Done,
            (false, Some(length)) => Framing::Length(length),
        };
        let expects = version == Version::HTTP_11 && names(headers, &EXPECT, b"100-continue");
        let of_response = Asked { head: request.method() == Method::HEAD, version, trailers: takes_trailers(headers) };
        let mut reader = lock(&self.reader);
        reader.begin(framing, expects);
        let body = match reader.at_hand() {
            Some(bytes) => Body::full(bytes),
            None if reader.is_done() => Body::empty(),
            None => Body::boxed(Incoming(Arc::clone(&self.reader))),
        };
        Ok((Admitted { of_response, expects }, body, keeps_alive(version, headers)))
    }

    /// The service's answer; `None` when the client went away before.
    async fn answer<S: Service>(
        &self,
        service: &S,
        connection: &Connection,
        request: Request<Body>,
    ) -> Option<Response<Body>> {
        let mut answering = pin!(service.call(connection, request));
        poll_fn(|cx| {
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            if lock(&self.reader).poll_gone(cx) { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Sends what waits and the body, no faster than the client takes it; what is at hand goes at once.
    async fn send(&mut self, body: &mut Body) -> Result<(), Failure> {
        let within = Limits::millis(self.limits.stall_timeout_ms);
        let mut ended = false;
        let sent = poll_fn(|cx| {
            loop {
                match self.writer.poll_room(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Cause::Cancelled.into())),
                    Poll::Pending => return self.stall.poll_over(self.writer.sent(), within, cx).map(Err),
                }
                if ended {
                    break;
                }
                if self.writer.is_whole() {
                    ended = true;
                    break;
                }
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if self.writer.frame(frame).is_err() {
                            return Poll::Ready(Err(wrong_length()));
                        }
                    }
                    Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
                    Poll::Ready(None) => {
                        if self.writer.end().is_err() {
                            return Poll::Ready(Err(wrong_length()));
                        }
                        ended = true;
                    }
                    Poll::Pending => break,
                }
            }
            match self.writer.poll_flush(cx) {
                Poll::Ready(Ok(())) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.stall.forget(),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cause::Cancelled.into())),
                Poll::Pending => {
                    if let Poll::Ready(failure) = self.stall.poll_over(self.writer.sent(), within, cx) {
                        return Poll::Ready(Err(failure));
                    }
                }
            }
            if lock(&self.reader).poll_gone(cx) { Poll::Ready(Err(Cause::Cancelled.into())) } else { Poll::Pending }
        })
        .await;
        if sent.is_err() && self.writer.ends_with_connection() {
            // Only a reset tells such a reader that this was not the end.
            let reader = lock(&self.reader);
            let _closes_anyway = SockRef::from(reader.socket()).set_linger(Some(Duration::ZERO));
        }
        self.stall.forget();
        sent
    }

    /// Answers what cannot be taken for a request, and ends the connection: what follows cannot be trusted to be one.
    async fn refuse<S: Service>(&mut self, service: &S, failure: &Failure) -> Result<(), Failure> {
        if matches!(failure.cause(), Cause::Cancelled) {
            return Err(failure.clone());
        }
        if let Cause::Limit { name, .. } = failure.cause() {
            service.limit_exceeded(name);
        }
        let mut response = service.refuse(failure);
        let asked = Asked { head: false, version: Version::HTTP_11, trailers: false };
        self.writer.response(&response, &asked, false);
        self.send(response.body_mut()).await?;
        self.close().await
    }

    /// Ends the connection so that the last answer arrives.
    async fn close(&mut self) -> Result<(), Failure> {
        let closing = async {
            if poll_fn(|cx| self.writer.poll_shutdown(cx)).await.is_ok() {
                discard(&self.reader, LINGER_BYTES).await;
            }
        };
        // Whoever still sends then has had its time.
        let _late = timeout(LINGER, closing).await;
        Ok(())
    }
}

fn wrong_length() -> Failure {
    Failure::internal("a response body was not as long as its Content-Length said")
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && names(headers, &TE, b"trailers")
}

/// A timer that is made when first needed, and moved only when it must ring earlier.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll_at(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, which has ended in time.
            sleep.as_mut().reset(deadline);
        }
    }
}

/// Notices a client that takes nothing of what is written.
#[derive(Default)]
struct Stall {
    alarm: Alarm,
    since: Option<(Instant, usize)>,
}

impl Stall {
    fn poll_over(&mut self, sent: usize, within: Duration, cx: &mut Context<'_>) -> Poll<Failure> {
        let since = match self.since {
            Some((since, before)) if before == sent => since,
            _ => Instant::now(),
        };
        self.since = Some((since, sent));
        self.alarm.poll_at(since + within, cx).map(|()| Failure::timeout("reading of a body by the client", within))
    }

    fn forget(&mut self) {
        self.since = None;
    }
}
