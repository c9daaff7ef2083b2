//! [`AccessRecord`]: one line a call, written once, when the call is over.
//!
//! A record is made when a call begins and filled while it goes on. When it is dropped, on whatever way the call ended (answered,
//! failed, abandoned by its caller), it becomes **one** tracing event: target `access`, level info, flat fields. It holds no
//! token, key, query string or body: there is no setter for them, and [`path`](AccessRecord::path) cuts off the query.
//!
//! **What it costs.** With the `access` target off: a cached check, and every setter is one branch. On: one allocation for the record
//! and one or two for the buffer that all its texts share; numbers and fixed words cost nothing.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use crate::clean::{Bounded, prefix};
use crate::trace::TraceContext;

/// The tracing target of the record. Switch records on and off by it.
pub const TARGET: &str = "access";

/// Longest path in a record, in bytes.
const MAX_PATH: usize = 512;
/// Longest other text in a record, in bytes (a SPIFFE ID may be longer; its end is cut off then).
const MAX_TEXT: usize = 256;

/// Which way a call goes, seen from the app beside this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the app.
    Inbound,
    /// From the app.
    Outbound,
}

/// Something worth knowing about how a call went. Written as a list of words, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// `retried`: more than one attempt was made.
    Retried,
    /// `timed_out`: a timeout of the call ended it.
    TimedOut,
    /// `reset`: the stream or connection broke before the answer was whole.
    Reset,
    /// `cancelled`: the caller went away before the answer was whole.
    Cancelled,
    /// `limited`: a limit refused it.
    Limited,
    /// `breaker_open`: a circuit breaker refused it.
    BreakerOpen,
    /// `draining`: it came or went while this proxy drained.
    Draining,
}

const FLAGS: [(Flag, &str); 7] = [
    (Flag::Retried, "retried"),
    (Flag::TimedOut, "timed_out"),
    (Flag::Reset, "reset"),
    (Flag::Cancelled, "cancelled"),
    (Flag::Limited, "limited"),
    (Flag::BreakerOpen, "breaker_open"),
    (Flag::Draining, "draining"),
];

/// The record of one call. Writes itself when dropped; a call that was answered without a status or failure was abandoned.
#[derive(Debug)]
pub struct AccessRecord(Option<Box<Fields>>);

#[derive(Debug)]
struct Fields {
    started: Instant,
    direction: Direction,
    /// Holds every text of the record; a [`Slot`] is a place in it.
    text: String,
    caller_id: Slot,
    caller_app: Slot,
    callee_id: Slot,
    callee_app: Slot,
    method: Slot,
    path: Slot,
    policy: Slot,
    endpoint: Slot,
    tls_version: Slot,
    tls_kx: Slot,
    wire: Option<&'static str>,
    protocol: Option<&'static str>,
    failure: Option<&'static str>,
    decision: Option<&'static str>,
    status: Option<u16>,
    grpc_status: Option<u32>,
    attempts: Option<u32>,
    bytes_in: u64,
    bytes_out: u64,
    first_byte: Option<Duration>,
    trace: Option<TraceContext>,
    flags: u8,
}

/// Where in the shared buffer a text is; empty when it was not set.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    start: usize,
    end: usize,
}

impl Slot {
    fn write(&mut self, buffer: &mut String, value: impl Display, max: usize) {
        self.start = buffer.len();
        // A Display that fails leaves what it has written so far.
        let _ = write!(Bounded::new(buffer, max), "{value}");
        self.end = buffer.len();
    }

    fn read(self, buffer: &str) -> Option<&str> {
        buffer.get(self.start..self.end).filter(|text| !text.is_empty())
    }
}

impl AccessRecord {
    /// Begins the record of a call that begins now. When the `access` target is off, the record stays empty and writes nothing.
    pub fn begin(direction: Direction) -> AccessRecord {
        if !tracing::event_enabled!(target: TARGET, tracing::Level::INFO) {
            return AccessRecord(None);
        }
        AccessRecord(Some(Box::new(Fields {
            started: Instant::now(),
            direction,
            text: String::with_capacity(256),
            caller_id: Slot::default(),
            caller_app: Slot::default(),
            callee_id: Slot::default(),
            callee_app: Slot::default(),
            method: Slot::default(),
            path: Slot::default(),
            policy: Slot::default(),
            endpoint: Slot::default(),
            tls_version: Slot::default(),
            tls_kx: Slot::default(),
            wire: None,
            protocol: None,
            failure: None,
            decision: None,
            status: None,
            grpc_status: None,
            attempts: None,
            bytes_in: 0,
            bytes_out: 0,
            first_byte: None,
            trace: None,
            flags: 0,
        })))
    }

    /// Whether the record will be written: what is dear to find out need not be when it is not.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The caller's SPIFFE ID, as its certificate proved it.
    pub fn caller_id(&mut self, id: impl Display) {
        self.fill(|f| f.caller_id.write(&mut f.text, id, MAX_TEXT));
    }

    /// The caller's app ID.
    pub fn caller_app(&mut self, app: impl Display) {
        self.fill(|f| f.caller_app.write(&mut f.text, app, MAX_TEXT));
    }

    /// The callee's SPIFFE ID, as its certificate proved it.
    pub fn callee_id(&mut self, id: impl Display) {
        self.fill(|f| f.callee_id.write(&mut f.text, id, MAX_TEXT));
    }

