//! [`Tracer`]: reads where a call stands in its trace, and begins spans.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;

use super::context::TraceContext;
use super::exporter::Queue;
use super::sampler::Sampler;
use super::span::{Span, SpanKind};

/// The sampler, and the way to the exporter where there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampler: Sampler,
    queue: Option<Arc<Queue>>,
}

impl Tracer {
    /// A tracer that carries contexts on and records no span. For one that does, start an [`Exporter`](super::Exporter).
    pub fn new(sampler: Sampler) -> Tracer {
        Tracer { sampler, queue: None }
    }

    pub(super) fn recording(sampler: Sampler, queue: Arc<Queue>) -> Tracer {
        Tracer { sampler, queue: Some(queue) }
    }

    /// The context of this hop of an HTTP call that has these headers.
    ///
    /// Nothing valid came: a new root. Something came: a child of it where spans are recorded, else what came, unchanged (the
    /// specification's way for one who adds no span: an ID that nobody exports would tear the trace).
    pub fn receive(&self, headers: &HeaderMap) -> TraceContext {
        self.here(TraceContext::from_headers(headers))
    }

    /// [`receive`](Self::receive) for a gRPC call: `grpc-trace-bin` is read too.
    pub fn receive_grpc(&self, headers: &HeaderMap) -> TraceContext {
        self.here(TraceContext::from_grpc(headers))
    }

    /// The context of a span under `context`: its child where spans are recorded, else `context` itself.
    pub fn child_of(&self, context: &TraceContext) -> TraceContext {
        if self.queue.is_some() { context.child() } else { context.clone() }
    }

    /// Begins the span that `context` stands for. `None` unless the trace is sampled and an exporter is configured.
    pub fn start(&self, context: &TraceContext, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        self.start_with(context, kind, || name.into())
    }

    /// [`start`](Self::start), with a name that is built only when there is a span.
    pub fn start_with(
        &self,
        context: &TraceContext,
        kind: SpanKind,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Option<Span> {
        let queue = self.queue.as_ref().filter(|_| context.sampled())?;
        Some(Span::start(context, kind, name(), queue.clone()))
    }

    /// The sampler of new traces.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    fn here(&self, came: Option<TraceContext>) -> TraceContext {
        match came {
            Some(came) => self.child_of(&came),
            None => TraceContext::new_root(&self.sampler),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn incoming() -> HeaderMap {
        [(HeaderName::from_static("traceparent"), HeaderValue::from_static(PARENT))].into_iter().collect()
    }

    #[test]
    fn without_an_exporter_the_context_goes_on_unchanged_and_there_is_no_span() {
        let tracer = Tracer::new(Sampler::ALWAYS);
        let context = tracer.receive(&incoming());
        assert!(tracer.start(&context, SpanKind::Server, "x").is_none());
        let mut out = HeaderMap::new();
        tracer.child_of(&context).inject(&mut out);
        assert_eq!(out["traceparent"], PARENT);
    }

    #[test]
    fn with_an_exporter_this_hop_is_a_child_of_the_sender() {
        let tracer = Tracer::recording(Sampler::NEVER, Arc::new(Queue::for_test(8)));
        let context = tracer.receive(&incoming());
        assert_eq!(context.parent_id().unwrap().to_string(), "00f067aa0ba902b7");
        assert!(tracer.start(&context, SpanKind::Server, "x").is_some());
    }

    #[test]
    fn an_unsampled_trace_has_no_span_and_does_not_build_its_name() {
        let tracer = Tracer::recording(Sampler::NEVER, Arc::new(Queue::for_test(8)));
        let context = tracer.receive(&HeaderMap::new());
        assert!(tracer.start_with(&context, SpanKind::Server, || unreachable!("the name was built")).is_none());
    }
}
