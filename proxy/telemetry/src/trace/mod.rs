//! Trace context on every hop, and spans where they are wanted.
//!
//! A [`TraceContext`] is what travels: W3C `traceparent` and `tracestate`, and on gRPC `grpc-trace-bin` beside them. It is
//! always carried on, sampled or not, whether or not this proxy exports anything. A [`Span`] is an object that exists only
//! when the trace is sampled *and* an exporter is configured; [`Tracer::start`] gives `None` otherwise.
//!
//! ```
//! # use http::HeaderMap;
//! # use outrigger_telemetry::trace::{Sampler, SpanKind, Tracer};
//! # let (tracer, incoming, mut outgoing) = (Tracer::new(Sampler::default()), HeaderMap::new(), HeaderMap::new());
//! let context = tracer.receive(&incoming);                       // this hop's own place in the trace
//! let span = tracer.start(&context, SpanKind::Server, "CallLocal/orders/new");
//! context.inject(&mut outgoing);
//! drop(span);                                                    // ends it
//! ```
//!
//! **What allocates.** Reading a context: nothing (several `tracestate` header lines are joined into one, which allocates once).
//! [`TraceContext::child`] and [`TraceContext::new_root`]: nothing. [`TraceContext::inject`]: one `HeaderValue` of 55 bytes, or
//! nothing when the map has this very `traceparent` already. [`Tracer::start`] of a call that is not sampled: nothing, and the
//! name is not even built when it is given as a closure to [`Tracer::start_with`].

mod baggage;
mod binary;
mod context;
mod exporter;
mod names;
mod sampler;
mod span;
mod stdout;
mod traceparent;
mod tracer;
mod tracestate;
mod zipkin;

pub use baggage::{BAGGAGE, BaggageError, baggage};
pub use context::{SpanId, TraceContext, TraceId};
pub use exporter::{Config, Endpoint, Exporter, ExporterError, OtlpProtocol, Outcome};
pub use names::{attribute, call_local};
pub use sampler::Sampler;
pub use span::{AttributeValue, Span, SpanKind};
pub use tracer::Tracer;
