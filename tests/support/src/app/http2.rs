//! The application's side of an HTTP/2 connection.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::answer::{LOOK, Pause, Step};
use super::{Received, Shared};

pub(super) fn serve(stream: TcpStream, connection: usize, shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        stream.set_nonblocking(true).expect("a socket");
        let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        let mut server = match h2::server::handshake(stream).await {
            Ok(server) => server,
            Err(err) => return shared.fault(format!("connection {connection}: {err}")),
        };
        while let Some(accepted) = server.accept().await {
            match accepted {
                Ok((request, respond)) => {
                    tokio::spawn(exchange(request, respond, connection, Arc::clone(shared)));
                }
                Err(err) if err.is_io() || err.is_go_away() || err.is_reset() => return,
                Err(err) => return shared.fault(format!("connection {connection}: {err}")),
            }
        }
    });
}

/// One request and its answer. An error is a peer that left, and ends the exchange.
async fn exchange(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    connection: usize,
    shared: Arc<Shared>,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let mut headers = lines(&parts.headers);
    if let Some(authority) = parts.uri.authority() {
        headers.insert(0, (":authority".to_owned(), authority.to_string()));
    }
    let received = Received {
        connection,
        version: "HTTP/2".to_owned(),
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers,
        ..Received::default()
    };
    let number = shared.record(received.clone());
    let answer = (shared.handler)(&received);
    let mut read = false;
    if answer.after_body {
        read_body(&mut body, number, &shared, None).await?;
        read = true;
    }
    for pause in &answer.before {
        wait(pause).await;
    }
    let mut response = Response::builder().status(answer.status).body(()).expect("a status");
    *response.headers_mut() = map(&answer.headers);
    let ends = answer.steps.is_empty() && answer.trailers.is_empty();
    let mut output = respond.send_response(response, ends)?;
    for step in &answer.steps {
        match step {
            Step::Send(bytes) => output.send_data(Bytes::from(bytes.clone()), false)?,
            Step::Pause(pause) => wait(pause).await,
            Step::Echo => {
                read_body(&mut body, number, &shared, Some(&mut output)).await?;
                read = true;
            }
            Step::Abort => {
                output.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
    match (ends, answer.trailers.is_empty()) {
        (true, _) => {}
        (false, true) => output.send_data(Bytes::new(), true)?,
        (false, false) => output.send_trailers(map(&answer.trailers))?,
    }
    if !read {
        read_body(&mut body, number, &shared, None).await?;
    }
    Ok(())
}

async fn read_body(
    body: &mut RecvStream,
    number: usize,
    shared: &Shared,
    mut echo: Option<&mut SendStream<Bytes>>,
) -> Result<(), h2::Error> {
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        shared.update(number, |received| received.body.extend_from_slice(&piece));
        if let Some(output) = &mut echo {
            output.send_data(piece, false)?;
        }
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    shared.update(number, |received| {
        received.trailers = lines(&trailers);
        received.complete = true;
    });
    Ok(())
}

async fn wait(pause: &Pause) {
    match pause {
        Pause::For(time) => tokio::time::sleep(*time).await,
        Pause::Until(gate) => {
            while !gate.is_open() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// The lines of a header map.
pub(crate) fn lines(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// A header map of lines; panics at a line that HTTP/2 cannot carry.
pub(crate) fn map(lines: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    map
}
