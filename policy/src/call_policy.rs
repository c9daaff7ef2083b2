//! What the executor of calls is told about one call.

use std::time::Duration;

use crate::breaker::BreakerPolicy;
use crate::retry::RetryPolicy;

/// How a call is treated: its deadline, its attempts, and what protects the replicas from it.
///
/// The defaults keep to one rule: a call that would succeed without a mesh still succeeds with it.
/// So nothing here bounds the length of a healthy call, and only what certainly did no harm is repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct CallPolicy {
    /// Longest time of the whole call, all attempts and waits included, counted from its start to the
    /// last byte of the response. `None` waits for ever.
    ///
    /// Default `None`: a call may be a stream or a long poll, and only its caller knows. A deadline that
    /// the caller sends (`grpc-timeout`) is kept all the same; see [`crate::timeout::Deadline`].
    pub deadline: Option<Duration>,
    /// Longest time of one attempt, from its start to the response head. `None` waits for ever.
    ///
    /// Default `None`: many gRPC servers send the head of a stream together with its first message,
    /// which may come after hours, and a proxy cannot tell such a stream from a call that hangs.
    /// Establishing the connection has its own timeout, in the limits of the data path.
    pub per_try: Option<Duration>,
    /// Which failed attempts are repeated, how often, how fast and within which budget.
    pub retry: RetryPolicy,
    /// When one replica is left alone. `None` never leaves one alone.
    ///
    /// Default: [`BreakerPolicy::default`].
    pub breaker: Option<BreakerPolicy>,
    /// Most bytes of a request body that are kept so that the attempt can be repeated.
    ///
    /// A longer body is streamed and its call is not repeated once a byte of it was sent. `0` keeps
    /// nothing. Default 64 KiB: it covers almost every unary request, and bounds what a
    /// thousand concurrent calls can hold to 64 MiB.
    pub replay_limit: usize,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            deadline: None,
            per_try: None,
            retry: RetryPolicy::default(),
            breaker: Some(BreakerPolicy::default()),
            replay_limit: 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_never_cuts_a_healthy_stream() {
        let policy = CallPolicy::default();

        assert_eq!(policy.deadline, None);
        assert_eq!(policy.per_try, None);
    }

    #[test]
    fn the_default_repeats_at_most_twice_and_protects_each_replica() {
        let policy = CallPolicy::default();

        assert_eq!(policy.retry.max_retries, 2);
        assert!(policy.breaker.is_some());
        assert_eq!(policy.replay_limit, 65_536);
    }
}
