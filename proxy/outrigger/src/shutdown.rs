//! The end of a sidecar: Serving → Lame → Draining → Stopped.

use std::time::Duration;

/// Where a sidecar stands on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Takes calls.
    Serving,
    /// Takes calls still, and has told everybody that it is about to stop.
    Lame,
    /// Takes no more, and finishes those in flight.
    Draining,
    /// Has none left, or no more time for them.
    Stopped,
}

impl Stage {
    /// The stage after this one; `Stopped` is the last.
    pub(crate) fn next(self) -> Stage {
        match self {
            Stage::Serving => Stage::Lame,
            Stage::Lame => Stage::Draining,
            Stage::Draining | Stage::Stopped => Stage::Stopped,
        }
    }

    /// Longest stay in this stage of a sidecar that may take `graceful` in
    /// all; `None` for a stage that time does not end.
    ///
    /// Peers hear of the end through the registry within milliseconds, so lame
    /// is short: a tenth, and 100 ms at most.
    pub(crate) fn longest(self, graceful: Duration) -> Option<Duration> {
        let lame = (graceful / 10).min(Duration::from_millis(100));
        match self {
            Stage::Serving | Stage::Stopped => None,
            Stage::Lame => Some(lame),
            Stage::Draining => Some(graceful.saturating_sub(lame)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_follow_each_other_to_the_last() {
        let mut stage = Stage::Serving;
        let mut seen = vec![stage];
        while stage != Stage::Stopped {
            stage = stage.next();
            seen.push(stage);
        }
        assert_eq!(seen, [Stage::Serving, Stage::Lame, Stage::Draining, Stage::Stopped]);
        assert_eq!(Stage::Stopped.next(), Stage::Stopped);
    }

    #[test]
    fn lame_and_draining_together_take_the_graceful_time() {
        for seconds in [0, 1, 5, 60] {
            let graceful = Duration::from_secs(seconds);
            let lame = Stage::Lame.longest(graceful).unwrap();
            let draining = Stage::Draining.longest(graceful).unwrap();
            assert_eq!(lame + draining, graceful);
            assert!(lame <= Duration::from_millis(100));
        }
    }
}
