//! What the data path counts. Families are made once; handles are resolved once a target
//! or connection, so that a call only adds to atomics.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outrigger_identity::{AppId, SpiffeId};
use outrigger_policy::access::Action;
use outrigger_telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry};

use crate::Wire;

/// Every family of the data path.
pub(crate) struct Measures {
    app_id: String,
    limits: Family<Counter>,
    peers: Family<Gauge>,
    handshakes_failed: Family<Counter>,
    retries: Family<Counter>,
    failures: Family<Counter>,
    sent: Family<Counter>,
    received: Family<Counter>,
    answered: Family<Counter>,
    answers: Family<Counter>,
    answer_latency: Family<Histogram>,
    allowed: Family<Counter>,
    blocked: Family<Counter>,
}

/// Counts for one target of calls.
pub(crate) struct TargetMeasures {
    app_id: String,
    target: String,
    pub(crate) sent: Counter,
    pub(crate) retries: Counter,
    answers: Family<Counter>,
    answer_latency: Family<Histogram>,
    by_status: Mutex<Vec<(u16, Counter, Histogram)>>,
}

/// Counts for one caller of our app.
pub(crate) struct CallerMeasures {
    app_id: String,
    caller: String,
    pub(crate) received: Counter,
    allowed: Counter,
    blocked: Counter,
    answered: Family<Counter>,
    by_status: Mutex<Vec<(u16, Counter)>>,
}

/// One connection counted until dropped.
pub(crate) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Measures {
    pub(crate) fn new(registry: &Registry, this: &AppId) -> Self {
        Self {
            app_id: this.app_id().to_owned(),
            limits: registry.counter(
                "outrigger_limit_exceeded_total",
                "Times that a bound of the data path was met, by its name in docs/limits.md.",
                &["limit"],
            ),
            peers: registry.gauge(
                "outrigger_peer_connections",
                "Open connections to and from peers' sidecars.",
                &["direction", "wire"],
            ),
            handshakes_failed: registry.counter(
                "outrigger_peer_handshakes_failed_total",
                "Connections to the peer port that proved no identity we accept.",
                &[],
            ),
            retries: registry.counter(
                "outrigger_call_retries_total",
                "Attempts beyond the first, by target.",
                &["app_id", "dst_app_id"],
            ),
            failures: registry.counter(
                "outrigger_call_failures_total",
                "Calls that ended without an answer of the app, by cause.",
                &["app_id", "direction", "failure"],
            ),
            sent: registry.counter(
                "dapr_runtime_service_invocation_req_sent_total",
                "The number of requests sent via service invocation.",
                &["app_id", "dst_app_id", "type"],
            ),
            received: registry.counter(
                "dapr_runtime_service_invocation_req_recv_total",
                "The number of requests received via service invocation.",
                &["app_id", "src_app_id"],
            ),
            answered: registry.counter(
                "dapr_runtime_service_invocation_res_sent_total",
                "The number of responses sent via service invocation.",
                &["app_id", "dst_app_id", "status"],
            ),
            answers: registry.counter(
                "dapr_runtime_service_invocation_res_recv_total",
                "The number of responses received via service invocation.",
                &["app_id", "src_app_id", "status", "type"],
            ),
            answer_latency: registry.latency(
                "dapr_runtime_service_invocation_res_recv_latency_ms",
                "The latency of service invocation response.",
                &["app_id", "src_app_id", "status"],
            ),
            allowed: registry.counter(
                "dapr_runtime_acl_app_policy_action_allowed_total",
                "The number of requests allowed by the access policy.",
                &["app_id", "trustDomain", "namespace"],
            ),
            blocked: registry.counter(
                "dapr_runtime_acl_app_policy_action_blocked_total",
                "The number of requests blocked by the access policy.",
                &["app_id", "trustDomain", "namespace"],
            ),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new(&Registry::new(), &AppId::new("default", "test").unwrap())
    }

    pub(crate) fn limit_exceeded(&self, name: &'static str) {
        self.limits.with(&[name]).inc();
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.with(&[]).inc();
    }

    pub(crate) fn failed(&self, direction: &'static str, failure: &outrigger_wire::Failure) {
        if let outrigger_wire::Cause::Limit { name, .. } = failure.cause() {
            self.limit_exceeded(name);
        }
        self.failures.with(&[&self.app_id, direction, failure.name()]).inc();
    }

    /// A connection that we made.
    pub(crate) fn peer_connected(&self, wire: Wire) -> Counted {
        self.counted("outbound", wire)
    }

    /// A connection that a peer made.
    pub(crate) fn peer_accepted(&self, wire: Wire) -> Counted {
        self.counted("inbound", wire)
    }

    fn counted(&self, direction: &'static str, wire: Wire) -> Counted {
        let gauge = self.peers.with(&[direction, wire.name()]);
        gauge.inc();
        Counted(gauge)
    }

    pub(crate) fn target(&self, target: &AppId) -> TargetMeasures {
        let target = target.app_id();
        TargetMeasures {
            app_id: self.app_id.clone(),
            target: target.to_owned(),
            sent: self.sent.with(&[&self.app_id, target, "unary"]),
            retries: self.retries.with(&[&self.app_id, target]),
            answers: self.answers.clone(),
            answer_latency: self.answer_latency.clone(),
            by_status: Mutex::default(),
        }
    }

    pub(crate) fn caller(&self, caller: &SpiffeId) -> CallerMeasures {
        let dapr = caller.as_dapr();
        let (namespace, app_id) = dapr.map_or(("", ""), |dapr| (dapr.namespace, dapr.app_id));
        self.named(caller.trust_domain(), namespace, app_id)
    }

    /// Of a caller that proved nothing, by the name that it goes by.
    pub(crate) fn claimed(&self, caller: Option<&AppId>) -> CallerMeasures {
        self.named("", "", caller.map_or("", AppId::app_id))
    }

    fn named(&self, trust_domain: &str, namespace: &str, app_id: &str) -> CallerMeasures {
        let labels = [self.app_id.as_str(), trust_domain, namespace];
        CallerMeasures {
            app_id: self.app_id.clone(),
            caller: app_id.to_owned(),
            received: self.received.with(&[&self.app_id, app_id]),
            allowed: self.allowed.with(&labels),
            blocked: self.blocked.with(&labels),
            answered: self.answered.clone(),
            by_status: Mutex::default(),
        }
    }
}

impl TargetMeasures {
    /// Notes an answer of the target.
    pub(crate) fn answer(&self, status: u16, latency: Duration) {
        let mut known = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(other, ..)| *other == status) {
            let text = status.to_string();
            let labels = [self.app_id.as_str(), self.target.as_str(), text.as_str()];
            let answers = self.answers.with(&[labels[0], labels[1], labels[2], "unary"]);
            known.push((status, answers, self.answer_latency.with(&labels)));
        }
        if let Some((_, answers, latencies)) = known.iter().find(|(other, ..)| *other == status) {
            answers.inc();
            latencies.observe_ms(latency);
        }
    }
}

impl CallerMeasures {
    /// Notes what the access policy decided.
    pub(crate) fn decided(&self, action: Action) {
        match action {
            Action::Allow => self.allowed.inc(),
            Action::Deny => self.blocked.inc(),
        }
    }

    /// Notes an answer to the caller.
    pub(crate) fn answer(&self, status: u16) {
        let mut known = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(other, _)| *other == status) {
            let answered = self.answered.with(&[&self.app_id, &self.caller, &status.to_string()]);
            known.push((status, answered));
        }
        if let Some((_, answered)) = known.iter().find(|(other, _)| *other == status) {
            answered.inc();
        }
    }
}
