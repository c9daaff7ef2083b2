//! As much of HTTP/1.1 (RFC 9112) as a load generator and an origin need: where a message ends.

/// One whole message at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Length of start line and fields with the empty line.
    pub(crate) head: usize,
    /// Length of head and body.
    pub(crate) end: usize,
}

/// The buffer does not start with an HTTP/1.1 message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Finds the message at the start of `buffer`; `None` while it is incomplete.
pub(crate) fn message(buffer: &[u8]) -> Result<Option<Message>, Malformed> {
    let Some(head) = find(buffer, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let (fields, rest) = buffer.split_at(head);
    let body = match framing(fields)? {
        Framing::Length(length) => (rest.len() >= length).then_some(length),
        Framing::Chunked => chunked(rest)?,
    };
    Ok(body.map(|body| Message { head, end: head + body }))
}

/// The status code of a response.
pub(crate) fn status(response: &[u8]) -> Option<u16> {
    let code = response.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

enum Framing {
    Length(usize),
    Chunked,
}

fn framing(head: &[u8]) -> Result<Framing, Malformed> {
    let mut framing = Framing::Length(0);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
            return Ok(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).map_err(|_| Malformed)?;
            framing = Framing::Length(length.parse().map_err(|_| Malformed)?);
        }
    }
    Ok(framing)
}

/// Length of a chunked body without trailers; `None` while it is incomplete.
fn chunked(body: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let Some(line) = find(rest, b"\r\n") else { return Ok(None) };
        let size = rest.get(..line).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(Malformed)?;
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).map_err(|_| Malformed)?;
        at += line + 2 + size + 2;
        if at > body.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_by_its_length() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP";
        assert_eq!(message(whole), Ok(Some(Message { head: 38, end: 41 })));
        assert_eq!(message(&whole[..40]), Ok(None));
        assert_eq!(status(whole), Some(200));
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk() {
        let whole = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(message(whole).unwrap().unwrap().end, whole.len());
        assert_eq!(message(&whole[..whole.len() - 1]), Ok(None));
    }

    #[test]
    fn a_message_without_framing_has_no_body() {
        assert_eq!(message(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(Message { head: 18, end: 18 })));
    }

    #[test]
    fn a_length_that_is_no_number_is_malformed() {
        assert_eq!(message(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), Err(Malformed));
    }
}
