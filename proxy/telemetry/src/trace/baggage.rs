//! The `baggage` header: W3C Baggage. Checked, then carried on as it came.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// Most bytes, all lines joined (W3C Baggage, section 3.3.2).
const MAX_BYTES: usize = 8192;
/// Most list members (W3C Baggage, section 3.3.2).
const MAX_MEMBERS: usize = 64;

/// Why a `baggage` header is refused. Answered with 400 (gRPC: `INVALID_ARGUMENT`), as stock does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaggageError {
    /// Too long.
    #[error("baggage is over {MAX_BYTES} bytes; send less")]
    TooLong,
    /// Too many members.
    #[error("baggage has over {MAX_MEMBERS} members; send fewer")]
    TooManyMembers,
    /// Not `key=value` with an optional `;property`.
    #[error("baggage member {member:?} is not key=value, with the value percent-encoded; correct it or leave it out")]
    Malformed {
        /// The member, cut to 64 bytes and without control characters.
        member: String,
    },
}

/// The baggage of a call, checked.
///
/// `Ok(None)` when there is none. Several lines are joined by commas. The value is never decoded: what goes on is what came.
///
/// # Errors
/// When it is over 8192 bytes or 64 members, or a member is malformed.
pub fn baggage(headers: &HeaderMap) -> Result<Option<HeaderValue>, BaggageError> {
    let mut lines = headers.get_all(BAGGAGE).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    if lines.next().is_none() {
        check(first.as_bytes())?;
        return Ok((!first.is_empty()).then(|| first.clone()));
    }
    let mut joined = Vec::new();
    for line in headers.get_all(BAGGAGE) {
        if joined.len() + line.len() > MAX_BYTES {
            return Err(BaggageError::TooLong);
        }
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line.as_bytes());
    }
    check(&joined)?;
    Ok(HeaderValue::from_maybe_shared(joined).ok().filter(|value| !value.is_empty()))
}

fn check(list: &[u8]) -> Result<(), BaggageError> {
    if list.len() > MAX_BYTES {
        return Err(BaggageError::TooLong);
    }
    if list.is_empty() {
        return Ok(());
    }
    for (index, member) in list.split(|b| *b == b',').enumerate() {
        if index == MAX_MEMBERS {
            return Err(BaggageError::TooManyMembers);
        }
        if !is_member(member) {
            let member = crate::clean::clean(&String::from_utf8_lossy(member), 64).into_owned();
            return Err(BaggageError::Malformed { member });
        }
    }
    Ok(())
}

fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|b| *b == b';');
    parts.next().is_some_and(|pair| is_pair(pair, false)) && parts.all(|property| is_pair(property, true))
}

/// `key=value`, or where `bare` is allowed a key alone.
fn is_pair(pair: &[u8], bare: bool) -> bool {
    let mut parts = pair.splitn(2, |b| *b == b'=').map(<[u8]>::trim_ascii);
    let key = parts.next().is_some_and(|key| !key.is_empty() && key.iter().all(is_token));
    key && parts.next().map_or(bare, is_value)
}

/// RFC 9110, section 5.6.2.
fn is_token(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)
}

/// `baggage-octet`s, with every `%` the start of two hexadecimal digits.
fn is_value(value: &[u8]) -> bool {
    let octets = value.iter().all(|b| matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e));
    let mut escapes = value.split(|b| *b == b'%').skip(1);
    octets && escapes.all(|after| after.first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<HeaderValue>, BaggageError> {
        baggage(&lines.iter().map(|line| (BAGGAGE, HeaderValue::from_str(line).unwrap())).collect())
    }

    #[test]
    fn valid_baggage_goes_on_byte_for_byte() {
        for text in ["a=1", "userId=alice,serverNode=DF%2028,isProduction=false", "a = 1 ; p ; q = 2 , b=", "a=b=c"] {
            assert_eq!(read(&[text]).unwrap().unwrap(), text);
        }
    }

    #[test]
    fn no_baggage_is_no_error() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(None));
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(read(&["a=1", "b=2"]).unwrap().unwrap(), "a=1,b=2");
    }

    #[test]
    fn malformed_baggage_is_refused_by_its_member() {
        for (text, member) in [
            ("invalid", "invalid"),
            ("a=1,", ""),
            ("a=1,b c=2", "b c=2"),
            ("=1", "=1"),
            ("a=%zz", "a=%zz"),
            ("a=%1", "a=%1"),
            ("a=\"x\"", "a=\"x\""),
            ("a=1;", "a=1;"),
        ] {
            assert_eq!(read(&[text]), Err(BaggageError::Malformed { member: member.to_owned() }), "{text}");
        }
    }

    #[test]
    fn the_bounds_hold() {
        let members = |n: usize| (0..n).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        assert!(read(&[&members(64)]).is_ok());
        assert_eq!(read(&[&members(65)]), Err(BaggageError::TooManyMembers));
        assert!(read(&[&format!("a={}", "x".repeat(8190))]).is_ok());
        assert_eq!(read(&[&format!("a={}", "x".repeat(8191))]), Err(BaggageError::TooLong));
        assert_eq!(read(&vec!["a=1"; 10_000]), Err(BaggageError::TooLong));
    }

    #[test]
    fn an_error_shows_no_control_characters_and_no_more_than_64_bytes() {
        let Err(BaggageError::Malformed { member }) = baggage(
            &[(BAGGAGE, HeaderValue::from_bytes(&[b"\xff\t".as_slice(), &b"x".repeat(500)].concat()).unwrap())]
                .into_iter()
                .collect(),
        ) else {
            panic!("accepted")
        };
        assert!(member.len() <= 64 && !member.contains('\t'));
    }
}
