use std::time::Duration;

use rustls_pki_types::UnixTime;

/// Earliest renewal after an issue, and latest.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(24 * 3600);

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Longest wait between attempts of who has no valid certificate, and so no peer.
pub(super) const LAST_RETRY_WITHOUT: Duration = Duration::from_secs(4);

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
///
/// `left` is what the certificate in use still has, zero without one. The wait never goes
/// past its end by more than 4 s.
pub(super) fn retry(failures: u32, left: Duration, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = left.clamp(LAST_RETRY_WITHOUT, LAST_RETRY);
    let wait = FIRST_RETRY.saturating_mul(1 << doublings).min(longest);
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
        let day = Duration::from_secs(86_400);
        let full: Vec<_> = (1..=9).map(|n| retry(n, day, 1.0).as_millis()).collect();
        assert_eq!(full, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(retry(1, day, 0.0), Duration::from_millis(125));
        assert_eq!(retry(u32::MAX, day, 0.0), Duration::from_secs(15));
    }

    #[test]
    fn who_has_no_valid_certificate_asks_every_few_seconds() {
        for (left, random, wait) in [(0, 1.0, 4), (0, 0.0, 2), (3, 1.0, 4), (20, 1.0, 20), (60, 1.0, 30)] {
            assert_eq!(retry(100, Duration::from_secs(left), random), Duration::from_secs(wait), "{left}");
        }
        assert_eq!(retry(1, Duration::ZERO, 1.0), FIRST_RETRY);
    }
}
