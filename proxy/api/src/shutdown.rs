//! The end of the sidecar, asked for by the app.

use http::HeaderMap;
use http::header::HeaderName;
use tokio::sync::watch;

/// Asks for the end at once when it is `true`, in any case of its letters.
const FORCE: HeaderName = HeaderName::from_static("dapr-force-shutdown");

/// How the end was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Calls in flight finish.
    Graceful,
    /// At once.
    Forced,
}

/// The shutdown API's word to whoever runs the sidecar.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<Option<Asked>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Asks for the end, as the request's headers (of gRPC: its metadata) want it. A graceful
    /// end that was asked for can still be forced, and not the other way round.
    pub fn ask(&self, headers: &HeaderMap) {
        let forced = headers.get_all(FORCE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        let asked = if forced { Asked::Forced } else { Asked::Graceful };
        self.0.send_modify(|before| *before = (*before).max(Some(asked)));
    }

    /// Completes when an end at least as hard as `asked` was asked for, at once if it was. Cancel safe.
    pub async fn asked(&self, asked: Asked) -> Asked {
        let mut watched = self.0.subscribe();
        // The sender is ours, so the wait ends by a value only.
        let found = watched.wait_for(|found| *found >= Some(asked)).await;
        found.ok().and_then(|found| *found).unwrap_or(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(force: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(FORCE, HeaderValue::from_static(force))])
    }

    #[tokio::test]
    async fn the_header_forces_only_when_it_is_true() {
        for (force, asked) in
            [("true", Asked::Forced), ("TRUE", Asked::Forced), ("false", Asked::Graceful), ("", Asked::Graceful)]
        {
            let shutdown = Shutdown::new();
            shutdown.ask(&headers(force));
            assert_eq!(shutdown.asked(Asked::Graceful).await, asked, "{force}");
        }
    }

    #[tokio::test]
    async fn a_graceful_end_can_still_be_forced_and_not_the_other_way_round() {
        let shutdown = Shutdown::new();
        shutdown.ask(&HeaderMap::new());
        assert_eq!(shutdown.asked(Asked::Graceful).await, Asked::Graceful);
        shutdown.ask(&headers("true"));
        assert_eq!(shutdown.asked(Asked::Forced).await, Asked::Forced);
        shutdown.ask(&HeaderMap::new());
        assert_eq!(shutdown.asked(Asked::Graceful).await, Asked::Forced);
    }
}
