//! Calls that leave: resolve, route, balance, send.

mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use outrigger_identity::{AppId, SpiffeId};
use outrigger_policy::call_policy::CallPolicy;
use outrigger_telemetry::access_record::{Direction, Flag};
use outrigger_telemetry::trace::SpanKind;
use outrigger_wire::{Body, Cause, Failure, Limits, header};
use tokio::time::{Instant, timeout_at};

use self::target::{AppTarget, Kept};
use crate::call::execute;
use crate::connection::CallRecord;
use crate::measures::Measures;
use crate::peer::dapr::Apps;
use crate::peer::http2::Dialer;
use crate::{Call, Inbound, Parts, Peers, Target, Wire};

/// The one handle on calls that leave. Cheap to clone.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Who we are to a callee.
    own: SpiffeId,
    measures: Arc<Measures>,
    dialer: Arc<Dialer>,
    targets: Mutex<HashMap<AppId, Known>>,
}

struct Known {
    target: Arc<AppTarget>,
    used: Instant,
}

impl Outbound {
    /// Calls by these parts.
    pub fn new(parts: Parts) -> Self {
        let measures = Arc::new(Measures::new(&parts.metrics, &parts.this));
        let dialer = Dialer::new(parts.peers, parts.identity.clone(), Arc::clone(&parts.limits), Arc::clone(&measures));
        let own = parts.this.spiffe_id(&parts.trust_domain);
        Self(Arc::new(Inner { parts, own, measures, dialer, targets: Mutex::default() }))
    }

    /// Sends a call and gives the response, its body still to come.
    ///
    /// Of the request's URI only path and query are used, as they are; its headers must
    /// be without hop-by-hop and control fields. Dropping the future or the body ends the call.
    ///
    /// # Errors
    /// Whatever kept the call from being answered by the target's app; an answer of the
    /// app is never an error, whatever its status.
    pub async fn send(&self, call: Call, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let Target::App(app) = &call.target;
        let result = if *app == self.0.parts.this {
            self.0.to_ourselves(&call, request).await
        } else {
            self.0.to_app(app, &call, request).await
        };
        if let Err(failure) = &result {
            self.0.measures.failed("outbound", failure);
        }
        result
    }
}

impl Inner {
    async fn to_app(&self, app: &AppId, call: &Call, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let parts = &self.parts;
        let trace = parts.tracer.child_of(&call.trace);
        let span = parts.tracer.start_with(&trace, SpanKind::Client, || {
            outrigger_telemetry::trace::call_local(app.app_id(), request.uri().path().trim_start_matches('/'))
        });
        let mut record: CallRecord<Kept> = CallRecord::begin(Direction::Outbound, call.protocol, span);
        record.describe(app, request.method());
        // Until a replica has said which it speaks.
        let wire = match parts.peers {
            Peers::MutualTls => Wire::Native,
            Peers::Clear => Wire::Dapr,
        };
        record.access.wire(wire.name());
        record.access.caller_id(&self.own);
        record.access.caller_app(&parts.this);
        record.access.callee_app(app);
        record.access.method(request.method());
        record.access.path(request.uri().path());
        record.access.trace(&trace);
        let policy = self.call_policy();
        let target = match within(call.deadline, self.target(app, &policy)).await {
            Ok(target) => target,
            Err(failure) => {
                record.failed(&failure);
                return Err(failure);
            }
        };
        let mut request = record.count_upload(request);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.uri(path)?;
        request.headers_mut().remove(http::header::HOST);
        match call.protocol {
            outrigger_policy::access::CallProtocol::Http => trace.inject(request.headers_mut()),
            outrigger_policy::access::CallProtocol::Grpc => trace.inject_grpc(request.headers_mut()),
        }
        target.measures.sent.inc();
        let mut attempts = 0;
        let answered = execute(&*target, &policy, &target.budget, call.deadline, request, &mut attempts).await;
        record.access.attempts(attempts);
        if attempts > 1 {
            record.access.flag(Flag::Retried);
            target.measures.retries.add(u64::from(attempts - 1));
        }
        match answered {
            Ok(mut answer) => {
                record.access.endpoint(answer.replica.endpoint.address);
                record.access.wire(answer.kept.0.wire.name());
                if let Some(peer) = &answer.kept.0.peer {
                    record.access.callee_id(peer);
                }
                if let Some((version, exchange)) = answer.kept.0.tls.as_deref().and_then(|tls| tls.split_once(' ')) {
                    record.access.tls(version, exchange);
                }
                target.measures.answer(answer.response.status().as_u16(), answer.latency);
                header::strip_hop_by_hop(answer.response.headers_mut());
                header::strip_ours(answer.response.headers_mut());
                let (kept, pending) = answer.kept;
                Ok(record.answered(answer.response, kept.with(pending)))
            }
            Err(failure) => {
                if let Cause::Denied { policy, .. } = failure.cause() {
                    record.access.policy(policy, false);
                }
                record.failed(&failure);
                Err(failure)
            }
        }
    }

