//! [`TraceContext`]: a place in a trace, as it travels from hop to hop.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::sampler::Sampler;
use super::traceparent::{self, Traceparent};
use super::{binary, tracestate};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const GRPC_TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

const SAMPLED: u8 = 0x01;
const RANDOM: u8 = 0x02;

/// The ID of a trace: 16 bytes, never all zero. Displays as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The ID of a span: 8 bytes, never all zero. Displays as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// Where a call stands in its trace: the trace, the span, the span above it, and whether it is sampled.
///
/// Cloning never allocates. Received contexts have no parent that we know of: their span *is* the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    parent_id: Option<SpanId>,
    flags: u8,
    /// Whether the span is the sender's, and whether the one above it is.
    received: bool,
    parent_received: bool,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// Reads `traceparent` and `tracestate` (W3C Trace Context).
    ///
    /// `None` when there is no `traceparent`, more than one, or a malformed one: the specification then asks for a new trace.
    /// A malformed or oversized `tracestate` (over 32 members or 512 bytes) is dropped by itself.
    pub fn from_headers(headers: &HeaderMap) -> Option<TraceContext> {
        let parent = traceparent::parse(only(headers, &TRACEPARENT)?)?;
        Some(TraceContext::received(parent, tracestate::read(headers)))
    }

    /// Reads the context of a gRPC call: `grpc-trace-bin` first, as stock does, then `traceparent`.
    ///
    /// `tracestate` is kept when `traceparent` names the same trace.
    pub fn from_grpc(headers: &HeaderMap) -> Option<TraceContext> {
        let text = TraceContext::from_headers(headers);
        match headers.get(GRPC_TRACE_BIN).and_then(|value| binary::parse(value.as_bytes())) {
            Some(parent) => {
                let state = text.filter(|text| text.trace_id == parent.trace_id).and_then(|text| text.state);
                Some(TraceContext::received(parent, state))
            }
            None => text,
        }
    }

    /// What arrived, or a new root where nothing valid did. See [`Tracer::receive`](super::Tracer::receive) for what most callers want.
    pub fn parse_or_new(headers: &HeaderMap, sampler: &Sampler) -> TraceContext {
        TraceContext::from_headers(headers).unwrap_or_else(|| TraceContext::new_root(sampler))
    }

    /// The first context of a new trace, with random IDs; the sampler decides whether it is sampled.
    pub fn new_root(sampler: &Sampler) -> TraceContext {
        let trace_id = TraceId::random();
        TraceContext {
            trace_id,
            span_id: SpanId::random(),
            parent_id: None,
            flags: if sampler.samples(trace_id) { SAMPLED } else { 0 },
            received: false,
            parent_received: false,
            state: None,
        }
    }

    /// A new span under this one, in the same trace, sampled alike.
    pub fn child(&self) -> TraceContext {
        TraceContext {
            span_id: SpanId::random(),
            parent_id: Some(self.span_id),
            received: false,
            parent_received: self.received,
            ..self.clone()
        }
    }

    /// Puts this context into `headers` as `traceparent` and `tracestate`, replacing what is there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let text = traceparent::format(&self.as_parent());
        if only(headers, &TRACEPARENT) != Some(&text)
            && let Ok(value) = HeaderValue::from_bytes(&text)
        {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => drop(headers.insert(tracestate::TRACESTATE, state.clone())),
            None => drop(headers.remove(tracestate::TRACESTATE)),
        }
    }

    /// [`inject`](Self::inject) for a gRPC call: `grpc-trace-bin` too, as stock sends it.
    pub fn inject_grpc(&self, headers: &mut HeaderMap) {
        self.inject(headers);
        if let Ok(value) = HeaderValue::from_bytes(&binary::format(&self.as_parent())) {
            headers.insert(GRPC_TRACE_BIN, value);
        }
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span that this context stands for.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// The span above it; `None` for a root and for what was received.
    pub fn parent_id(&self) -> Option<SpanId> {
        self.parent_id
    }

    /// Whether the trace is sampled, as whoever began it decided.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether the span above came from outside this proxy.
    pub(super) fn parent_received(&self) -> bool {
        self.parent_received
    }

    /// The `tracestate` carried along.
    pub fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    fn received(parent: Traceparent, state: Option<HeaderValue>) -> TraceContext {
        // Flags other than these two are reserved; the specification wants them sent as zero.
        let flags = parent.flags & (SAMPLED | RANDOM);
        TraceContext {
            trace_id: parent.trace_id,
            span_id: parent.span_id,
            parent_id: None,
            flags,
            received: true,
            parent_received: false,
            state,
        }
    }

    fn as_parent(&self) -> Traceparent {
        Traceparent { trace_id: self.trace_id, span_id: self.span_id, flags: self.flags }
    }
}