    /// The callee's app ID, as the caller asked for it.
    pub fn callee_app(&mut self, app: impl Display) {
        self.fill(|f| f.callee_app.write(&mut f.text, app, MAX_TEXT));
    }

    /// How the two sidecars speak: `native`, `dapr`, `hbone`, `local`.
    pub fn wire(&mut self, wire: &'static str) {
        self.fill(|f| f.wire = Some(wire));
    }

    /// What the app speaks: `http`, `h2c`, `grpc`.
    pub fn protocol(&mut self, protocol: &'static str) {
        self.fill(|f| f.protocol = Some(protocol));
    }

    /// The HTTP method.
    pub fn method(&mut self, method: impl Display) {
        self.fill(|f| f.method.write(&mut f.text, method, MAX_TEXT));
    }

    /// The path; a query is cut off, at most 512 bytes are kept.
    pub fn path(&mut self, path: &str) {
        self.fill(|f| {
            let path = path.split_once(['?', '#']).map_or(path, |(path, _)| path);
            f.path.write(&mut f.text, prefix(path, MAX_PATH), MAX_PATH);
        });
    }

    /// The HTTP status of the answer.
    pub fn status(&mut self, status: u16) {
        self.fill(|f| f.status = Some(status));
    }

    /// The gRPC status of the answer.
    pub fn grpc_status(&mut self, status: u32) {
        self.fill(|f| f.grpc_status = Some(status));
    }

    /// The name of the failure that ended the call.
    pub fn failure(&mut self, name: &'static str) {
        self.fill(|f| f.failure = Some(name));
    }

    /// The policy that decided, and whether it allowed the call.
    pub fn policy(&mut self, policy: impl Display, allowed: bool) {
        self.fill(|f| {
            f.policy.write(&mut f.text, policy, MAX_TEXT);
            f.decision = Some(if allowed { "allow" } else { "deny" });
        });
    }

    /// The replica that the (last) attempt went to.
    pub fn endpoint(&mut self, endpoint: impl Display) {
        self.fill(|f| f.endpoint.write(&mut f.text, endpoint, MAX_TEXT));
    }

    /// How many attempts were made.
    pub fn attempts(&mut self, attempts: u32) {
        self.fill(|f| f.attempts = Some(attempts));
    }

    /// Adds to the bytes of request body that passed.
    pub fn add_bytes_in(&mut self, bytes: u64) {
        self.fill(|f| f.bytes_in = f.bytes_in.saturating_add(bytes));
    }

    /// Adds to the bytes of response body that passed.
    pub fn add_bytes_out(&mut self, bytes: u64) {
        self.fill(|f| f.bytes_out = f.bytes_out.saturating_add(bytes));
    }

    /// Notes that the head of the answer came now. Only the first time counts.
    pub fn first_byte(&mut self) {
        self.fill(|f| f.first_byte = f.first_byte.or_else(|| Some(f.started.elapsed())));
    }

    /// Where the call stands in its trace.
    pub fn trace(&mut self, trace: &TraceContext) {
        self.fill(|f| f.trace = Some(trace.clone()));
    }

    /// The TLS version and key exchange of the connection to the peer.
    pub fn tls(&mut self, version: impl Display, key_exchange: impl Display) {
        self.fill(|f| {
            f.tls_version.write(&mut f.text, version, MAX_TEXT);
            f.tls_kx.write(&mut f.text, key_exchange, MAX_TEXT);
        });
    }

    /// Raises a flag.
    pub fn flag(&mut self, flag: Flag) {
        self.fill(|f| f.flags |= 1 << flag as u8);
    }

    fn fill(&mut self, with: impl FnOnce(&mut Fields)) {
        if let Some(fields) = self.0.as_mut() {
            with(fields);
        }
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let Some(f) = self.0.take() else { return };
        let flags = f.flag_words();
        tracing::event!(
            target: TARGET,
            tracing::Level::INFO,
            direction = match f.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            },
            caller_id = f.caller_id.read(&f.text),
            caller_app = f.caller_app.read(&f.text),
            callee_id = f.callee_id.read(&f.text),
            callee_app = f.callee_app.read(&f.text),
            wire = f.wire,
            protocol = f.protocol,
            method = f.method.read(&f.text),
            path = f.path.read(&f.text),
            status = f.status,
            grpc_status = f.grpc_status,
            failure = f.failure,
            policy = f.policy.read(&f.text),
            decision = f.decision,
            endpoint = f.endpoint.read(&f.text),
            attempts = f.attempts,
            bytes_in = f.bytes_in,
            bytes_out = f.bytes_out,
            duration_us = micros(f.started.elapsed()),
            first_byte_us = f.first_byte.map(micros),
            trace_id = f.trace.as_ref().map(|trace| tracing::field::display(trace.trace_id())),
            tls_version = f.tls_version.read(&f.text),
            tls_kx = f.tls_kx.read(&f.text),
            flags = flags.as_deref(),
            "call"
        );
    }
}

impl Fields {
    fn flag_words(&self) -> Option<String> {
        if self.flags == 0 {
            return None;
        }
        let raised = FLAGS.iter().filter(|(flag, _)| self.flags & (1 << *flag as u8) != 0);
        Some(raised.map(|(_, word)| *word).collect::<Vec<_>>().join(","))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
