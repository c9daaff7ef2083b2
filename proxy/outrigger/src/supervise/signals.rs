//! The signals that ask a process to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, as a stream.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the two signals over from the kernel's default, which would end
    /// the process at once.
    ///
    /// # Errors
    ///
    /// When the system allows no handler.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal; its number. Safe to drop.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}
