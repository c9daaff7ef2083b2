use std::sync::Arc;

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::UnixTime;

/// Where validity is read from: wall-clock time, in whole seconds.
pub type Clock = Arc<dyn TimeProvider>;

/// The machine's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(DefaultTimeProvider)
}

/// The clock's time; a clock that cannot tell gives the epoch, at which no
/// certificate is valid.
pub fn unix_now(clock: &Clock) -> UnixTime {
    clock.current_time().unwrap_or(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
}
