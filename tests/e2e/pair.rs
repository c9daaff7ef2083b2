//! Two apps, each with its sidecar.

use outrigger_test_support::{Answer, App, GrpcApp, Home, Received, Sidecar};

/// `caller` has no application; `callee` has one that speaks HTTP.
pub(crate) struct Pair {
    pub(crate) caller: Sidecar,
    pub(crate) callee: Sidecar,
    pub(crate) app: App,
    pub(crate) home: Home,
}

impl Pair {
    /// The application answers every call with 200 and `ok`.
    pub(crate) fn start() -> Self {
        Self::answering(|_| Answer::text("ok"))
    }

    pub(crate) fn answering(handler: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::speaking("http", handler)
    }

    pub(crate) fn speaking(
        protocol: &'static str,
        handler: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let home = Home::new();
        let app = App::answering(handler);
        let callee = Sidecar::of(&home, "callee").app(app.port(), protocol).start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callee, app, home }
    }

    /// The callee's sidecar is started with `flag` as well.
    pub(crate) fn with_flag(flag: &str, handler: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let home = Home::new();
        let app = App::answering(handler);
        let callee = Sidecar::of(&home, "callee").app(app.port(), "http").flag(flag).start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callee, app, home }
    }

    /// The callee holds its callers to the Configuration `yaml`.
    pub(crate) fn with_policy(yaml: &str) -> Self {
        let home = Home::new();
        let app = App::start();
        let callee = Sidecar::of(&home, "callee").app(app.port(), "http").config(yaml).start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callee, app, home }
    }

    /// A GET of `path` (with its first slash) at the callee, through both sidecars.
    pub(crate) fn get(&self, path: &str) -> outrigger_test_support::http1::Message {
        self.caller.get(&format!("/v1.0/invoke/callee/method{path}"))
    }
}

/// As [`Pair`], but the application speaks gRPC.
pub(crate) struct GrpcPair {
    pub(crate) caller: Sidecar,
    pub(crate) callee: Sidecar,
    pub(crate) app: GrpcApp,
    // Goes last.
    _home: Home,
}

impl GrpcPair {
    pub(crate) fn start() -> Self {
        Self::of(None)
    }

    pub(crate) fn with_policy(yaml: &str) -> Self {
        Self::of(Some(yaml))
    }

    fn of(policy: Option<&str>) -> Self {
        let home = Home::new();
        let app = GrpcApp::start();
        let mut callee = Sidecar::of(&home, "callee").app(app.port(), "grpc");
        if let Some(yaml) = policy {
            callee = callee.config(yaml);
        }
        let callee = callee.start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callee, app, _home: home }
    }
}

/// A Configuration that allows what `policies` says (list entries of `spec.accessControl.policies`), and nothing else.
pub(crate) fn only(policies: &str) -> String {
    let indented: String = policies.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: callee-access\nspec:\n  accessControl:\n    \
         defaultAction: deny\n    trustDomain: public\n    policies:\n{indented}"
    )
}

/// [`only`] for the caller, with `operations` (list entries of `operations`).
pub(crate) fn caller_may(operations: &str) -> String {
    let indented: String = operations.lines().map(|line| format!("    {line}\n")).collect();
    only(&format!(
        "- appId: caller\n  namespace: default\n  trustDomain: public\n  defaultAction: deny\n  operations:\n{indented}"
    ))
}
