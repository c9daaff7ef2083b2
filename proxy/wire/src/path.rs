//! One canonical form of a request path, or a refusal (design decision 9, threat T9).
//!
//! Policy and routing see [`CanonicalPath::as_str`] only; the app gets
//! [`CanonicalPath::forward`], which is the caller's own bytes wherever these mean
//! the same. So nobody can spell a path in a way that policy reads differently
//! from the app:
//!
//! | in the request | canonical | forwarded |
//! |---|---|---|
//! | `/a/b`, `/a/b/` | `/a/b` | as sent |
//! | `/%61/b` (an escape that needed none) | `/a/b` | as sent |
//! | `/a%2Fb`, `/a%2fb` | `/a%2Fb`, one segment | as sent |
//! | `/a//b` | `/a/b` | `/a/b` |
//! | `/a/./b`, `/a/%2e%2e/b` | `/a/b`, `/b` | `/a/b`, `/b` |
//! | `/a/..%2Fb`, `/a%2F%2e%2e/b` (a dot segment once decoded) | `/b` | `/b` |
//! | a dot segment behind `%5C` or `\`, or before `;` | refused | |
//! | a control, NUL, space or byte over 0x7E in the clear; an escape of a control or of what is no UTF-8 | refused | |
//! | `%` without two hexadecimal digits; `#` | refused | |
//! | `%23`, `%3F`, an escape inside an escape that does not decode | kept; under [`Rules::Stock`] refused | as sent |

use std::borrow::Cow;

use crate::Failure;

/// Which paths are refused beyond those that nobody may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    /// Everything that has one meaning is allowed.
    #[default]
    Open,
    /// What the stock sidecar refuses is refused too.
    Stock,
}

/// A path in canonical form, beside the bytes to send on. Without its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    canonical: Cow<'a, str>,
    forward: Cow<'a, str>,
}

impl<'a> CanonicalPath<'a> {
    /// Reads the path of a request target (no scheme, authority or query). An
    /// empty one is `/`; one without a leading slash gets it.
    ///
    /// # Errors
    /// [`Cause::BadInput`](crate::Cause::BadInput) for `path`, as the table above says.
    pub fn parse(raw: &'a str, rules: Rules) -> Result<Self, Failure> {
        if is_plain(raw) {
            let canonical = match raw.strip_suffix('/') {
                None | Some("") => raw,
                Some(rest) => rest,
            };
            return Ok(Self { canonical: Cow::Borrowed(canonical), forward: Cow::Borrowed(raw) });
        }
        slow(raw, rules)
    }

    /// The form that policy and routing match: leading slash, no trailing one
    /// (but for `/`), no dot or empty segments, only needed escapes, in upper case.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// What goes to the app.
    pub fn forward(&self) -> &str {
        &self.forward
    }
}

/// Nothing in it that could be spelled otherwise: the usual case, and no allocation.
fn is_plain(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return false;
    }
    let mut previous = 0;
    for &byte in bytes {
        if !is_path_byte(byte) || byte == b';' || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

/// `pchar` of RFC 3986 without `%`, and the slash.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

struct Segment<'a> {
    raw: &'a str,
    canonical: String,
}

fn slow<'a>(raw: &'a str, rules: Rules) -> Result<CanonicalPath<'a>, Failure> {
    let refuse = |fix: &str| Failure::bad_input("path", raw, fix);
    let mut segments: Vec<Segment<'_>> = Vec::new();
    let mut changed = !raw.starts_with('/');
    let body = raw.strip_prefix('/').unwrap_or(raw);
    changed |= body.split('/').any(hides_dots_behind_slashes);
    let mut parts = body.split('/').flat_map(at_escaped_slashes).peekable();
    let mut trailing = body.is_empty();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let segment = segment(part, rules).map_err(refuse)?;
        match segment.canonical.as_str() {
            "" if last => trailing = true,
            "" => changed = true,
            "." => {
                changed = true;
                trailing = last;
            }
            ".." => {
                changed = true;
                trailing = last;
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let canonical = join(segments.iter().map(|s| s.canonical.as_str()));
    let forward = if changed {
        let mut forward = join(segments.iter().map(|s| s.raw));
        if trailing && forward.len() > 1 {
            forward.push('/');
        }
        Cow::Owned(forward)
    } else {
        Cow::Borrowed(raw)
    };
    Ok(CanonicalPath { canonical: Cow::Owned(canonical), forward })
}

fn join<'s>(segments: impl Iterator<Item = &'s str>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// A segment's parts: itself, or, where an escaped slash sets off a dot segment, what
/// stands between its escaped slashes. Elsewhere an escaped slash is part of a name.
fn at_escaped_slashes(segment: &str) -> impl Iterator<Item = &str> {
    let splits = hides_dots_behind_slashes(segment);
    let mut rest = Some(segment);
    std::iter::from_fn(move || {
        let here = rest?;
        match escaped_slash(here).filter(|_| splits) {
            Some(at) => {
                rest = here.get(at + 3..);
                here.get(..at)
            }
            None => rest.take(),
        }
    })
}

fn hides_dots_behind_slashes(segment: &str) -> bool {
    let mut rest = Some(segment);
    let mut slashes = 0;
    let mut dots = false;
    while let Some(here) = rest {
        let at = escaped_slash(here);
        dots |= is_dot_segment(at.and_then(|at| here.get(..at)).unwrap_or(here));
        slashes += usize::from(at.is_some());
        rest = at.and_then(|at| here.get(at + 3..));
    }
    slashes > 0 && dots
}

fn escaped_slash(text: &str) -> Option<usize> {
    text.as_bytes().windows(3).position(|window| window.eq_ignore_ascii_case(b"%2f"))
}

/// `.` or `..`, each dot in the clear or escaped.
fn is_dot_segment(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
    matches!(dots, 1 | 2)
}

/// One segment in canonical form; the error is what would be valid.
fn segment(raw: &str, rules: Rules) -> Result<Segment<'_>, &'static str> {
    let mut canonical = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_path_byte(byte)
                && !matches!(byte, b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' | b'\\')
            {
                return Err("a path is visible ASCII; escape anything else as UTF-8 in percent-encoding");
            }
            canonical.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let value = match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err("'%' must be followed by two hexadecimal digits; write a literal one as %25"),
        };
        if value < 0x20 || value == 0x7f {
            return Err("a path must not contain control characters or NUL, escaped or not");
        }
        if rules == Rules::Stock && matches!(value, b'#' | b'?') {
            return Err("this runtime's paths must not contain '#' or '?', escaped or not");
        }
        decoded.push(value);
        if is_unreserved(value) {
            canonical.push(char::from(value));
        } else {
            const UPPER: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
            canonical.push('%');
            canonical.extend(UPPER.get(usize::from(value >> 4)));
            canonical.extend(UPPER.get(usize::from(value & 15)));
        }
    }
    let Ok(text) = std::str::from_utf8(&decoded) else {
        return Err("percent-encoded bytes in a path must be UTF-8");
    };
    if hides_a_dot_segment(text) {
        return Err("'.' and '..' must not hide behind an escaped slash, a backslash or ';'");
    }
    if rules == Rules::Stock && !escapes_decode(text) {
        return Err("'%25' must not make an escape that does not decode");
    }
    Ok(Segment { raw, canonical })
}

