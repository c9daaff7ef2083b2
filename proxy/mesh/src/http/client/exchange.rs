//! One request and its response on an HTTP/1.1 connection to the app.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use outrigger_wire::{Body, Cause, Failure, RetryClass};
use socket2::SockRef;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use super::{Connection, Pool};
use crate::http::http1::{Framing, Reader, ResponseHead, Writer, content_length, is_chunked, keeps_alive};

/// Interim responses that one answer may have before it.
const INTERIM: u32 = 64;

/// A request body on its way to the app.
pub(super) struct Upload {
    body: Body,
    /// What was read of the body first, kept until it is known to have left.
    first: Option<Bytes>,
    /// Its length before anything of it was taken: another attempt sends it from the start.
    exact: Option<u64>,
    /// A frame behind the first was taken: there is no way back.
    further: bool,
    ended: bool,
    stopped: bool,
}

/// Why there is no response.
pub(super) enum Broken {
    /// Nothing of the request left this process.
    Unsent,
    Failed(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A response head, on the connection that it came by.
pub(super) struct Answered {
    connection: Connection,
    head: ResponseHead,
    framing: Framing,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        let exact = body.size_hint().exact();
        Self { body, exact, first: None, further: false, ended: false, stopped: false }
    }

    /// Whether the body can be sent from its start again.
    pub(super) fn rewind(&mut self) -> bool {
        if self.further {
            return false;
        }
        self.ended = self.ended && self.first.is_none();
        true
    }

    /// Writes what can be written: `Ready` when the whole body is with the kernel.
    fn poll_send(&mut self, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            match writer.poll_room(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Stopped::Reader)),
                Poll::Pending => return Poll::Pending,
            }
            self.ended |= writer.is_whole();
            if self.ended {
                return writer.poll_flush(cx).map_err(|_| Stopped::Reader);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    match frame.data_ref() {
                        Some(data) if self.first.is_none() => self.first = Some(data.clone()),
                        _ => self.further = true,
                    }
                    writer.frame(frame).map_err(|_| Stopped::wrong_length())?;
                }
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(Stopped::Source(failure))),
                Poll::Ready(None) => {
                    writer.end().map_err(|_| Stopped::wrong_length())?;
                    self.ended = true;
                }
                Poll::Pending => {
                    return match writer.poll_flush(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Stopped::Reader)),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }
}

/// Why a body did not reach its end.
#[derive(Debug)]
enum Stopped {
    /// Whoever makes it failed or went away.
    Source(Failure),
    /// The app takes no more of it; what it answers says why.
    Reader,
}

impl Stopped {
    fn wrong_length() -> Self {
        Self::Source(Failure::new(Cause::Cancelled))
    }
}

/// Sends a request and gives the response's head. The body is sent by this future until the head has come.
pub(super) async fn exchange(
    mut connection: Connection,
    head: &Parts,
    upload: &mut Upload,
) -> Result<Answered, Broken> {
    let Connection { reader, writer } = &mut connection;
    writer.request(head, upload.exact, false)?;
    if let Some(first) = upload.first.clone() {
        writer.frame(Frame::data(first)).map_err(|_| Failure::internal("a body grew between two attempts"))?;
    }
    let mut sending = true;
    let mut interim = 0;
    let response = poll_fn(|cx| {
        if sending {
            match upload.poll_send(writer, cx) {
                Poll::Ready(Ok(())) => sending = false,
                Poll::Ready(Err(Stopped::Source(failure))) => {
                    return Poll::Ready(Err(Broken::Failed(of_the_caller(failure))));
                }
                Poll::Ready(Err(Stopped::Reader)) if writer.sent() == 0 => return Poll::Ready(Err(Broken::Unsent)),
                Poll::Ready(Err(Stopped::Reader)) => {
                    upload.stopped = true;
                    sending = false;
                }
                Poll::Pending => {}
            }
        }
        loop {
            let Poll::Ready(response) = reader.poll_response(cx) else { return Poll::Pending };
            let response = response?;
            if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(response));
            }
            interim += 1;
            if interim > INTERIM {
                return Poll::Ready(Err(broken("it sends interim responses without end").into()));
            }
        }
    })
    .await?;
    let framing = framing(&response, &head.method)?;
    Ok(Answered { connection, head: response, framing })
}

/// A body that breaks off is its sender's doing: no word against the app, and nothing
/// that another attempt could mend.
fn of_the_caller(failure: Failure) -> Failure {
    match failure.retry_class() {
        RetryClass::Never => failure,
        RetryClass::NotSent | RetryClass::MaybeSent => Failure::with_source(Cause::Cancelled, failure),
    }
}