    /// Our app calls itself: no wire, no policy, the same gate before the app.
    async fn to_ourselves(&self, call: &Call, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let parts = &self.parts;
        let caller = self.own.clone();
        let mut record: CallRecord = CallRecord::begin(Direction::Outbound, call.protocol, None);
        record.access.wire(Wire::Local.name());
        record.access.caller_id(&caller);
        record.access.caller_app(&parts.this);
        record.access.callee_app(&parts.this);
        record.access.method(request.method());
        record.access.path(request.uri().path());
        record.access.trace(&call.trace);
        let request = record.count_upload(request);
        let inbound = Inbound {
            caller: Some(caller),
            caller_app: Some(parts.this.clone()),
            protocol: call.protocol,
            wire: Wire::Local,
            tls: None,
            policy: "own app".into(),
            trace: call.trace.clone(),
        };
        match within(call.deadline, parts.local.deliver(inbound, request)).await {
            Ok(mut response) => {
                strip_from_app(response.headers_mut());
                Ok(record.answered(response, ()))
            }
            Err(failure) => {
                record.failed(&failure);
                Err(failure)
            }
        }
    }

    fn call_policy(&self) -> Arc<CallPolicy> {
        Arc::clone(&self.parts.view.borrow().policies().call)
    }

    /// The target's live state: kept while it is used, made when it is first asked for.
    async fn target(&self, app: &AppId, policy: &CallPolicy) -> Result<Arc<AppTarget>, Failure> {
        if let Some(target) = self.known(app) {
            return Ok(target);
        }
        self.make_room();
        let endpoints = self.parts.resolver.resolve(app).await?;
        let mut targets = lock(&self.targets);
        // Another call may have resolved it meanwhile; one state must serve both.
        let known = targets.entry(app.clone()).or_insert_with(|| Known {
            target: Arc::new(AppTarget::new(
                Apps { caller: self.parts.this.clone(), callee: app.clone() },
                Arc::clone(&self.parts.limits),
                &self.parts.trust_domain,
                policy,
                endpoints,
                Arc::clone(&self.dialer),
                self.measures.target(app),
            )),
            used: Instant::now(),
        });
        Ok(Arc::clone(&known.target))
    }

    /// Lets the least used target go where there may be no more. Before the next is resolved: what
    /// resolves may be bounded too, and counts what we hold.
    fn make_room(&self) {
        let mut targets = lock(&self.targets);
        if targets.len() >= Limits::size(self.parts.limits.targets) {
            let oldest = targets.iter().min_by_key(|(_, known)| known.used).map(|(app, _)| app.clone());
            oldest.map(|oldest| targets.remove(&oldest));
        }
    }

    fn known(&self, app: &AppId) -> Option<Arc<AppTarget>> {
        let mut targets = lock(&self.targets);
        let known = targets.get_mut(app)?;
        if known.target.is_gone() {
            // Nothing is announced by that name any more: ask anew, or say so.
            targets.remove(app);
            return None;
        }
        known.used = Instant::now();
        Some(Arc::clone(&known.target))
    }
}

// Each entry is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `work` gives, or that the caller's deadline has passed.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let Some(deadline) = deadline else { return work.await };
    let started = Instant::now();
    let late = || Failure::deadline(deadline.saturating_duration_since(started));
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late()))
}

/// An app's response must not speak for a sidecar, nor for the hop it came by.
pub(crate) fn strip_from_app(headers: &mut HeaderMap) {
    header::strip_hop_by_hop(headers);
    header::strip_ours(headers);
}

/// `https://<authority><path>` for the native wire.
fn uri(authority: &http::uri::Authority, path: Option<PathAndQuery>) -> Result<Uri, Failure> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|error| Failure::bad_input("path", "", error.to_string()))
}
