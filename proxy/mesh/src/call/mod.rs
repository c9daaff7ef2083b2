//! The one executor of attempts.
//!
//! Deadline, budget, per-try timeout, retry with back-off, breaker, exclusion of
//! replicas that were tried, replay of the request body: here and nowhere else, so that
//! retries can never multiply. Whatever resource asks for them compiles into a
//! [`CallPolicy`]; what an attempt *is* comes from the caller as [`Attempts`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use outrigger_policy::call_policy::CallPolicy;
use outrigger_policy::retry::{AttemptEnd, Budget, RetryOn};
use outrigger_wire::{Body, Failure, Replay, RetryClass, header};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::balance::{Admission, Pending, Replica};

/// What a failed attempt counts as in its replica's latency, at least.
const FAILED: Duration = Duration::from_secs(1);

/// What the executor attempts.
pub(crate) trait Attempts {
    /// What a successful attempt leaves to be kept until the response body has ended.
    type Kept: Send;

    /// A replica for the next attempt, none of `tried` while there is another.
    fn pick(&self, now: Instant, tried: &[Arc<Replica>]) -> Result<(Arc<Replica>, Admission), Failure>;

    /// One attempt, up to the response head.
    fn send(
        &self,
        replica: &Replica,
        request: Request<Body>,
    ) -> impl Future<Output = Result<(Response<Body>, Self::Kept), Failure>> + Send;
}

/// How a call went.
pub(crate) struct Answer<K> {
    pub(crate) response: Response<Body>,
    pub(crate) replica: Arc<Replica>,
    pub(crate) kept: (K, Pending),
    /// From the start of the last attempt to its response head.
    pub(crate) latency: Duration,
}

/// Makes attempts until one is answered for good, or policy says that it is enough.
///
/// `attempts` counts those begun, whatever the outcome. Cancel safe: dropping the
/// future ends the attempt under way and counts it neither for nor against its replica.
///
/// # Errors
/// The failure of the last attempt; `Timeout` when the deadline came first.
pub(crate) async fn execute<A: Attempts + Sync>(
    target: &A,
    policy: &CallPolicy,
    budget: &Mutex<Budget>,
    deadline: Option<Instant>,
    request: Request<Body>,
    attempts: &mut u32,
) -> Result<Answer<A::Kept>, Failure> {
    let started = Instant::now();
    let until = earliest(deadline, policy.deadline.and_then(|within| started.checked_add(within)));
    with_budget(budget, |budget| budget.on_call());

    let idempotent = RetryOn::is_idempotent(request.method().as_str());
    let mut request = Repeatable::new(request, policy);
    let mut tried: Vec<Arc<Replica>> = Vec::new();
    loop {
        let attempt = request.next();
        *attempts += 1;
        let (result, replica) = one(target, policy, until, &mut tried, attempt).await;
        let end = match &result {
            Ok(answer) => answered(&answer.response),
            Err(failure) => failed(failure),
        };
        let again = end.is_some_and(|end| policy.retry.on.allows(end, idempotent))
            && *attempts <= policy.retry.max_retries
            && request.can_repeat();
        let resume = Instant::now() + policy.retry.backoff.delay(*attempts, fastrand::f64());
        let in_time = until.is_none_or(|until| resume < until);
        if !(again && in_time && with_budget(budget, |budget| budget.try_retry(Instant::now().into_std()))) {
            request.commit();
            return result.map_err(|failure| at_deadline(failure, until, started));
        }
        if let Some(replica) = replica {
            tried.push(replica);
        }
        drop(result);
        sleep_until(resume).await;
    }
}