fn broken(reason: impl Into<String>) -> Failure {
    Failure::new(Cause::Protocol { peer: "the app".to_owned(), reason: reason.into() })
}

/// Where a response's body ends (RFC 9112, section 6.3): one that says it in two ways is refused.
fn framing(head: &ResponseHead, method: &Method) -> Result<Framing, Failure> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(broken("it answered 101 Switching Protocols though nothing had asked for it"));
    }
    let length = content_length(&head.headers).map_err(|failure| broken(failure.to_string()))?;
    let chunked = is_chunked(&head.headers).map_err(|failure| broken(failure.to_string()))?;
    if chunked && (length.is_some() || head.version == Version::HTTP_10) {
        return Err(broken("its response says in two ways where the body ends"));
    }
    let without = *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        _ if without => Framing::Done,
        _ if chunked => Framing::Chunked,
        Some(0) => Framing::Done,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

impl Answered {
    /// The response, with the connection going back to the pool at the end of its body.
    ///
    /// What is left of the request's body is sent by a task, which ends with the response's.
    pub(super) fn response(self, pool: &Arc<Pool>, slot: OwnedSemaphorePermit, upload: Upload) -> Response<Body> {
        let Self { connection: Connection { mut reader, writer }, head, framing } = self;
        let keeps = keeps_alive(head.version, &head.headers) && !matches!(framing, Framing::UntilClose);
        reader.begin(framing, false);
        let at_hand = if reader.is_done() { Some(Bytes::new()) } else { reader.at_hand() };
        let (writer, sending) = match upload.state(&writer) {
            Sent::All => (keeps.then_some(writer), None),
            Sent::Part if at_hand.is_none() => (None, Some(upload.spawn(writer))),
            Sent::Part | Sent::Stopped => (None, None),
        };
        let pool = Arc::clone(pool);
        let mut download =
            Download { connection: Some((reader, writer)), pool, slot: Some(slot), sending, acknowledged: false };
        let body = match at_hand {
            Some(bytes) => {
                download.end();
                Body::full(bytes)
            }
            None => Body::boxed(download),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

/// How much of a request's body has gone.
enum Sent {
    All,
    Part,
    /// The app takes no more.
    Stopped,
}

impl Upload {
    fn state(&self, writer: &Writer) -> Sent {
        match (self.stopped, self.ended && writer.is_flushed()) {
            (true, _) => Sent::Stopped,
            (false, true) => Sent::All,
            (false, false) => Sent::Part,
        }
    }

    /// Sends the rest in a task of its own.
    fn spawn(mut self, mut writer: Writer) -> Sending {
        self.first = None;
        let task = tokio::spawn(async move {
            if let Err(stopped) = poll_fn(|cx| self.poll_send(&mut writer, cx)).await {
                tracing::debug!(?stopped, "request body ended early");
                if matches!(stopped, Stopped::Source(_)) {
                    // An app that waits for the rest must see that none comes.
                    return;
                }
            }
            // Its end is the app's to see only with the response's: dropping the half would say it now.
            std::future::pending::<()>().await;
        });
        Sending(task.abort_handle())
    }
}

/// Ends the sending of a request body with the response body.
struct Sending(AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A response body, read as it is asked for.
struct Download {
    /// The writing half is there when the connection can be used again.
    connection: Option<(Reader, Option<Writer>)>,
    pool: Arc<Pool>,
    slot: Option<OwnedSemaphorePermit>,
    sending: Option<Sending>,
    acknowledged: bool,
}

impl Download {
    /// The body has ended well.
    fn end(&mut self) {
        if let Some((reader, Some(writer))) = self.connection.take() {
            self.pool.keep(Connection { reader, writer });
        }
        self.sending = None;
        // Only now, so that who waited finds the connection.
        self.slot = None;
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Some((reader, _)) = &mut this.connection else { return Poll::Ready(None) };
        let frame = reader.poll_body(cx);
        match &frame {
            Poll::Pending if !this.acknowledged => {
                // An app that writes head and body apart, without `TCP_NODELAY`, holds the body until
                // the head is acknowledged, and the kernel would take 40 ms over that (many servers made
                // for development do so). Only a hint: without it the body comes later.
                this.acknowledged = true;
                let _refused = SockRef::from(reader.socket()).set_tcp_quickack(true);
            }
            Poll::Ready(Some(Ok(_)) | None) if reader.is_done() => this.end(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.connection.as_ref().is_none_or(|(reader, _)| reader.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        self.connection.as_ref().map_or(SizeHint::with_exact(0), |(reader, _)| reader.size_hint())
    }
}
