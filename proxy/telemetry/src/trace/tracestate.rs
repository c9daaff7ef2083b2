//! The `tracestate` header: W3C Trace Context, section 3.3. Carried on whole or dropped whole, never rewritten.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longest `tracestate` carried on, all lines joined; a longer one is dropped. The W3C asks for at least 512, stock carries no more.
const MAX_BYTES: usize = 512;
/// Most list members (W3C Trace Context, section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// The `tracestate` to carry on, or `None` when there is none, it is malformed, or over its bounds.
///
/// The lengths are added up before anything is parsed, so a huge header costs no more than a small one.
pub(super) fn read(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let first = lines.next()?;
    if lines.next().is_none() {
        return (first.len() <= MAX_BYTES && is_valid(first.as_bytes())).then(|| first.clone());
    }
    let all = headers.get_all(TRACESTATE);
    let total = all.iter().try_fold(0_usize, |sum, line| {
        let sum = sum + line.len() + 1;
        (sum <= MAX_BYTES + 1).then_some(sum)
    })?;
    let mut joined = Vec::with_capacity(total);
    for line in &all {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line.as_bytes());
    }
    is_valid(&joined).then(|| HeaderValue::from_maybe_shared(joined).ok()).flatten()
}

fn is_valid(list: &[u8]) -> bool {
    let mut keys = [b"".as_slice(); MAX_MEMBERS];
    let mut free = keys.iter_mut();
    let mut seen = 0;
    for member in list.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty()) {
        let Some(key) = key_of(member) else { return false };
        let Some(slot) = free.next() else { return false };
        *slot = key;
        seen += 1;
    }
    let keys = keys.get(..seen).unwrap_or_default();
    // At most 32 keys: comparing every two costs less than hashing them.
    seen > 0 && !keys.iter().enumerate().any(|(i, key)| keys.iter().skip(i + 1).any(|other| other == key))
}

/// The key of `key=value`, or `None` when either is malformed.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|b| *b == b'=')?;
    let (key, value) = member.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    let value_is_valid =
        !value.is_empty() && value.len() <= 256 && value.iter().all(|b| matches!(b, 0x20..=0x7e) && *b != b'=');
    (value_is_valid && is_key(key)).then_some(key)
}

fn is_key(key: &[u8]) -> bool {
    match key.iter().position(|b| *b == b'@') {
        None => is_name(key, 256) && key.first().is_some_and(u8::is_ascii_lowercase),
        Some(at) => key.split_at_checked(at).is_some_and(|(tenant, system)| {
            let system = system.strip_prefix(b"@").unwrap_or_default();
            is_name(tenant, 241) && is_name(system, 14) && system.first().is_some_and(u8::is_ascii_lowercase)
        }),
    }
}

fn is_name(name: &[u8], max: usize) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= max
        && name.first().is_some_and(plain)
        && name.iter().all(|b| plain(b) || matches!(b, b'_' | b'-' | b'*' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (TRACESTATE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_valid_state_is_carried_on_byte_for_byte() {
        for text in
            ["a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "fw529a3039@dt=FfAbC; x", "a=1 , \tb=2,,c=3", "0a@s=1"]
        {
            assert_eq!(read(&headers(&[text])).unwrap(), text);
        }
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(read(&headers(&["a=1", "b=2"])).unwrap(), "a=1,b=2");
    }

    #[test]
    fn a_malformed_state_is_dropped_whole() {
        for text in
            ["", ",", "a", "a=", "=1", "A=1", "a=1,a=2", "a b=1", "1a=1", "a@=1", "@a=1", "a@b@c=1", "a=b=c", "a@1b=1"]
        {
            assert_eq!(read(&headers(&[text])), None, "{text:?}");
        }
        let bytes = [(TRACESTATE, HeaderValue::from_bytes(b"a=\xff").unwrap())].into_iter().collect();
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn the_33rd_member_and_the_513th_byte_drop_it() {
        let members = |n: usize| (0..n).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        assert!(read(&headers(&[&members(32)])).is_some());
        assert!(read(&headers(&[&members(33)])).is_none());
        assert!(read(&headers(&[&members(10_000)])).is_none());
        let long = |n: usize| format!("a={},b={}", "x".repeat(250), "y".repeat(n - 255));
        assert!(read(&headers(&[&long(511)])).is_some());
        assert!(read(&headers(&[&long(513)])).is_none());
    }

    #[test]
    fn ten_thousand_lines_are_dropped() {
        let lines = vec!["a=1"; 10_000];
        assert!(read(&headers(&lines)).is_none());
    }
}
