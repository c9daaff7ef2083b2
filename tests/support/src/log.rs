//! What a process printed.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::wait::eventually;

/// The lines that a process printed on both outputs, in the order they came. A cheap clone sees the same lines.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Reads `output` to its end on a thread of its own.
    pub fn follow(&self, output: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().unwrap().push(text);
                line.clear();
            }
        })
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// All lines so far as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for a line that holds `needle`, and returns it.
    pub fn wait_for(&self, needle: &str) -> String {
        eventually(&format!("a line with {needle:?}"), || self.lines().into_iter().find(|line| line.contains(needle)))
    }
}