async fn one<A: Attempts + Sync>(
    target: &A,
    policy: &CallPolicy,
    until: Option<Instant>,
    tried: &mut Vec<Arc<Replica>>,
    request: Request<Body>,
) -> (Result<Answer<A::Kept>, Failure>, Option<Arc<Replica>>) {
    let started = Instant::now();
    let mut picked = target.pick(started, tried);
    if picked.is_err() && !tried.is_empty() {
        // Every replica was tried; one of them may be well again.
        tried.clear();
        picked = target.pick(started, tried);
    }
    let (replica, admission) = match picked {
        Ok(picked) => picked,
        Err(failure) => return (Err(failure), None),
    };
    let mut under_way = UnderWay { replica: &replica, admission: Some(admission) };
    let pending = replica.load.enter();
    let give_up = policy.per_try.and_then(|within| started.checked_add(within));
    // A caller that waits only a moment says nothing of the replica.
    let impatient = until.is_some_and(|until| give_up.is_none_or(|give_up| until <= give_up));
    let until = earliest(until, give_up);
    let sending = target.send(&replica, request);
    let sent = match until {
        None => sending.await,
        Some(until) => timeout_at(until, sending)
            .await
            .unwrap_or_else(|_| Err(Failure::timeout("response head", until.saturating_duration_since(started)))),
    };
    let now = Instant::now();
    let latency = now.saturating_duration_since(started);
    let timed_out = until.is_some_and(|until| now >= until);
    let against = if impatient && timed_out { None } else { blame(&sent) };
    under_way.settle(now, against);
    drop(under_way);
    let result = match sent {
        Ok((response, kept)) => {
            replica.load.observe(now, latency);
            Ok(Answer { response, replica: Arc::clone(&replica), kept: (kept, pending), latency })
        }
        Err(failure) => {
            if against == Some(false) {
                // Who fails at once must not look like who answers fast.
                replica.load.observe(now, latency.max(FAILED));
            }
            Err(failure)
        }
    };
    (result, Some(replica))
}

/// An attempt whose replica's breaker still waits for its result.
struct UnderWay<'a> {
    replica: &'a Replica,
    admission: Option<Admission>,
}

impl UnderWay<'_> {
    fn settle(&mut self, now: Instant, ok: Option<bool>) {
        if let Some(admission) = self.admission.take() {
            self.replica.settle(now, admission, ok);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.settle(Instant::now(), None);
    }
}

/// Whether an attempt speaks for (`true`) or against (`false`) its replica, or says nothing.
fn blame<K>(sent: &Result<(Response<Body>, K), Failure>) -> Option<bool> {
    match sent {
        Ok(_) => Some(true),
        Err(failure) => match failure.name() {
            "connect" | "tls" | "reset" | "protocol" | "timeout" | "app_unavailable" => Some(false),
            _ => None,
        },
    }
}

fn failed(failure: &Failure) -> Option<AttemptEnd> {
    match (failure.name(), failure.retry_class()) {
        // No replica, or none that may be tried: the next moment may bring one.
        ("no_endpoint" | "breaker_open", _) => Some(AttemptEnd::NotSent),
        (_, RetryClass::NotSent) => Some(AttemptEnd::NotSent),
        ("timeout", RetryClass::MaybeSent) => Some(AttemptEnd::TimedOut),
        (_, RetryClass::MaybeSent) => Some(AttemptEnd::Interrupted),
        (_, RetryClass::Never) => None,
    }
}

/// A gRPC answer that is its status alone, or an HTTP answer.
fn answered(response: &Response<Body>) -> Option<AttemptEnd> {
    if let Some(status) = response.headers().get("grpc-status").filter(|_| header::is_grpc(response.headers())) {
        let status = status.to_str().ok()?.parse().ok()?;
        return response.body().is_end_stream().then_some(AttemptEnd::Grpc(status));
    }
    Some(AttemptEnd::Http(response.status().as_u16()))
}

