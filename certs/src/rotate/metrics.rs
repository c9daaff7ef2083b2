use outrigger_telemetry::metrics::{Counter, Family, Registry};

use super::RotationEvent;

/// Counts what happens in a rotation, under the names of stock sidecars where they have one.
///
/// Give it to [`super::Rotation::start`] as `move |event| counters.count(event)`.
#[derive(Debug, Clone)]
pub struct RotationCounters {
    app_id: String,
    initialised: Counter,
    rotated: Counter,
    init_failed: Family<Counter>,
    rotation_failed: Family<Counter>,
    expired: Counter,
}

impl RotationCounters {
    /// Makes the counters of one app.
    pub fn new(registry: &Registry, app_id: &str) -> Self {
        let once = &["app_id"];
        let failed = &["app_id", "reason"];
        let initialised =
            registry.counter("dapr_runtime_mtls_init_total", "Times that the first certificate was obtained.", once);
        let rotated = registry.counter(
            "dapr_runtime_mtls_workload_cert_rotated_total",
            "Times that a new certificate took over.",
            once,
        );
        Self {
            app_id: app_id.to_owned(),
            initialised: initialised.with(&[app_id]),
            rotated: rotated.with(&[app_id]),
            init_failed: registry.counter(
                "dapr_runtime_mtls_init_fail_total",
                "Attempts to obtain the first certificate that failed.",
                failed,
            ),
            rotation_failed: registry.counter(
                "dapr_runtime_mtls_workload_cert_rotated_fail_total",
                "Attempts to obtain a later certificate that failed.",
                failed,
            ),
            expired: registry
                .counter(
                    "outrigger_workload_cert_expired_total",
                    "Times that the certificate in use ran out before another took over.",
                    once,
                )
                .with(&[app_id]),
        }
    }

    /// Counts one event; those about roots have no counter.
    pub fn count(&self, event: RotationEvent) {
        match event {
            RotationEvent::Initialised => self.initialised.inc(),
            RotationEvent::Rotated => self.rotated.inc(),
            RotationEvent::InitFailed { reason } => self.init_failed.with(&[&self.app_id, reason]).inc(),
            RotationEvent::RotationFailed { reason } => self.rotation_failed.with(&[&self.app_id, reason]).inc(),
            RotationEvent::Expired => self.expired.inc(),
            RotationEvent::RootsChanged | RotationEvent::RootsRefused => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_counted_under_its_stock_name() {
        let registry = Registry::new();
        let counters = RotationCounters::new(&registry, "a");
        for event in [
            RotationEvent::InitFailed { reason: "sentry_conn" },
            RotationEvent::Initialised,
            RotationEvent::Rotated,
            RotationEvent::Rotated,
            RotationEvent::RotationFailed { reason: "sign" },
            RotationEvent::Expired,
            RotationEvent::RootsChanged,
        ] {
            counters.count(event);
        }
        let mut text = String::new();
        registry.encode(&mut text);
        for line in [
            "dapr_runtime_mtls_init_total{app_id=\"a\"} 1",
            "dapr_runtime_mtls_init_fail_total{app_id=\"a\",reason=\"sentry_conn\"} 1",
            "dapr_runtime_mtls_workload_cert_rotated_total{app_id=\"a\"} 2",
            "dapr_runtime_mtls_workload_cert_rotated_fail_total{app_id=\"a\",reason=\"sign\"} 1",
            "outrigger_workload_cert_expired_total{app_id=\"a\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
