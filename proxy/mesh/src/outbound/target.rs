//! The live state of one target: its replicas, budget and counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use outrigger_identity::{AppId, SpiffeId, TrustDomain};
use outrigger_policy::breaker::{Breaker, BreakerPolicy};
use outrigger_policy::call_policy::CallPolicy;
use outrigger_policy::retry::Budget;
use outrigger_view::Endpoint;
use outrigger_wire::{Body, Cause, Failure, Limits, header};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};

use crate::Wire;
use crate::balance::{Admission, NotPicked, Pending, Replica, pick};
use crate::call::Attempts;
use crate::measures::TargetMeasures;
use crate::peer::dapr::Apps;
use crate::peer::http2::{Dialer, Occupied, Pool};

/// Bytes of a failure's text that we read from a peer.
const FAILURE_TEXT: usize = 4 * 1024;
/// Wait for that text.
const FAILURE_WAIT: Duration = Duration::from_secs(2);

/// An app that is called.
pub(super) struct AppTarget {
    name: AppId,
    apps: Apps,
    limits: Arc<Limits>,
    authority: Option<Authority>,
    /// Whom each replica must prove to be: follows from the app asked for, never from discovery.
    expected: SpiffeId,
    breaker: Option<BreakerPolicy>,
    dialer: Arc<Dialer>,
    live: Mutex<Live>,
    pub(super) budget: Mutex<Budget>,
    pub(super) measures: TargetMeasures,
}

struct Live {
    endpoints: watch::Receiver<Arc<Vec<Endpoint>>>,
    seen: Option<Arc<Vec<Endpoint>>>,
    replicas: Arc<[Arc<Replica>]>,
    random: fastrand::Rng,
}

/// What a call keeps until its response body has ended.
pub(super) struct Kept {
    pub(super) wire: Wire,
    pub(super) peer: Option<SpiffeId>,
    pub(super) tls: Option<Arc<str>>,
    #[allow(dead_code, reason = "held for its drop")]
    occupied: Occupied,
    #[allow(dead_code, reason = "held for its drop")]
    pending: Option<Pending>,
}

impl Kept {
    pub(super) fn with(self, pending: Pending) -> Self {
        Self { pending: Some(pending), ..self }
    }
}

impl AppTarget {
    pub(super) fn new(
        apps: Apps,
        limits: Arc<Limits>,
        trust_domain: &TrustDomain,
        policy: &CallPolicy,
        endpoints: watch::Receiver<Arc<Vec<Endpoint>>>,
        dialer: Arc<Dialer>,
        measures: TargetMeasures,
    ) -> Self {
        let mut live = Live { endpoints, seen: None, replicas: Arc::default(), random: fastrand::Rng::new() };
        live.endpoints.mark_changed();
        let name = apps.callee.clone();
        Self {
            authority: Authority::try_from(name.to_string()).ok(),
            expected: name.spiffe_id(trust_domain),
            name,
            apps,
            limits,
            breaker: policy.breaker,
            dialer,
            live: Mutex::new(live),
            budget: Mutex::new(Budget::new(policy.retry.budget, Instant::now().into_std())),
            measures,
        }
    }

    /// Discovery has nothing by this name any more, and no source that could bring it back.
    pub(super) fn is_gone(&self) -> bool {
        let live = self.lock();
        live.endpoints.has_changed().is_err() && live.endpoints.borrow().is_empty()
    }

    pub(super) fn uri(&self, path: Option<PathAndQuery>) -> Result<Uri, Failure> {
        let authority = self.authority.as_ref().ok_or_else(|| {
            Failure::bad_input("app ID", self.name.to_string(), "it cannot stand in a request's authority")
        })?;
        super::uri(authority, path)
    }

    /// The replicas that discovery names now; one that it named before keeps its state.
    fn replicas(&self) -> (Arc<[Arc<Replica>]>, fastrand::Rng) {
        let mut live = self.lock();
        // A source that went away cannot say whether its last set was seen: look.
        if live.endpoints.has_changed().unwrap_or(true) {
            let endpoints = Arc::clone(&live.endpoints.borrow_and_update());
            if !live.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &endpoints)) {
                live.replicas = endpoints.iter().map(|endpoint| self.replica(endpoint, &live.replicas)).collect();
                live.seen = Some(endpoints);
            }
        }
        let random = live.random.fork();
        (Arc::clone(&live.replicas), random)
    }

    fn replica(&self, endpoint: &Endpoint, known: &[Arc<Replica>]) -> Arc<Replica> {
        if let Some(same) = known.iter().find(|replica| replica.endpoint == *endpoint) {
            return Arc::clone(same);
        }
        let pool = Pool::new(Arc::clone(&self.dialer), endpoint.address, self.expected.clone());
        Arc::new(Replica::new(endpoint.clone(), pool, self.breaker.map(Breaker::new)))
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempts for AppTarget {
    type Kept = Kept;

    fn pick(&self, now: Instant, tried: &[Arc<Replica>]) -> Result<(Arc<Replica>, Admission), Failure> {
        let (replicas, mut random) = self.replicas();
        let all_open = self.breaker.map(|breaker| breaker.all_open).unwrap_or_default();
        pick(&replicas, tried, now, &mut random, all_open).map_err(|why| {
            let target = self.name.to_string();
            Failure::new(match why {
                NotPicked::NoneLeft => Cause::NoEndpoint { target },
                NotPicked::AllOpen => Cause::BreakerOpen { target },
            })
        })
    }

    async fn send(&self, replica: &Replica, request: Request<Body>) -> Result<(Response<Body>, Kept), Failure> {
        let lease = replica.pool.lease().await?;
        let (wire, peer, tls) = (lease.wire(), lease.peer().cloned(), lease.tls().cloned());
        let (response, occupied) = lease.send(request, &self.apps, &self.limits).await?;
        // What an app of a stock sidecar sends by that name is no word of a sidecar.
        if wire == Wire::Native && response.headers().contains_key(header::FAILURE) {
            return Err(remote_failure(response).await);
        }
        Ok((response, Kept { wire, peer, tls, occupied, pending: None }))
    }
}

/// What the callee's sidecar says went wrong on its side.
async fn remote_failure(response: Response<Body>) -> Failure {
    let (head, body) = response.into_parts();
    let word = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let text = match timeout(FAILURE_WAIT, Limited::new(body, FAILURE_TEXT).collect()).await {
        // In answer to HEAD it can say nothing.
        Ok(Ok(text)) if text.size_hint().exact() != Some(0) => String::from_utf8_lossy(&text.to_bytes()).into_owned(),
        _ => "the callee's sidecar did not say why".to_owned(),
    };
    Failure::from_wire(word(header::FAILURE).unwrap_or_default(), word(header::POLICY), text)
}
