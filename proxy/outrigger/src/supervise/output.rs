//! The output of children, line by line, with a prefix.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Longest line that is printed whole; a longer one is cut into lines.
const LINE_BYTES: u64 = 64 * 1024;

/// Where the lines of a child's output go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// To our standard output, each behind a prefix.
    Prefixed(String),
    /// To a file.
    File(Arc<File>),
    /// To our standard output behind a prefix, and to a file.
    Both(String, Arc<File>),
}

/// Colour of a prefix on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    /// For the app.
    Blue,
    /// For the sidecar.
    Cyan,
}

impl Sink {
    /// `== NAME == `, coloured when the standard output is a terminal and
    /// `NO_COLOR` is not set.
    pub(crate) fn prefixed(name: &str, colour: Colour) -> Sink {
        let text = format!("== {name} ==");
        if !colours() {
            return Sink::Prefixed(format!("{text} "));
        }
        let code = match colour {
            Colour::Blue => 34,
            Colour::Cyan => 36,
        };
        Sink::Prefixed(format!("\x1b[1;{code}m{text}\x1b[0m "))
    }
}

/// Whether to colour what we print.
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Copies a child's output until it ends, a line at a time.
pub(crate) async fn copy(output: impl AsyncRead + Unpin, sink: Sink) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(LINE_BYTES);
        if !matches!(bounded.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        // Nobody may be reading our output any more; the child's still must be
        // taken off its hands.
        let _closed = match &sink {
            Sink::Prefixed(prefix) => write(&mut std::io::stdout().lock(), prefix, &line),
            Sink::File(file) => write(&mut &**file, "", &line),
            Sink::Both(prefix, file) => {
                // A full disk takes nothing from the console.
                let _full = write(&mut &**file, "", &line);
                write(&mut std::io::stdout().lock(), prefix, &line)
            }
        };
    }
}

fn write(out: &mut impl Write, prefix: &str, line: &[u8]) -> std::io::Result<()> {
    let mut whole = Vec::with_capacity(prefix.len() + line.len() + 1);
    whole.extend_from_slice(prefix.as_bytes());
    whole.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        whole.push(b'\n');
    }
    out.write_all(&whole)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _};

    #[tokio::test]
    async fn every_line_is_copied_and_a_last_one_without_an_end_gets_one() {
        let mut file = tempfile::tempfile().unwrap();
        let sink = Sink::File(Arc::new(file.try_clone().unwrap()));
        copy(&b"one\n\ntwo \xff\nthree"[..], sink).await;
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"one\n\ntwo \xff\nthree\n");
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_not_hoarded() {
        let mut file = tempfile::tempfile().unwrap();
        let sink = Sink::File(Arc::new(file.try_clone().unwrap()));
        copy(&vec![b'x'; 200_000][..], sink).await;
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(text.matches('x').count(), 200_000);
    }
}
