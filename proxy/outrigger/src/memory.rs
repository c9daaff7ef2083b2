//! Gives back the memory that only starting needed.
//!
//! Flags, YAML, keys and handshakes run once and touch most of the program's code; the
//! kernel keeps those pages mapped, and they are most of what an idle sidecar seems to
//! hold. Unmapped, they cost nothing until a page is used again: then it comes from the page cache.

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// Unmaps the program's code, and with it what only the start has used. Best effort:
/// where the kernel does not tell or take it, nothing changes.
pub(crate) fn forget_startup() {
    let (Ok(program), Ok(maps)) = (std::fs::read_link("/proc/self/exe"), std::fs::read_to_string("/proc/self/maps"))
    else {
        return;
    };
    let program = program.to_string_lossy();
    for (start, length) in maps.lines().filter_map(|line| code_of(line, &program)) {
        // SAFETY: the range is a mapping of our own program's file that is readable and
        // executable but not writable, so every page of it is clean and equal to the file,
        // which the kernel keeps from being written while it runs (ETXTBSY). MADV_DONTNEED
        // on it drops page-table entries only: the next access, by whichever thread and
        // at whatever moment, maps the same bytes again.
        #[allow(unsafe_code, reason = "madvise takes a raw range; see SAFETY")]
        let advised = unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "the pages of the start stay mapped");
        }
    }
}

/// Start and length of a line of `/proc/self/maps` that maps the program's code:
/// `start-end perms offset device inode path`.
fn code_of(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if permissions != "r-xp" || path != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_given_back() {
        for (line, code) in [
            ("55d0c000-55d0f000 r-xp 00003000 fe:00 77 /usr/bin/outrigger", Some((0x55d0_c000, 0x3000))),
            ("55d0f000-55d10000 rw-p 00006000 fe:00 77 /usr/bin/outrigger", None),
            ("55d0c000-55d0f000 rwxp 00003000 fe:00 77 /usr/bin/outrigger", None),
            ("7f000000-7f001000 r-xp 00000000 fe:00 12 /lib/libc.so.6", None),
            ("7ffd0000-7ffd2000 r-xp 00000000 00:00 0 [vdso]", None),
            ("7f000000-7f001000 rw-p 00000000 00:00 0", None),
            ("garbage", None),
        ] {
            assert_eq!(code_of(line, "/usr/bin/outrigger"), code, "{line}");
        }
    }

    #[test]
    fn the_program_runs_on() {
        forget_startup();
        assert_eq!("still here".len(), 10);
    }
}