/// The bytes of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

macro_rules! id {
    ($name:ident, $bytes:literal) => {
        impl $name {
            /// `None` for the all-zero ID, which the specification forbids.
            pub fn new(bytes: [u8; $bytes]) -> Option<$name> {
                (bytes != [0; $bytes]).then_some($name(bytes))
            }

            /// The bytes of the ID.
            pub fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// A new ID. Not secret: trace IDs authorise nothing.
            pub(super) fn random() -> $name {
                loop {
                    let mut bytes = [0; $bytes];
                    fastrand::fill(&mut bytes);
                    if let Some(id) = $name::new(bytes) {
                        return id;
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 2 * $bytes];
                traceparent::encode(&self.0, &mut text);
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BINARY: &str = "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_received_context_is_the_senders_span() {
        let context = TraceContext::from_headers(&headers(&[("traceparent", PARENT), ("tracestate", "a=1")])).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.sampled() && context.parent_id().is_none());
        assert_eq!(context.state().unwrap(), "a=1");
    }

    #[test]
    fn a_child_keeps_trace_state_and_decision_and_names_its_parent() {
        let context = TraceContext::from_headers(&headers(&[("traceparent", PARENT), ("tracestate", "a=1")])).unwrap();
        let child = context.child();
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child.span_id(), context.span_id());
        assert_eq!(child.parent_id(), Some(context.span_id()));
        assert!(child.sampled());
        assert_eq!(child.state(), context.state());
    }

    #[test]
    fn injecting_replaces_every_context_that_was_there() {
        let context = TraceContext::new_root(&Sampler::ALWAYS);
        let mut out = headers(&[
            ("traceparent", PARENT),
            ("traceparent", "garbage"),
            ("tracestate", "evil=1"),
            ("tracestate", "b=1"),
        ]);
        context.inject(&mut out);
        assert_eq!(out.get_all("traceparent").iter().count(), 1);
        assert!(!out.contains_key("tracestate"));
        assert_eq!(TraceContext::from_headers(&out).unwrap().span_id(), context.span_id());
    }

    #[test]
    fn two_traceparents_are_as_good_as_none() {
        assert_eq!(TraceContext::from_headers(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)])), None);
    }

    #[test]
    fn garbage_begins_a_new_trace() {
        let context =
            TraceContext::parse_or_new(&headers(&[("traceparent", "00-xyz"), ("tracestate", "a=1")]), &Sampler::ALWAYS);
        assert!(context.sampled() && context.state().is_none());
        assert_ne!(context.trace_id(), TraceContext::new_root(&Sampler::ALWAYS).trace_id());
    }

    #[test]
    fn reserved_flags_are_not_sent_on() {
        let parent = PARENT.replace("-01", "-ff");
        let mut out = HeaderMap::new();
        TraceContext::from_headers(&headers(&[("traceparent", &parent)])).unwrap().inject(&mut out);
        assert!(out["traceparent"].to_str().unwrap().ends_with("-03"));
    }

    #[test]
    fn a_grpc_call_is_read_from_the_binary_form_first() {
        let other = "00-11111111111111111111111111111111-2222222222222222-00";
        let context = TraceContext::from_grpc(&headers(&[
            ("grpc-trace-bin", BINARY),
            ("traceparent", other),
            ("tracestate", "a=1"),
        ]))
        .unwrap();
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.state().is_none(), "the state belongs to another trace");
    }

    #[test]
    fn a_grpc_call_falls_back_to_traceparent() {
        let context = TraceContext::from_grpc(&headers(&[
            ("grpc-trace-bin", "AA"),
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
        ]))
        .unwrap();
        assert_eq!(context.state().unwrap(), "a=1");
    }

    #[test]
    fn a_grpc_call_is_sent_in_both_forms() {
        let mut out = HeaderMap::new();
        TraceContext::from_headers(&headers(&[("traceparent", PARENT)])).unwrap().inject_grpc(&mut out);
        assert_eq!(out["traceparent"], PARENT);
        assert_eq!(out["grpc-trace-bin"], BINARY);
    }
}
