//! HTTP/1.1 just as it stands on the wire: names in the case that was sent, doubles kept, nothing normalised.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::RawConnection;

/// A request's or response's first line and header lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The first line as it stood, without its line end.
    pub first_line: String,
    /// Name and value of each header line, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The status of a response; panics when this is none.
    pub fn status(&self) -> u16 {
        self.first_line
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{:?} is no status line", self.first_line))
    }

    /// All values of the header `name`, in order; case does not matter.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    /// The value of the header `name` when it stands there exactly once; panics when it stands there twice.
    pub fn one(&self, name: &str) -> Option<&str> {
        one(&self.headers, name)
    }
}

/// A head, its body without framing, and its trailers.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// First line and headers.
    pub head: Head,
    /// The body, its framing taken off.
    pub body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("no JSON ({err}): {}", self.text()))
    }
}

/// All values of `name` in `headers`.
pub(crate) fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

/// The only value of `name` in `headers`; panics at a second.
pub(crate) fn one<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let values = all(headers, name);
    assert!(values.len() < 2, "header {name} stands there {} times: {values:?}", values.len());
    values.first().copied()
}

/// Sends one request on a connection of its own and reads the answer, for up to 20 s.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
    let mut connection = RawConnection::open(address);
    connection.send(encode(method, target, address, headers, body));
    connection
        .response(method, Duration::from_secs(20))
        .unwrap_or_else(|| panic!("{method} {target}: the connection closed before an answer"))
}

/// As [`request`], but `None` where nothing answers: no listener, or a connection that closes or stays silent.
pub fn try_request(address: SocketAddr, method: &str, target: &str) -> Option<Message> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(&encode(method, target, address, &[("connection", "close")], b"")).ok()?;
    let mut reader = Reader::new(&mut stream, Vec::new());
    let head = reader.head().ok()??;
    let bodiless = matches!(head.status(), 204 | 304);
    let (body, trailers) = reader.response_body(&head, bodiless).ok()?;
    Some(Message { head, body, trailers })
}

/// A request's bytes: `Host` and `Content-Length` are added unless they are among `headers` or nothing needs them.
pub fn encode(method: &str, target: &str, address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    let has = |name: &str| headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    if !has("host") {
        bytes.extend_from_slice(format!("Host: {address}\r\n").as_bytes());
    }
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// One chunk of a chunked body.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    Close,
}

/// Reads heads and bodies off a stream and keeps what it read too much.
pub struct Reader<'a, S> {
    stream: &'a mut S,
    unread: Vec<u8>,
}

type Trailers = Vec<(String, String)>;

impl<'a, S: Read> Reader<'a, S> {
    /// A reader that starts with the bytes that an earlier one left.
    pub fn new(stream: &'a mut S, unread: Vec<u8>) -> Self {
        Self { stream, unread }
    }

    /// What was read and not used.
    pub fn into_unread(self) -> Vec<u8> {
        self.unread
    }

    /// The next head; `None` at the end of the stream.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let bytes: Vec<u8> = self.unread.drain(..end + 4).collect();
                return parse_head(&bytes[..end]).map(Some);
            }
            if self.unread.len() > 16 << 20 {
                return Err(io::Error::other("a head of more than 16 MiB"));
            }
            if !self.fill()? {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(io::Error::other(format!(
                        "the stream ended within a head: {:?}",
                        String::from_utf8_lossy(&self.unread)
                    ))),
                };
            }
        }
    }

    /// The body of the response `head`, whole.
    pub fn response_body(&mut self, head: &Head, bodiless: bool) -> io::Result<(Vec<u8>, Trailers)> {
        let framing = match (bodiless, framing(head)?) {
            (true, _) => Framing::None,
            (false, Framing::None) => Framing::Close,
            (false, framing) => framing,
        };
        self.body(framing)
    }

    /// A body of `framing`, whole.
    pub(crate) fn body(&mut self, framing: Framing) -> io::Result<(Vec<u8>, Trailers)> {
        let mut whole = Vec::new();
        let trailers = self.body_each(framing, |piece| {
            whole.extend_from_slice(piece);
            Ok(())
        })?;
        Ok((whole, trailers))
    }

    /// A body of `framing`, each piece as it comes.
    pub(crate) fn body_each(
        &mut self,
        framing: Framing,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Trailers> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => self.exactly(length, &mut each)?,
            Framing::Close => loop {
                let piece = std::mem::take(&mut self.unread);
                if !piece.is_empty() {
                    each(&piece)?;
                }
                if !self.fill()? {
                    break;
                }
            },
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16)
                    .map_err(|err| io::Error::other(format!("chunk size {line:?}: {err}")))?;
                if size == 0 {
                    return self.trailers();
                }
                self.exactly(size, &mut each)?;
                let end = self.line()?;
                if !end.is_empty() {
                    return Err(io::Error::other(format!("{end:?} after a chunk")));
                }
            },
        }
        Ok(Vec::new())
    }

    fn trailers(&mut self) -> io::Result<Trailers> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(header(&line)?);
        }
    }

    fn exactly(&mut self, mut length: u64, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while length > 0 {
            if self.unread.is_empty() && !self.fill()? {
                return Err(io::Error::other(format!("the stream ended {length} bytes before the body's end")));
            }
            let take = self.unread.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            let piece: Vec<u8> = self.unread.drain(..take).collect();
            length -= piece.len() as u64;
            each(&piece)?;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let bytes: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            if !self.fill()? {
                return Err(io::Error::other("the stream ended within a chunked body"));
            }
        }
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let n = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..n]);
        Ok(n > 0)
    }
}

/// How the body after `head` ends; `Framing::None` where the head does not say.
pub(crate) fn framing(head: &Head) -> io::Result<Framing> {
    if head.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match head.all("content-length").as_slice() {
        [] => Ok(Framing::None),
        [text] => {
            text.parse().map(Framing::Length).map_err(|err| io::Error::other(format!("content-length {text:?}: {err}")))
        }
        several => Err(io::Error::other(format!("content-length stands there {} times: {several:?}", several.len()))),
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    let headers = lines.map(header).collect::<io::Result<_>>()?;
    Ok(Head { first_line, headers })
}

fn header(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("{line:?} is no header")))?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// Where `needle` first stands in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