/// Past the deadline that is what the caller is told, whatever the last attempt met.
fn at_deadline(failure: Failure, until: Option<Instant>, started: Instant) -> Failure {
    match until {
        Some(until) if Instant::now() >= until => Failure::deadline(until.saturating_duration_since(started)),
        _ => failure,
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn with_budget<T>(budget: &Mutex<Budget>, act: impl FnOnce(&mut Budget) -> T) -> T {
    // A budget is a number of tokens, whole between calls.
    act(&mut budget.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A request that can be made again while its body allows it.
enum Repeatable {
    /// Its body is in memory.
    Whole { head: Parts, body: bytes::Bytes },
    /// Its body is kept as it is read.
    Kept { head: Parts, replay: Replay },
    /// Policy makes one attempt only.
    Once(Option<Request<Body>>),
}

impl Repeatable {
    fn new(request: Request<Body>, policy: &CallPolicy) -> Self {
        if policy.retry.max_retries == 0 {
            return Self::Once(Some(request));
        }
        let (head, body) = request.into_parts();
        match body.as_full() {
            Some(body) => Self::Whole { head, body },
            None => Self::Kept { head, replay: Replay::new(body, policy.replay_limit) },
        }
    }

    /// The request for the next attempt; only called when there may be one.
    fn next(&mut self) -> Request<Body> {
        match self {
            Self::Whole { head, body } => Request::from_parts(head.clone(), Body::full(body.clone())),
            Self::Kept { head, replay } => Request::from_parts(head.clone(), replay.body().unwrap_or_default()),
            Self::Once(request) => request.take().unwrap_or_default(),
        }
    }

    fn can_repeat(&self) -> bool {
        match self {
            Self::Whole { .. } => true,
            Self::Kept { replay, .. } => replay.can_repeat(),
            Self::Once(_) => false,
        }
    }

    fn commit(&self) {
        if let Self::Kept { replay, .. } = self {
            replay.commit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt as _;
    use outrigger_policy::breaker::{AllOpen, Breaker, BreakerPolicy};
    use outrigger_policy::retry::{Backoff, RetryPolicy};
    use outrigger_view::Endpoint;
    use outrigger_wire::Cause;

    use super::*;
    use crate::balance::{NotPicked, pick};
    use crate::peer::http2::Pool;

    /// What a replica does with an attempt.
    enum Does {
        Answers(u16),
        Refuses,
        Breaks,
        Hangs,
        Trailers(u32),
    }

    /// Replicas that do as they are told, in the order of attempts.
    struct Fake {
        replicas: Vec<Arc<Replica>>,
        script: Mutex<VecDeque<Does>>,
        seen: Mutex<Vec<(u16, String)>>,
    }

    impl Fake {
        fn new(replicas: u16, script: impl IntoIterator<Item = Does>) -> Self {
            let replica = |port| {
                let endpoint =
                    Endpoint { instance: "r".into(), address: ([127, 0, 0, 1], port).into(), draining: false };
                let breaker = BreakerPolicy { consecutive_failures: Some(3), ..BreakerPolicy::default() };
                let pool = Pool::for_test(endpoint.address);
                Arc::new(Replica::new(endpoint, pool, Some(Breaker::new(breaker))))
            };
            Self {
                replicas: (1..=replicas).map(replica).collect(),
                script: Mutex::new(script.into_iter().collect()),
                seen: Mutex::default(),
            }
        }

        async fn call(&self, policy: &CallPolicy, request: Request<Body>) -> (Result<u16, &'static str>, u32) {
            self.call_until(policy, request, None).await
        }

        async fn call_until(
            &self,
            policy: &CallPolicy,
            request: Request<Body>,
            deadline: Option<Instant>,
        ) -> (Result<u16, &'static str>, u32) {
            let budget = Mutex::new(Budget::new(policy.retry.budget, Instant::now().into_std()));
            let mut attempts = 0;
            let answer = execute(self, policy, &budget, deadline, request, &mut attempts).await;
            (answer.map(|a| a.response.status().as_u16()).map_err(|f| f.name()), attempts)
        }

        fn ports(&self) -> Vec<u16> {
            self.seen.lock().unwrap().iter().map(|(port, _)| *port).collect()
        }
    }

    impl Attempts for Fake {
        type Kept = ();

        fn pick(&self, now: Instant, tried: &[Arc<Replica>]) -> Result<(Arc<Replica>, Admission), Failure> {
            pick(&self.replicas, tried, now, &mut fastrand::Rng::with_seed(3), AllOpen::Refuse).map_err(|why| {
                Failure::new(match why {
                    NotPicked::NoneLeft => Cause::NoEndpoint { target: "t".into() },
                    NotPicked::AllOpen => Cause::BreakerOpen { target: "t".into() },
                })
            })
        }

        async fn send(&self, replica: &Replica, request: Request<Body>) -> Result<(Response<Body>, ()), Failure> {
            let body = request.into_body().collect().await?.to_bytes();
            let seen = (replica.endpoint.address.port(), String::from_utf8(body.to_vec()).unwrap());
            self.seen.lock().unwrap().push(seen);
            let does = self.script.lock().unwrap().pop_front().expect("an attempt that the script foresees");
            let mut response = Response::new(Body::empty());
            match does {
                Does::Answers(status) => *response.status_mut() = status.try_into().unwrap(),
                Does::Refuses => return Err(Failure::new(Cause::Refused { reason: "busy".into() })),
                Does::Breaks => return Err(Failure::new(Cause::Reset { reason: "cut".into() })),
                Does::Hangs => std::future::pending().await,
                Does::Trailers(status) => {
                    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                    response.headers_mut().insert("grpc-status", status.into());
                }
            }
            Ok((response, ()))
        }
    }

    fn request(method: &str, body: Body) -> Request<Body> {
        Request::builder().method(method).uri("/x").body(body).unwrap()
    }

    fn quick() -> CallPolicy {
        let backoff = Backoff::Constant { delay: Duration::from_millis(10) };
        CallPolicy { retry: RetryPolicy { backoff, ..RetryPolicy::default() }, ..CallPolicy::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_goes_to_another_replica_with_the_same_body() {
        let fake = Fake::new(2, [Does::Refuses, Does::Answers(200)]);
        assert_eq!(fake.call(&quick(), request("POST", Body::full("order"))).await, (Ok(200), 2));
        let seen = fake.seen.lock().unwrap();
        assert_ne!(seen[0].0, seen[1].0);
        assert!(seen.iter().all(|(_, body)| body == "order"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_seen_is_repeated_only_when_that_means_the_same() {
        for (method, expected) in [("GET", (Ok(200), 2)), ("PUT", (Ok(200), 2)), ("POST", (Err("reset"), 1))] {
            let fake = Fake::new(2, [Does::Breaks, Does::Answers(200)]);
            assert_eq!(fake.call(&quick(), request(method, Body::empty())).await, expected, "{method}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_the_app_is_an_answer() {
        let fake = Fake::new(2, [Does::Answers(503)]);
        assert_eq!(fake.call(&quick(), request("GET", Body::empty())).await, (Ok(503), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_grpc_status_alone_that_asks_for_it_is_repeated() {
        let fake = Fake::new(2, [Does::Trailers(14), Does::Trailers(5)]);
        assert_eq!(fake.call(&quick(), request("POST", Body::empty())).await, (Ok(200), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_where_policy_says() {
        let fake = Fake::new(3, (0..9).map(|_| Does::Refuses));
        assert_eq!(fake.call(&quick(), request("GET", Body::empty())).await, (Err("refused"), 3));
        let mut ports = fake.ports();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3], "each replica once before any twice");
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_replica_is_tried_again() {
        let fake = Fake::new(1, [Does::Refuses, Does::Refuses, Does::Answers(204)]);
        assert_eq!(fake.call(&quick(), request("GET", Body::empty())).await, (Ok(204), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_ends_the_repeats() {
        let mut policy = quick();
        policy.retry.budget.percent = 0;
        policy.retry.budget.min_per_second = 0;
        policy.retry.budget.burst = 0;
        let fake = Fake::new(2, [Does::Refuses]);
        assert_eq!(fake.call(&policy, request("GET", Body::empty())).await, (Err("refused"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_and_repeated_elsewhere() {
        let policy = CallPolicy { per_try: Some(Duration::from_secs(1)), ..quick() };
        let fake = Fake::new(2, [Does::Hangs, Does::Answers(200)]);
        let started = Instant::now();
        assert_eq!(fake.call(&policy, request("GET", Body::empty())).await, (Ok(200), 2));
        assert_eq!(started.elapsed().as_millis(), 1_010);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_bounds_all_attempts_together() {
        let policy = CallPolicy { per_try: Some(Duration::from_secs(2)), ..quick() };
        let fake = Fake::new(3, [Does::Hangs, Does::Hangs]);
        let started = Instant::now();
        let deadline = Some(started + Duration::from_secs(3));
        let (result, _) = fake.call_until(&policy, request("GET", Body::empty()), deadline).await;
        assert_eq!(result, Err("timeout"));
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_keeps_failing_is_left_alone() {
        let fake = Fake::new(1, (0..3).map(|_| Does::Breaks));
        for _ in 0..3 {
            assert_eq!(fake.call(&quick(), request("POST", Body::empty())).await.0, Err("reset"));
        }
        let policy = CallPolicy { retry: RetryPolicy::never(), ..quick() };
        assert_eq!(fake.call(&policy, request("POST", Body::empty())).await, (Err("breaker_open"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_longer_than_may_be_kept_is_sent_once() {
        let policy = CallPolicy { replay_limit: 4, ..quick() };
        let fake = Fake::new(2, [Does::Refuses]);
        let long = Body::boxed(http_body_util::Full::new(bytes::Bytes::from_static(b"12345")).map_err(|e| match e {}));
        assert_eq!(fake.call(&policy, request("PUT", long)).await, (Err("refused"), 1));
    }
}