/// Some back ends take `\` and an escaped slash for a separator, and some drop
/// what follows `;`: a dot segment that only these see would pass policy unseen.
fn hides_a_dot_segment(decoded: &str) -> bool {
    if matches!(decoded, "." | "..") {
        return false;
    }
    decoded.split(['/', '\\']).map(|part| part.split(';').next().unwrap_or(part)).any(|part| matches!(part, "." | ".."))
}

fn escapes_decode(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        matches!((bytes.next().and_then(hex), bytes.next().and_then(hex)), (Some(_), Some(_)))
    })
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_canonical_form() {
        for (raw, canonical, forward) in [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("a", "/a", "/a"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a/b/", "/a/b", "/a/b/"),
            ("/%61/b", "/a/b", "/%61/b"),
            ("/a%2fb", "/a%2Fb", "/a%2fb"),
            ("/a%2Fb/", "/a%2Fb", "/a%2Fb/"),
            ("/a//b", "/a/b", "/a/b"),
            ("//", "/", "/"),
            ("/a/./b", "/a/b", "/a/b"),
            ("/a/../b", "/b", "/b"),
            ("/a/%2e%2E/b", "/b", "/b"),
            ("/../../a", "/a", "/a"),
            ("/a/..", "/", "/"),
            ("/a/b/..", "/a", "/a/"),
            ("/a/b/.", "/a/b", "/a/b/"),
            ("/...", "/...", "/..."),
            ("/a/..%2Fb", "/b", "/b"),
            ("/a%2F..%2fb%2Fc", "/b/c", "/b/c"),
            ("/admin%2f%2E%2e%2Fpublic", "/public", "/public"),
            ("/a/x%2F.", "/a/x", "/a/x/"),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
            ("/a;v=1/b", "/a;v=1/b", "/a;v=1/b"),
            ("/%E4%B8%AD", "/%E4%B8%AD", "/%E4%B8%AD"),
            ("/a%20b", "/a%20b", "/a%20b"),
            ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
            ("/a%23b%3Fc", "/a%23b%3Fc", "/a%23b%3Fc"),
            ("/a{b}|c", "/a{b}|c", "/a{b}|c"),
            ("/svc.Echo/Call", "/svc.Echo/Call", "/svc.Echo/Call"),
        ] {
            let path = CanonicalPath::parse(raw, Rules::Open).unwrap_or_else(|e| panic!("{raw}: {e}"));
            assert_eq!((path.as_str(), path.forward()), (canonical, forward), "{raw}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for raw in [
            "/a\u{0}",
            "/a%00",
            "/a%0a",
            "/a%7F",
            "/a b",
            "/a\tb",
            "/é",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a#b",
            "/a%C0%AE%C0%AE/b",
            "/%ff",
            "/a%5C..%5Cb",
            "/..\\b",
            "/..;/b",
            "/.;x/b",
            "/%2e%2e;x/b",
            "/a?b",
        ] {
            let refused = CanonicalPath::parse(raw, Rules::Open);
            assert_eq!(refused.map_err(|e| e.name()), Err("bad_input"), "{raw:?}");
        }
    }

    #[test]
    fn as_the_stock_runtime_it_refuses_what_that_one_refuses() {
        for raw in ["/a%23b", "/a%3Fb", "/a%25", "/a%25zz", "/a%252"] {
            assert!(CanonicalPath::parse(raw, Rules::Stock).is_err(), "{raw}");
            assert!(CanonicalPath::parse(raw, Rules::Open).is_ok(), "{raw}");
        }
        assert!(CanonicalPath::parse("/a%2541", Rules::Stock).is_ok());
    }

    #[test]
    fn the_canonical_form_and_the_forwarded_one_are_fixed_points() {
        for raw in ["/a/%2e/b//c/", "/%61%2fb/../c", "/x/;y", "/a/b/../../..", "/%7Euser/"] {
            let once = CanonicalPath::parse(raw, Rules::Open).unwrap();
            for again in [once.as_str(), once.forward()] {
                assert_eq!(CanonicalPath::parse(again, Rules::Open).unwrap().as_str(), once.as_str(), "{raw}");
            }
        }
    }
}
