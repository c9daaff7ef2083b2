//! A TCP connection that carries exactly the bytes it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http1::{self, Head, Message};

/// How the other end left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It closed in order.
    Closed,
    /// It reset the connection.
    Reset,
    /// It is still there when we had waited long enough.
    Open,
}

/// A raw connection: bytes out as they are, bytes in until a condition or a timeout.
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl RawConnection {
    /// Connects, or panics.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
            .unwrap_or_else(|err| panic!("connect to {address}: {err}"));
        stream.set_nodelay(true).expect("a socket");
        stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a socket");
        Self { stream, unread: Vec::new() }
    }

    /// Writes all of `bytes`. False when the other end no longer takes them, which for bad input is an answer too.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes `bytes` one at a time, each in a packet of its own.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> bool {
        bytes.as_ref().iter().all(|byte| {
            std::thread::sleep(pause);
            self.send([*byte])
        })
    }

    /// Says that no more bytes come from us.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// The stream beneath, for what this part does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads what comes within `patience`, until the end. Returns the bytes and how it ended.
    pub fn read_to_end(&mut self, patience: Duration) -> (Vec<u8>, Ended) {
        let mut bytes = std::mem::take(&mut self.unread);
        let end = Instant::now() + patience;
        loop {
            match self.read_some(end) {
                Ok(Some(more)) => bytes.extend_from_slice(&more),
                Ok(None) => return (bytes, Ended::Open),
                Err(ended) => return (bytes, ended),
            }
        }
    }

    /// Reads until `done` says that the bytes so far suffice, or the end, or `patience` is over.
    pub fn read_until(&mut self, patience: Duration, done: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Ended) {
        let mut bytes = std::mem::take(&mut self.unread);
        let end = Instant::now() + patience;
        while !done(&bytes) {
            match self.read_some(end) {
                Ok(Some(more)) => bytes.extend_from_slice(&more),
                Ok(None) => return (bytes, Ended::Open),
                Err(ended) => return (bytes, ended),
            }
        }
        (bytes, Ended::Open)
    }

    /// Reads until the other end has been silent for `silence` after its first byte, or the end, or `patience` is over.
    pub fn read_settled(&mut self, patience: Duration, silence: Duration) -> (Vec<u8>, Ended) {
        let mut bytes = std::mem::take(&mut self.unread);
        let end = Instant::now() + patience;
        loop {
            let until = if bytes.is_empty() { end } else { end.min(Instant::now() + silence) };
            match self.read_some(until) {
                Ok(Some(more)) => bytes.extend_from_slice(&more),
                Ok(None) => return (bytes, Ended::Open),
                Err(ended) => return (bytes, ended),
            }
        }
    }

    /// Reads one HTTP/1.1 response to a request of `method`; what follows it stays for the next read. `None` when the
    /// connection ends first. Panics when what comes is no response or `patience` is over.
    pub fn response(&mut self, method: &str, patience: Duration) -> Option<Message> {
        let head = self.response_head(patience)?;
        let bodiless = method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304);
        let mut reader = http1::Reader::new(&mut self.stream, std::mem::take(&mut self.unread));
        let body = reader.response_body(&head, bodiless);
        self.unread = reader.into_unread();
        let (body, trailers) = body.unwrap_or_else(|err| panic!("the body of {head:?}: {err}"));
        Some(Message { head, body, trailers })
    }

    /// Reads the head of one HTTP/1.1 response; `None` when the connection ends first.
    pub fn response_head(&mut self, patience: Duration) -> Option<Head> {
        self.stream.set_read_timeout(Some(patience)).expect("a socket");
        let mut reader = http1::Reader::new(&mut self.stream, std::mem::take(&mut self.unread));
        let head = reader.head().unwrap_or_else(|err| panic!("no response head within {patience:?}: {err}"));
        self.unread = reader.into_unread();
        head
    }

    /// The next bytes; `Ok(None)` when `end` is past.
    fn read_some(&mut self, end: Instant) -> Result<Option<Vec<u8>>, Ended> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        self.stream.set_read_timeout(Some(left)).expect("a socket");
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Ended::Closed),
            Ok(n) => {
                buffer.truncate(n);
                Ok(Some(buffer))
            }
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(err) if err.kind() == ErrorKind::Interrupted => Ok(Some(Vec::new())),
            Err(_) => Err(Ended::Reset),
        }
    }
}
