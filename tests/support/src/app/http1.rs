//! The application's side of an HTTP/1.1 connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::answer::{LOOK, Pause, Step};
use super::{Answer, Received, Shared};
use crate::http1::{Framing, Reader, chunk, framing};

/// A stream whose every byte goes into the transcript.
struct Recorded<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
}

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = Read::read(&mut self.stream, buffer)?;
        self.shared.transcript.lock().unwrap().extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

pub(super) fn serve(stream: TcpStream, connection: usize, shared: &Arc<Shared>) {
    let mut unread = Vec::new();
    loop {
        match exchange(&stream, unread, connection, shared) {
            Ok(Some(rest)) => unread = rest,
            Ok(None) => break,
            // A sidecar may drop a connection when it likes; what it may not do is send what is no HTTP.
            Err(err) if err.kind() == io::ErrorKind::Other => {
                shared.fault(format!("connection {connection}: {err}"));
                break;
            }
            Err(_) => break,
        }
    }
    stream.shutdown(Shutdown::Both).ok();
}

/// One request and its answer. `None` when the connection is at its end.
fn exchange(
    stream: &TcpStream,
    unread: Vec<u8>,
    connection: usize,
    shared: &Arc<Shared>,
) -> io::Result<Option<Vec<u8>>> {
    let mut input = Recorded { stream, shared };
    let mut reader = Reader::new(&mut input, unread);
    let Some(head) = reader.head()? else { return Ok(None) };
    let mut words = head.first_line.splitn(3, ' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let received = Received {
        connection,
        method: word(),
        target: word(),
        version: word(),
        headers: head.headers.clone(),
        ..Received::default()
    };
    let number = shared.record(received.clone());
    let answer = (shared.handler)(&received);
    let framing = framing(&head)?;
    let expects = head.all("expect").iter().any(|value| value.eq_ignore_ascii_case("100-continue"));
    let mut output = stream;
    if expects && framing != Framing::None && answer.raw.is_none() {
        output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }

    let mut read = false;
    if answer.after_body {
        read_body(&mut reader, framing, number, shared, |_| Ok(()))?;
        read = true;
    }
    answer.before.iter().for_each(wait);
    if let Some(raw) = &answer.raw {
        output.write_all(raw)?;
        return Ok(answer.stays.then(|| reader.into_unread()));
    }
    let bodiless = received.method == "HEAD" || matches!(answer.status, 100..=199 | 204 | 304);
    output.write_all(&encode_head(&answer, bodiless))?;
    for step in &answer.steps {
        match step {
            Step::Send(bytes) if bodiless || bytes.is_empty() => {}
            Step::Send(bytes) if answer.chunked => output.write_all(&chunk(bytes))?,
            Step::Send(bytes) => output.write_all(bytes)?,
            Step::Pause(pause) => wait(pause),
            Step::Echo => {
                read_body(&mut reader, framing, number, shared, |piece| output.write_all(&chunk(piece)))?;
                read = true;
            }
            Step::Abort => return Ok(None),
        }
    }
    if answer.chunked && !bodiless {
        let mut end = b"0\r\n".to_vec();
        for (name, value) in &answer.trailers {
            end.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        end.extend_from_slice(b"\r\n");
        output.write_all(&end)?;
    }
    if !read {
        read_body(&mut reader, framing, number, shared, |_| Ok(()))?;
    }
    let closes = head.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
    Ok((!closes && !answer.headers.iter().any(|(name, value)| name == "connection" && value == "close"))
        .then(|| reader.into_unread()))
}

fn read_body(
    reader: &mut Reader<'_, impl Read>,
    framing: Framing,
    number: usize,
    shared: &Shared,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let trailers = reader.body_each(framing, |piece| {
        shared.update(number, |received| received.body.extend_from_slice(piece));
        each(piece)
    });
    // A body that is cut off is the sidecar's way to say that its caller left.
    let trailers = trailers.map_err(|err| match err.kind() {
        io::ErrorKind::Other if err.to_string().contains("the stream ended") => io::ErrorKind::UnexpectedEof.into(),
        _ => err,
    })?;
    shared.update(number, |received| {
        received.trailers = trailers;
        received.complete = true;
    });
    Ok(())
}

fn encode_head(answer: &Answer, bodiless: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let says = |name: &str| answer.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    if answer.chunked && !bodiless {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !says("content-length") && !matches!(answer.status, 100..=199 | 204 | 304) {
        let length: usize =
            answer.steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum();
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn wait(pause: &Pause) {
    match pause {
        Pause::For(time) => std::thread::sleep(*time),
        Pause::Until(gate) => {
            while !gate.is_open() {
                std::thread::sleep(LOOK);
            }
        }
    }
}
