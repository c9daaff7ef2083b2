//! The log file of a detached process: opened for it, kept small, shown when a start fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

/// Size past which the log begins anew; one older part of about this size is kept.
const MAX: u64 = 1024 * 1024;
/// Time between two looks at the size.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes of the log that an error shows.
const TAIL: u64 = 4096;

/// Opens the log for appending: made with mode 0600, no symbolic link followed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Keeps the log within its size, for ever; only where our standard error is that file.
pub(crate) async fn keep_small(path: &Path) {
    if !is_stderr(path) {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = begin_anew_past(path, MAX) {
            tracing::warn!(%error, "cannot shorten the log");
        }
    }
}

/// Whether what we write to standard error goes to this file.
fn is_stderr(path: &Path) -> bool {
    let Ok(file) = fs::symlink_metadata(path) else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stderr| (stderr.st_dev, stderr.st_ino) == (file.dev(), file.ino()))
}

/// Copies the log to `<name>.1` and empties it. Writers append, so they go on at the start;
/// a line written in between is lost, and no file is renamed under their feet.
fn begin_anew_past(path: &Path, max: u64) -> io::Result<()> {
    let mut log = OpenOptions::new().read(true).write(true).open(path)?;
    let size = log.metadata()?.len();
    if size <= max {
        return Ok(());
    }
    log.seek(SeekFrom::Start(size.saturating_sub(max)))?;
    let mut last = Vec::new();
    Read::by_ref(&mut log).take(max).read_to_end(&mut last)?;
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    super::file::replace(Path::new(&older), &last)?;
    log.set_len(0)
}

/// Length of the log now; zero where there is none.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// What was written after byte `from`, at most the last 4 KiB of it.
pub(crate) fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut log = File::open(path)?;
        let size = log.metadata()?.len();
        // A log that was begun anew is shorter than it was.
        let from = if from > size { 0 } else { from };
        log.seek(SeekFrom::Start(from.max(size.saturating_sub(TAIL))))?;
        let mut text = Vec::new();
        log.take(TAIL).read_to_end(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => format!("(the log cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_past_its_size_begins_anew_and_keeps_its_end_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.log");
        let mut writer = open(&path).unwrap();
        writer.write_all(b"old lines, new lines").unwrap();
        begin_anew_past(&path, 100).unwrap();
        assert_eq!(length(&path), 20);
        begin_anew_past(&path, 9).unwrap();
        assert_eq!(fs::read(dir.path().join("control.log.1")).unwrap(), b"new lines");
        writer.write_all(b"next").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next");
    }

    #[test]
    fn the_tail_is_what_was_written_since_and_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.log");
        fs::write(&path, "before. after.\n").unwrap();
        assert_eq!(tail(&path, 8), "after.");
        assert_eq!(tail(&path, 500), "before. after.");
        fs::write(&path, "x".repeat(10_000)).unwrap();
        assert_eq!(tail(&path, 0).len(), 4096);
    }
}
