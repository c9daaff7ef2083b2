use std::time::Duration;

use rustls_pki_types::UnixTime;

/// Earliest renewal after an issue, and latest.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(24 * 3600);

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// When to renew a certificate issued at `now`: at 65 to 75 % of the time that it has
/// left, by `random` in 0..1, between 1 s and 24 h from `now`.
pub(super) fn renewal(now: UnixTime, not_after: UnixTime, random: f64) -> UnixTime {
    let left = Duration::from_secs(not_after.as_secs().saturating_sub(now.as_secs()));
    let wait = left.mul_f64(0.65 + 0.1 * random.clamp(0.0, 1.0));
    let wait = wait.clamp(SOONEST, LATEST);
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + wait)
}

/// How long to wait after the `failures`th failure in a row: doubling from 250 ms to
/// 30 s, of which `random` in 0..1 leaves between half and all.
pub(super) fn retry(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY);
    wait.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_is_renewed_at_about_70_percent_of_its_time() {
        for (left, random, wait) in [
            (10_000, 0.0, 6_500),
            (10_000, 0.5, 7_000),
            (10_000, 1.0, 7_500),
            (0, 0.5, 1),
            (1, 0.5, 1),
            (365 * 86_400, 0.5, 86_400),
        ] {
            assert_eq!(renewal(at(1_000), at(1_000 + left), random), at(1_000 + wait), "{left}");
        }
        assert_eq!(renewal(at(1_000), at(10), 0.5), at(1_001), "already expired");
    }

    #[test]
    fn retries_double_to_half_a_minute_and_are_spread() {
        let full: Vec<_> = (1..=9).map(|n| retry(n, 1.0).as_millis()).collect();
        assert_eq!(full, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(retry(1, 0.0), Duration::from_millis(125));
        assert_eq!(retry(u32::MAX, 0.0), Duration::from_secs(15));
    }
}
