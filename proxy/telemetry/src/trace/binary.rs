//! `grpc-trace-bin`: the binary form that gRPC peers of stock send beside `traceparent`.
//!
//! Twenty-nine bytes: version 0, then fields of an ID and a fixed length (0: trace ID, 1: span ID, 2: flags), in base64 as every
//! `-bin` metadata. Both paddings are read, none is written.

use super::context::{SpanId, TraceId};
use super::traceparent::Traceparent;

/// Bytes of the binary form.
const LENGTH: usize = 29;
/// Characters of it in base64 without padding.
pub(super) const ENCODED: usize = 39;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Reads the value of a `grpc-trace-bin` header. `None` when it is not base64, of another version, cut short, or an ID is all zero.
pub(super) fn parse(encoded: &[u8]) -> Option<Traceparent> {
    let bytes = decode(encoded)?;
    let fields = bytes.strip_prefix(&[0, 0])?;
    let (trace_id, fields) = fields.split_first_chunk::<16>()?;
    let (span_id, fields) = fields.strip_prefix(&[1])?.split_first_chunk::<8>()?;
    let flags = match fields {
        [2, flags] => *flags,
        _ => return None,
    };
    Some(Traceparent { trace_id: TraceId::new(*trace_id)?, span_id: SpanId::new(*span_id)?, flags })
}

/// Writes the value of a `grpc-trace-bin` header.
pub(super) fn format(parent: &Traceparent) -> [u8; ENCODED] {
    let mut bytes = [0; LENGTH];
    bytes[2..18].copy_from_slice(&parent.trace_id.to_bytes());
    bytes[18] = 1;
    bytes[19..27].copy_from_slice(&parent.span_id.to_bytes());
    bytes[27] = 2;
    bytes[28] = parent.flags;

    let mut out = [0; ENCODED];
    for (chars, three) in out.chunks_mut(4).zip(bytes.chunks(3)) {
        let group = three.iter().chain([&0, &0]).take(3).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        for (char, shift) in chars.iter_mut().zip([18, 12, 6, 0]) {
            *char = ALPHABET.get((group >> shift & 0x3f) as usize).copied().unwrap_or(b'A');
        }
    }
    out
}

fn decode(encoded: &[u8]) -> Option<[u8; LENGTH]> {
    let encoded = encoded.strip_suffix(b"=").unwrap_or(encoded);
    if encoded.len() != ENCODED {
        return None;
    }
    let mut out = [0; LENGTH];
    for (three, chars) in out.chunks_mut(3).zip(encoded.chunks(4)) {
        let mut group = 0_u32;
        for char in chars.iter().chain(b"A").take(4) {
            group = group << 6 | u32::from(six_bits(*char)?);
        }
        let [_, bytes @ ..] = group.to_be_bytes();
        for (byte, value) in three.iter_mut().zip(bytes) {
            *byte = value;
        }
    }
    Some(out)
}

fn six_bits(char: u8) -> Option<u8> {
    match char {
        b'A'..=b'Z' => Some(char - b'A'),
        b'a'..=b'z' => Some(char - b'a' + 26),
        b'0'..=b'9' => Some(char - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::traceparent;

    // The same context in both forms, the binary one encoded by another implementation.
    const TEXT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BINARY: &[u8] = b"AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE";

    #[test]
    fn the_binary_form_means_what_the_text_means() {
        let parent = traceparent::parse(TEXT).unwrap();
        assert_eq!(&format(&parent)[..], BINARY);
        assert_eq!(parse(BINARY).unwrap(), parent);
    }

    #[test]
    fn padding_is_accepted() {
        assert!(parse(&[BINARY, b"="].concat()).is_some());
    }

    #[test]
    fn garbage_is_refused() {
        let long = b"A".repeat(100_000);
        for text in [
            b"".as_slice(),
            b"=",
            b"AABL",
            b"!!BL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE",
            b"AQBL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAQDwZ6oLqQK3AgE",
            b"AABL+S81d7NNpqPOkp0ODkc2AQAAAAAAAAAAAgE",
            &long,
        ] {
            assert_eq!(parse(text), None);
        }
    }
}
