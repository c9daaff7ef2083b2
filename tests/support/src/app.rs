//! An application that answers as it is told and records exactly what reached it.

mod answer;
mod http1;
mod http2;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use answer::{Answer, Gate};
pub(crate) use http2::{lines, map};

use crate::{eventually, http1 as codec};

/// One request as the application saw it.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Counts the connections of this application from 0: two requests of one number came over one connection.
    pub connection: usize,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: String,
    /// The method as it stood.
    pub method: String,
    /// The request target as it stood: path and query, nothing decoded.
    pub target: String,
    /// Each header line, in order, its name in the case that was sent. `Host` for HTTP/1.1, `:authority` for HTTP/2.
    pub headers: Vec<(String, String)>,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Vec<(String, String)>,
    /// Whether the request came to its end in order.
    pub complete: bool,
}

impl Received {
    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        codec::all(&self.headers, name)
    }

    /// The value of a header that may stand there once; panics at a second.
    pub fn one(&self, name: &str) -> Option<&str> {
        codec::one(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

type Handler = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    handler: Handler,
    received: Mutex<Vec<Received>>,
    transcript: Mutex<Vec<u8>>,
    faults: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    closing: AtomicBool,
}

impl Shared {
    /// Records a request at its head; the number it gets serves [`Shared::update`].
    fn record(&self, received: Received) -> usize {
        let mut all = self.received.lock().unwrap();
        all.push(received);
        all.len() - 1
    }

    fn update(&self, number: usize, change: impl FnOnce(&mut Received)) {
        if let Some(received) = self.received.lock().unwrap().get_mut(number) {
            change(received);
        }
    }

    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }
}

/// An application on a loopback port: HTTP/1.1, and HTTP/2 with prior knowledge, on the same one.
pub struct App {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl App {
    /// An application that answers every request with 200 and `ok`.
    pub fn start() -> Self {
        Self::answering(|_| Answer::text("ok"))
    }

    /// An application that asks `handler`, at each request's head, how to answer it.
    pub fn answering(handler: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            received: Mutex::default(),
            transcript: Mutex::default(),
            faults: Mutex::default(),
            streams: Mutex::default(),
            connections: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far, those that are under way too, in the order in which their heads came.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The requests whose target holds `mark`.
    pub fn received_with(&self, mark: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.target.contains(mark)).collect()
    }

    /// The one request whose target holds `mark`, once it is complete; panics when there are more or none comes.
    pub fn only(&self, mark: &str) -> Received {
        let complete = || self.received_with(mark).into_iter().find(|received| received.complete);
        let found = eventually(&format!("a request with {mark:?} at the application"), complete);
        assert_eq!(self.received_with(mark).len(), 1, "more than one request with {mark:?} reached the application");
        found
    }

    /// Whether `bytes` ever came in on an HTTP/1.1 connection, in whatever place.
    pub fn ever_read(&self, bytes: impl AsRef<[u8]>) -> bool {
        codec::find(&self.shared.transcript.lock().unwrap(), bytes.as_ref()).is_some()
    }

    /// What the application could not make sense of: with a sound sidecar in front, nothing.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// How many connections were made to it so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Stops listening and closes every connection, as a crash does.
    pub fn stop(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(clone) = stream.try_clone() {
            shared.streams.lock().unwrap().push(clone);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, connection, &shared));
    }
}

fn serve(stream: TcpStream, connection: usize, shared: &Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let mut first = [0; 3];
    // "PRI" begins the preface of HTTP/2 and no method that anything sends here.
    match stream.peek(&mut first) {
        Ok(0) | Err(_) => {}
        Ok(_) if first == *b"PRI" => http2::serve(stream, connection, shared),
        Ok(_) => http1::serve(stream, connection, shared),
    }
}
