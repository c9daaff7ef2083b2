//! The chunked transfer coding, read strictly (RFC 9112, section 7.1).

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::head::fields;

/// Bytes of chunk extensions that one body may have in all. They mean nothing to us.
const EXTENSIONS: usize = 16 * 1024;

/// Where in a chunked body the reader stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    most_fields: usize,
    most_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size, with this many digits read.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the size, in white space or an extension.
    Extension {
        size: u64,
        named: bool,
    },
    /// At the line feed of a chunk's first line.
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataLineFeed,
    /// In the trailer section; this much of it has no end in it.
    Trailers {
        looked_at: usize,
    },
    Done,
}

/// What came of a look at the buffer.
#[derive(Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing yet: more bytes are needed.
    More,
}

/// Why a body is not chunked as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("a chunk's size is a hexadecimal number below 2^64, then a line break")]
    Size,
    #[error("chunk extensions are too long")]
    Extensions,
    #[error("a chunk's data ends with a line break")]
    Data,
    #[error("the trailer section is not one of header fields")]
    Trailers,
    #[error("the trailer section is too long")]
    TooManyTrailers,
}

impl Chunked {
    pub(super) const fn new(most_fields: usize, most_bytes: usize) -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extensions: 0, most_fields, most_bytes }
    }

    /// Takes what it can from `buffer`, up to one piece of data.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, ChunkError> {
        loop {
            match self.state {
                State::Done => return Ok(Step::End),
                State::Data { left } => {
                    if buffer.is_empty() {
                        return Ok(Step::More);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
                    return Ok(Step::Data(buffer.split_to(length).freeze()));
                }
                State::Trailers { looked_at } => return self.trailers(buffer, looked_at),
                _ => {
                    let Some(byte) = buffer.first().copied() else { return Ok(Step::More) };
                    buffer.advance(1);
                    self.state = self.next(byte)?;
                }
            }
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
                // Sixteen digits fill 64 bits; zeros before them are no number's to have without end.
                if digits >= 16 {
                    return Err(ChunkError::Size);
                }
                Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err(ChunkError::Size),
            (State::Size { size, .. } | State::Extension { size, .. }, b'\r') => Ok(State::SizeLineFeed { size }),
            (State::Size { size, .. } | State::Extension { size, named: false }, b' ' | b'\t') => {
                self.extension()?;
                Ok(State::Extension { size, named: false })
            }
            (State::Size { size, .. } | State::Extension { size, named: false }, b';') => {
                self.extension()?;
                Ok(State::Extension { size, named: true })
            }
            (State::Extension { size, named: true }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extension()?;
                Ok(State::Extension { size, named: true })
            }
            (State::SizeLineFeed { size: 0 }, b'\n') => Ok(State::Trailers { looked_at: 0 }),
            (State::SizeLineFeed { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::DataReturn | State::DataLineFeed, _) => Err(ChunkError::Data),
            _ => Err(ChunkError::Size),
        }
    }

    fn extension(&mut self) -> Result<(), ChunkError> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS { Err(ChunkError::Extensions) } else { Ok(()) }
    }

    fn trailers(&mut self, buffer: &mut BytesMut, looked_at: usize) -> Result<Step, ChunkError> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.state = State::Done;
            return Ok(Step::End);
        }
        let from = looked_at.saturating_sub(3);
        let found = buffer.get(from..).and_then(|new| new.windows(4).position(|window| window == b"\r\n\r\n"));
        let Some(found) = found else {
            if buffer.len() > self.most_bytes {
                return Err(ChunkError::TooManyTrailers);
            }
            self.state = State::Trailers { looked_at: buffer.len() };
            return Ok(Step::More);
        };
        let length = from + found + 4;
        if length > self.most_bytes {
            return Err(ChunkError::TooManyTrailers);
        }
        let trailers = fields(buffer.split_to(length).freeze(), self.most_fields).map_err(|_| ChunkError::Trailers)?;
        self.state = State::Done;
        Ok(Step::Trailers(trailers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and the trailers of `text`, given in pieces of `size` bytes.
    fn read(text: &[u8], size: usize) -> Result<Option<(Vec<u8>, HeaderMap)>, ChunkError> {
        let mut chunked = Chunked::new(10, 1_000);
        let (mut buffer, mut body, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
        for piece in text.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                match chunked.step(&mut buffer)? {
                    Step::Data(data) => body.extend_from_slice(&data),
                    Step::Trailers(map) => trailers = map,
                    Step::End => return Ok(Some((body, trailers))),
                    Step::More => break,
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_come() {
        let text = b"5\r\nhello\r\n00a;name=\"v\"\r\n0123456789\r\n1 \r\n!\r\n0\r\nx-a: 1\r\nx-a: 2\r\n\r\n";
        for size in 1..text.len() {
            let (body, trailers) = read(text, size).unwrap().unwrap();
            assert_eq!(body, b"hello0123456789!");
            assert_eq!(trailers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        }
    }

    #[test]
    fn what_is_not_chunked_is_refused_at_its_first_wrong_byte() {
        for (text, error) in [
            (&b"\r\n"[..], ChunkError::Size),
            (b"-5\r\n", ChunkError::Size),
            (b"0x5\r\n", ChunkError::Size),
            (b" 5\r\n", ChunkError::Size),
            (b"5\nhello", ChunkError::Size),
            (b"5;a\nhello", ChunkError::Size),
            (b"5\rhello", ChunkError::Size),
            (b"5 6\r\n", ChunkError::Size),
            (b"5;\0\r\n", ChunkError::Size),
            (b"10000000000000005\r\n", ChunkError::Size),
            (b"5\r\nhello!\r\n", ChunkError::Data),
            (b"5\r\nhello\n0\r\n", ChunkError::Data),
            (b"0\r\nno trailer\r\n\r\n", ChunkError::Trailers),
            (b"0\r\nx-a: \0\r\n\r\n", ChunkError::Trailers),
            (b"0\r\nx-a: 1\nx-b: 1\r\n\r\n", ChunkError::Trailers),
            (b"0\r\nx-a: 1\r\n y\r\n\r\n", ChunkError::Trailers),
        ] {
            for size in [1, text.len()] {
                assert_eq!(read(text, size).unwrap_err(), error, "{:?}", String::from_utf8_lossy(text));
            }
        }
        let long = [b"5;".to_vec(), vec![b'a'; EXTENSIONS + 1]].concat();
        assert_eq!(read(&long, 100).unwrap_err(), ChunkError::Extensions);
        let long = [b"0\r\nx: ".to_vec(), vec![b'a'; 1_100]].concat();
        assert_eq!(read(&long, 100).unwrap_err(), ChunkError::TooManyTrailers);
        assert_eq!(read(b"5\r\nhel", 1), Ok(None));
    }
}
