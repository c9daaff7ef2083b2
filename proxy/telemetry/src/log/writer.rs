//! [`Writer`]: a bounded buffer of lines, and the thread that writes them out.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::metrics::Counter;

/// How long lines are gathered before they are written: under load, waking the thread for each would
/// cost more than the line.
const GATHER: Duration = Duration::from_millis(10);

/// The way into the buffer.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write, or the end has come.
    work: Condvar,
    /// Signalled when everything is written.
    idle: Condvar,
    capacity: usize,
    lost: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines lost since the thread last wrote.
    lost: u64,
    writing: bool,
    /// Somebody waits for what is there to be written.
    urgent: bool,
    closed: bool,
}

impl Writer {
    /// Starts the thread. Lines beyond `capacity` waiting bytes are lost and counted in `lost`; `notice` words the line that says so.
    pub(super) fn start(
        sink: Box<dyn Write + Send>,
        capacity: usize,
        lost: Counter,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> std::io::Result<Writer> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), idle: Condvar::new(), capacity, lost });
        let theirs = shared.clone();
        thread::Builder::new().name("log".to_owned()).stack_size(64 * 1024).spawn(move || theirs.run(sink, notice))?;
        Ok(Writer { shared })
    }

    /// Appends one line, with its line feed. Never waits for the sink.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.closed || state.waiting.len() + line.len() > self.shared.capacity {
            state.lost += 1;
            drop(state);
            return self.shared.lost.inc();
        }
        // The first of a batch wakes the thread; after that only a buffer that fills.
        let half = self.shared.capacity / 2;
        let before = state.waiting.len();
        let wakes = before == 0 && !state.writing || before < half && before + line.len() >= half;
        state.waiting.extend_from_slice(line);
        drop(state);
        if wakes {
            self.shared.work.notify_one();
        }
    }

    /// Waits until all that was pushed is written, at most `timeout`. True when it is.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let mut state = self.shared.lock();
        state.urgent = true;
        self.shared.work.notify_one();
        let waited = self.shared.idle.wait_timeout_while(state, timeout, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Writes what waits, for at most `timeout`, and ends the thread. Lines pushed later are lost.
    ///
    /// A thread that hangs in a write is left behind: it ends with the process.
    pub(super) fn close(&self, timeout: Duration) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        self.flush(timeout);
    }
}

impl Shared {
    fn run(&self, mut sink: Box<dyn Write + Send>, notice: impl Fn(u64) -> String) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.closed {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.waiting.is_empty() {
                return;
            }
            let half = self.capacity / 2;
            let gathers = |state: &mut State| !state.closed && !state.urgent && state.waiting.len() < half;
            let gathered = self.work.wait_timeout_while(state, GATHER, gathers);
            state = gathered.unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut state.waiting, &mut batch);
            state.writing = true;
            let lost = std::mem::take(&mut state.lost);
            drop(state);

            if lost > 0 {
                batch.extend_from_slice(notice(lost).as_bytes());
            }
            // A sink that fails (its reader is gone) has no other place to be told of.
            let _ = sink.write_all(&batch).and_then(|()| sink.flush());
            batch.clear();
            // One burst must not keep its memory for ever.
            batch.shrink_to(64 * 1024);

            let mut state = self.lock();
            state.writing = false;
            if state.waiting.is_empty() {
                state.urgent = false;
                self.idle.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A sink that blocks in its first write until it is let go, and keeps what it was given.
    struct Gate {
        entered: mpsc::Sender<()>,
        open: mpsc::Receiver<()>,
        seen: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.entered.send(());
            let _ = self.open.recv();
            self.seen.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_never_time() {
        let (entered, was_entered) = mpsc::channel();
        let (let_go, open) = mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lost = Counter::default();
        let writer = Writer::start(Box::new(Gate { entered, open, seen: seen.clone() }), 100, lost.clone(), |count| {
            format!("{count} lost\n")
        })
        .unwrap();

        writer.push(b"first\n");
        was_entered.recv().unwrap();
        for _ in 0..1_000 {
            writer.push(b"0123456789\n");
        }
        assert_eq!(lost.get(), 1_000 - 9);
        assert!(!writer.flush(Duration::from_millis(1)), "the sink is stuck");

        drop(let_go);
        writer.close(Duration::from_secs(10));
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("0123456789\n").count(), 9);
        assert!(text.contains("991 lost\n"), "{text}");
    }
}
