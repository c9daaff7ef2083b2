//! The `grpc-timeout` header (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use outrigger_wire::Failure;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long the caller will wait, from now; `None` when it does not say.
///
/// # Errors
/// `BadInput` when the header is there twice, or is not one to eight digits and a unit.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::bad_input("grpc-timeout", value, "send it once"));
    }
    match parse(value.as_bytes()) {
        Some(timeout) => Ok(Some(timeout)),
        None => {
            let fix = "one to eight digits and a unit of H, M, S, m, u or n, such as 500m";
            Err(Failure::bad_input("grpc-timeout", value, fix))
        }
    }
}

/// Tells the next hop how long is left of a caller's time.
pub(super) fn write(headers: &mut HeaderMap, left: Duration) {
    const MOST: u128 = 99_999_999;
    let units =
        [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let (count, unit) = units.into_iter().find(|(count, _)| *count <= MOST).unwrap_or((MOST, 'S'));
    // Digits and a letter are always a header value.
    if let Ok(value) = HeaderValue::try_from(format!("{count}{unit}")) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit_and_nothing_else() {
        for (text, timeout) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("500m", Some(Duration::from_millis(500))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("999999999n", None),
            ("H", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            (" 5S", None),
            ("5 S", None),
            ("1.5S", None),
            ("5SS", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
            assert_eq!(read(&headers).ok().flatten(), timeout, "{text:?}");
            assert_eq!(read(&headers).is_err(), timeout.is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_is_written_in_eight_digits_at_most_and_never_as_more() {
        for (left, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_nanos(1_234_567_891), "1234567u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            let mut headers = HeaderMap::new();
            write(&mut headers, left);
            assert_eq!(headers["grpc-timeout"], text);
            assert!(read(&headers).unwrap().unwrap() <= left);
        }
    }

    #[test]
    fn none_is_none_and_two_are_one_too_many() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers).unwrap(), None);
        headers.append(GRPC_TIMEOUT, "5S".parse().unwrap());
        headers.append(GRPC_TIMEOUT, "6S".parse().unwrap());
        assert_eq!(read(&headers).unwrap_err().name(), "bad_input");
    }
}
