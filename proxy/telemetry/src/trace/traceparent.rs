//! The `traceparent` header: W3C Trace Context, section 3.2. Strict: lower-case hexadecimal, exact lengths.

use super::context::{SpanId, TraceId};

/// Bytes of a `traceparent` of version 00.
pub(super) const LENGTH: usize = 55;

/// The fields of a valid `traceparent`: neither ID is all zero.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Traceparent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) flags: u8,
}

/// Reads a `traceparent`. `None` for anything that the specification calls invalid.
///
/// A version above 00 may have more after the flags, set off by a dash, which is not looked at; version ff is forbidden.
pub(super) fn parse(text: &[u8]) -> Option<Traceparent> {
    let ([version], text) = field::<1>(text)?;
    let (trace_id, text) = field::<16>(dash(text)?)?;
    let (span_id, text) = field::<8>(dash(text)?)?;
    let ([flags], rest) = field::<1>(dash(text)?)?;
    let ends_well = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    if !ends_well {
        return None;
    }
    Some(Traceparent { trace_id: TraceId::new(trace_id)?, span_id: SpanId::new(span_id)?, flags })
}

/// Writes a `traceparent` of version 00.
pub(super) fn format(parent: &Traceparent) -> [u8; LENGTH] {
    let mut out = [b'-'; LENGTH];
    encode(&[0], &mut out[..2]);
    encode(&parent.trace_id.to_bytes(), &mut out[3..35]);
    encode(&parent.span_id.to_bytes(), &mut out[36..52]);
    encode(&[parent.flags], &mut out[53..]);
    out
}

/// Writes `bytes` as lower-case hexadecimal over `out`, two characters a byte.
pub(super) fn encode(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
    }
}

fn dash(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"-")
}

fn field<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let (hex, rest) = text.split_at_checked(2 * N)?;
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some((out, rest))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_what_was_read() {
        let parent = parse(VALID.as_bytes()).unwrap();
        assert_eq!(parent.flags, 1);
        assert_eq!(&format(&parent)[..], VALID.as_bytes());
    }

    #[test]
    fn a_later_version_is_read_by_its_first_four_fields() {
        for text in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds",
        ] {
            assert!(parse(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn what_the_specification_calls_invalid_is_refused() {
        let long = format!("{VALID}{}", "-00".repeat(100_000));
        for text in [
            "",
            "-",
            "00",
            "garbage",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00-é4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            long.as_str(),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{}", text.get(..60).unwrap_or(text));
        }
    }
}
