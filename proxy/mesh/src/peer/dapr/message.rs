//! gRPC messages on an HTTP/2 stream: a byte of flags, four of length, the message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use outrigger_wire::{Body, Cause, Failure, Limit};
use prost::Message;

/// Flags and length.
const PREFIX: usize = 5;

/// One message as it goes on the wire.
///
/// # Errors
/// `Limit` for one longer than its length can say.
pub(super) fn encode(message: &impl Message) -> Result<Bytes, Failure> {
    let length = message.encoded_len();
    let counted = u32::try_from(length)
        .map_err(|_| Failure::new(Cause::Limit { name: "message_bytes", limit: u64::from(u32::MAX) }))?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(counted);
    message.encode(&mut bytes).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

/// Reads one message's fields.
///
/// # Errors
/// `Protocol` for bytes that are none.
pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Failure> {
    M::decode(bytes).map_err(|error| broken(format!("a message that cannot be read: {error}")))
}

/// The peer's sidecar did what no sidecar does.
pub(super) fn broken(reason: impl Into<String>) -> Failure {
    Failure::new(Cause::Protocol { peer: super::PEER.to_owned(), reason: reason.into() })
}

/// The messages of one direction of a stream, one at a time.
pub(super) struct Messages {
    body: Body,
    buffer: BytesMut,
    most: Limit,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Messages {
    /// Of `body`, none longer than `most`.
    pub(super) fn new(body: Body, most: Limit) -> Self {
        Self { body, buffer: BytesMut::new(), most, trailers: None, ended: false }
    }

    /// The next message without its prefix; `None` after the last.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            match self.take() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(failure) => return Poll::Ready(Some(Err(failure))),
            }
            if self.ended {
                let whole = self.buffer.is_empty();
                self.buffer.clear();
                return Poll::Ready((!whole).then(|| Err(broken("the stream ended within a message"))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                None => self.ended = true,
            }
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What came after the last message.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    fn take(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut prefix = self.buffer.as_ref();
        if prefix.len() < PREFIX {
            return Ok(None);
        }
        if prefix.get_u8() != 0 {
            return Err(broken("a message is compressed, which nothing here asked for"));
        }
        let length = prefix.get_u32();
        if u64::from(length) > self.most.value {
            return Err(Failure::limit(self.most));
        }
        // Fits: it is no more than the bound above.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if prefix.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::common::v1::StreamPayload;
    use outrigger_wire::Limits;

    use super::*;

    fn piece(seq: u64) -> StreamPayload {
        StreamPayload { data: Bytes::from_static(b"hello"), seq }
    }

    fn in_pieces(bytes: Bytes, of: usize) -> Body {
        let pieces: Vec<_> =
            bytes.chunks(of).map(|piece| Ok(http_body::Frame::data(Bytes::copy_from_slice(piece)))).collect();
        Body::boxed(http_body_util::StreamBody::new(futures_util::stream::iter(pieces)))
    }

    #[tokio::test]
    async fn messages_come_out_whole_however_they_are_cut() {
        let mut bytes = BytesMut::new();
        for seq in 0..3 {
            bytes.extend_from_slice(&encode(&piece(seq)).unwrap());
        }
        for of in [1, 3, 7, 1_000] {
            let mut messages = Messages::new(in_pieces(bytes.clone().freeze(), of), Limits::default().message_bytes());
            for seq in 0..3 {
                assert_eq!(decode::<StreamPayload>(messages.next().await.unwrap().unwrap()).unwrap(), piece(seq));
            }
            assert!(messages.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_and_not_waited_for() {
        let limit = Limit { name: "message_bytes", value: 16 };
        for (bytes, name) in [
            (&b"\x00\x00\x00\x00\x11aaaa"[..], "limit"),
            (b"\x00\xff\xff\xff\xff", "limit"),
            (b"\x01\x00\x00\x00\x01a", "protocol"),
            (b"\x00\x00\x00\x00\x05aa", "protocol"),
            (b"\x00\x00", "protocol"),
        ] {
            let mut messages = Messages::new(Body::full(bytes.to_vec()), limit);
            assert_eq!(messages.next().await.unwrap().unwrap_err().name(), name, "{bytes:?}");
        }
        assert_eq!(decode::<StreamPayload>(Bytes::from_static(b"\xff\xff")).unwrap_err().name(), "protocol");
    }
}
