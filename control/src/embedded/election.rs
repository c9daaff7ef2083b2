//! Who is the one embedded control process: the one that holds the lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

/// An exclusive lock on a file.
///
/// The kernel lets it go when the value is dropped and when the process dies, however
/// it dies. The file stays: removing it would let two processes hold "the" lock.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

/// Takes the lock on `path` if nobody has it; `None` when somebody does.
///
/// Never waits. The file is made with mode 0600; a symbolic link is an error.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<Held>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Held { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn of_twenty_at_once_exactly_one_is_elected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        for _ in 0..20 {
            let start = Arc::new(Barrier::new(20));
            let racers: Vec<_> = (0..20)
                .map(|_| {
                    let (start, path) = (Arc::clone(&start), path.clone());
                    std::thread::spawn(move || {
                        start.wait();
                        try_lock(&path).unwrap()
                    })
                })
                .collect();
            // The locks are kept until all have tried.
            let held: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
            assert_eq!(held.iter().flatten().count(), 1);
        }
    }

    #[test]
    fn a_lock_that_is_dropped_can_be_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_lock(&path).unwrap().unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::os::unix::fs::symlink(dir.path().join("target"), &path).unwrap();
        assert!(try_lock(&path).is_err());
        assert!(!dir.path().join("target").exists());
    }
}
