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
use crate::trace::{TraceContext, TraceId};

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
    trace_id: Option<TraceId>,
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
            trace_id: None,
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
        self.fill(|f| f.trace_id = Some(trace.trace_id()));
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
            trace_id = f.trace_id.map(tracing::field::display),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::{capture, text};
    use crate::log::{Config, Format};
    use crate::trace::Sampler;

    fn answered() {
        let mut record = AccessRecord::begin(Direction::Inbound);
        record.caller_id("spiffe://public/ns/default/shop");
        record.caller_app("shop");
        record.callee_app("orders");
        record.wire("native");
        record.protocol("http");
        record.method("POST");
        record.path("/new?token=hunter2#x");
        record.status(201);
        record.policy("orders-acl", true);
        record.attempts(2);
        record.add_bytes_in(10);
        record.add_bytes_in(5);
        record.flag(Flag::Draining);
        record.flag(Flag::Retried);
        record.first_byte();
    }

    #[test]
    fn a_call_is_one_line_with_flat_fields_in_a_fixed_order() {
        let out = capture(text(), answered);
        assert_eq!(out.lines().count(), 1, "{out}");
        let (_, fields) = out.split_once("msg=call ").unwrap();
        let (fields, end) = fields.split_once(" duration_us=").unwrap();
        assert_eq!(
            fields,
            "app_id=orders instance=host scope=access type=log ver=1.0.0 direction=inbound \
             caller_id=\"spiffe://public/ns/default/shop\" caller_app=shop callee_app=orders wire=native protocol=http \
             method=POST path=/new status=201 policy=orders-acl decision=allow attempts=2 bytes_in=15 bytes_out=0"
        );
        assert!(end.contains(" first_byte_us=") && end.ends_with(" flags=\"retried,draining\"\n"), "{end}");
    }

    #[test]
    fn a_query_never_gets_into_the_record() {
        assert!(!capture(text(), answered).contains("hunter2"));
    }

    #[test]
    fn in_json_numbers_are_numbers_and_texts_are_strings() {
        let out = capture(Config { format: Format::Json, ..text() }, answered);
        for part in [
            "\"status\":201,",
            "\"bytes_in\":15,",
            "\"wire\":\"native\"",
            "\"flags\":\"retried,draining\"}\n",
            "\"duration_us\":",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
    }

    #[test]
    fn a_call_that_is_abandoned_is_recorded_all_the_same() {
        let out = capture(text(), || drop(AccessRecord::begin(Direction::Outbound)));
        assert!(out.contains(" direction=outbound bytes_in=0 bytes_out=0 duration_us="), "{out}");
        assert!(!out.contains(" status="), "{out}");
    }

    #[test]
    fn nothing_is_kept_or_written_while_the_target_is_off() {
        let out = capture(Config { access: false, ..text() }, || {
            assert!(!AccessRecord::begin(Direction::Inbound).is_on());
            answered();
        });
        assert_eq!(out, "");
    }

    #[test]
    fn the_level_of_the_log_does_not_switch_records_off() {
        let out = capture(Config { level: crate::log::Level::Error, ..text() }, answered);
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn what_a_client_chose_is_bounded_and_cannot_break_the_line() {
        let out = capture(text(), || {
            let mut record = AccessRecord::begin(Direction::Inbound);
            record.path(&format!("/a\r\nlevel=error\u{1b}[31m{}", "x".repeat(100_000)));
            record.method("G\nET");
            record.caller_app("y".repeat(100_000));
            record.callee_id("\u{9b}31m");
        });
        assert_eq!(out.lines().count(), 1);
        assert!(out.len() < 2_000 && !out.contains(['\r', '\u{1b}', '\u{9b}']), "{out}");
    }

    #[test]
    fn the_trace_id_is_the_calls() {
        let trace = TraceContext::new_root(&Sampler::NEVER);
        let out = capture(text(), || AccessRecord::begin(Direction::Inbound).trace(&trace));
        assert!(out.contains(&format!(" trace_id={}", trace.trace_id())), "{out}");
    }
}
