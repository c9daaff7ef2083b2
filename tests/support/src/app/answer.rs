//! What an application is told to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A response, step by step.
#[derive(Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) before: Vec<Pause>,
    pub(super) steps: Vec<Step>,
    pub(super) trailers: Vec<(String, String)>,
    /// Whether the request's body is read, whole, before anything is sent.
    pub(super) after_body: bool,
    pub(super) chunked: bool,
    /// Sent as it stands in place of everything else, over HTTP/1.1.
    pub(super) raw: Option<Vec<u8>>,
    /// Whether the connection stays open after `raw`.
    pub(super) stays: bool,
}

#[derive(Clone)]
pub(super) enum Pause {
    For(Duration),
    Until(Gate),
}

#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Pause(Pause),
    /// Sends the request's body back, each piece as it comes.
    Echo,
    /// Breaks off: closes the connection, or resets the stream.
    Abort,
}

impl Answer {
    /// An empty response of `status`.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            before: Vec::new(),
            steps: Vec::new(),
            trailers: Vec::new(),
            after_body: true,
            chunked: false,
            raw: None,
            stays: false,
        }
    }

    /// 200 with `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::status(200).body(text.into())
    }

    /// 200 that sends the request's body back, each piece as it comes.
    pub fn echo() -> Self {
        Self { steps: vec![Step::Echo], chunked: true, after_body: false, ..Self::status(200) }
    }

    /// These bytes as they are, then the end of the connection. HTTP/1.1 only.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::status(200) }
    }

    /// These bytes as they are, on a connection that stays open for the next request. HTTP/1.1 only.
    pub fn raw_and_stay(bytes: impl Into<Vec<u8>>) -> Self {
        Self { stays: true, ..Self::raw(bytes) }
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds bytes to the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Sends the body in chunks even where its length is known.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Waits at this place of the body.
    pub fn pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Pause(Pause::For(time)));
        self.chunked()
    }

    /// Waits at this place of the body until `gate` is opened.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Pause(Pause::Until(gate.clone())));
        self.chunked()
    }

    /// Breaks off at this place of the body.
    pub fn abort(mut self) -> Self {
        self.steps.push(Step::Abort);
        self.chunked()
    }

    /// Waits before the head is sent.
    pub fn late(mut self, time: Duration) -> Self {
        self.before.push(Pause::For(time));
        self
    }

    /// Waits before the head is sent until `gate` is opened.
    pub fn held(mut self, gate: &Gate) -> Self {
        self.before.push(Pause::Until(gate.clone()));
        self
    }

    /// Answers at the request's head; its body is read afterwards.
    pub fn early(mut self) -> Self {
        self.after_body = false;
        self
    }

    /// Adds a trailer line.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self.chunked()
    }
}

/// Something that stays shut until it is opened. A clone is the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A shut gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How often a shut gate is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(5);
