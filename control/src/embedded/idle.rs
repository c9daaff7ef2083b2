//! When the process is no longer needed.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::Presence;

/// Time from the start in which the first sidecar may come.
pub(crate) const FIRST: Duration = Duration::from_secs(10);

/// Returns once no Announce stream has been open for `idle`, and not before `first` has
/// passed since the call.
pub(crate) async fn idle(mut presence: Presence, idle: Duration, first: Duration) {
    let earliest = Instant::now() + first;
    loop {
        if presence.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        let end = (Instant::now() + idle).max(earliest);
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            _ = presence.wait_for(|open| *open > 0) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const IDLE: Duration = Duration::from_secs(3);

    async fn ended_after(changes: &[(u64, usize)]) -> u64 {
        let (open, presence) = watch::channel(0);
        let start = Instant::now();
        let waiting = tokio::spawn(idle(presence, IDLE, FIRST));
        for (at, count) in changes {
            tokio::time::sleep_until(start + Duration::from_secs(*at)).await;
            open.send_replace(*count);
        }
        waiting.await.unwrap();
        drop(open);
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn with_nobody_ever_there_it_ends_after_the_first_ten_seconds() {
        assert_eq!(ended_after(&[]).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_last_has_been_gone_for_the_idle_time() {
        assert_eq!(ended_after(&[(1, 1), (60, 0)]).await, 63);
        assert_eq!(ended_after(&[(1, 2), (60, 1), (90, 0)]).await, 93);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_early_does_not_shorten_the_first_ten_seconds() {
        assert_eq!(ended_after(&[(1, 1), (2, 0)]).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_within_the_idle_time_begins_it_anew() {
        assert_eq!(ended_after(&[(1, 1), (20, 0), (22, 1), (40, 0)]).await, 43);
    }
}
