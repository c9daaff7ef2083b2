//! The end of a sidecar: Serving → Lame → Draining → Stopped.

use std::time::Duration;

use crate::config::table::Persona;

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

/// How a sidecar has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every call had finished.
    InTime,
    /// Calls were cut when the graceful time was over.
    Late,
    /// At once, by a second signal or the shutdown API.
    Forced,
}

impl Ended {
    /// Says so in the log, as `daprd` in the words of stock; the exit code of stock.
    pub(crate) fn report(self, persona: Persona) -> u8 {
        match (self, persona) {
            (Ended::InTime, Persona::Daprd) => tracing::info!("Daprd shutdown gracefully"),
            (Ended::InTime, Persona::Outrigger) => tracing::info!("stopped"),
            (Ended::Late, _) => tracing::error!("Graceful shutdown timeout exceeded, forcing shutdown"),
            (Ended::Forced, _) => tracing::warn!("ended at once; calls in flight are cut"),
        }
        u8::from(self != Ended::InTime)
    }
}

/// `duration` as Go prints it, down to milliseconds: `3m0s`, `1h0m0.5s`, `500ms`, `0s`.
pub(crate) fn go(duration: Duration) -> String {
    let (whole, millis) = (duration.as_secs(), duration.subsec_millis());
    if whole == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let fraction = format!(".{millis:03}");
    let seconds = format!("{seconds}{}s", fraction.trim_end_matches('0').trim_end_matches('.'));
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, _) => format!("{minutes}m{seconds}"),
        _ => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_go_prints_it() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (2_000, "2s"),
            (1_250, "1.25s"),
            (180_000, "3m0s"),
            (61_500, "1m1.5s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn only_an_end_in_time_is_a_success() {
        for (ended, code) in [(Ended::InTime, 0), (Ended::Late, 1), (Ended::Forced, 1)] {
            assert_eq!((ended.report(Persona::Daprd), ended.report(Persona::Outrigger)), (code, code));
        }
    }

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
