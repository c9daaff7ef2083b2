//! The app behind the pair: answers every request with 1 KiB, on a thread of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::http1;
use crate::load::BODY;

/// The running origin; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    _stop: oneshot::Sender<()>,
}

/// The fields of the last request, kept only while somebody asks.
#[derive(Debug, Default)]
struct Seen {
    wanted: AtomicBool,
    fields: Mutex<Vec<String>>,
}

impl Origin {
    /// Starts on a free loopback port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = mpsc::sync_channel(1);
        let witness = Arc::clone(&seen);
        std::thread::Builder::new()
            .name("origin".into())
            .spawn(move || {
                let served = serve(witness, &bound, stopped);
                if let Err(error) = served {
                    let _ = bound.send(Err(error));
                }
            })
            .context("start the origin's thread")?;
        let address = address.recv().context("the origin ended before it listened")??;
        Ok(Self { address, seen, _stop: stop })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets what was seen, and keeps the fields of the requests to come.
    pub(crate) fn watch(&self) {
        self.seen.fields.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.seen.wanted.store(true, Ordering::Relaxed);
    }

    /// The fields of the last request since [`Origin::watch`], its request line first; keeps no more.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.wanted.store(false, Ordering::Relaxed);
        self.seen.fields.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    seen: Arc<Seen>,
    bound: &mpsc::SyncSender<anyhow::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("bind the origin")?;
        let _ = bound.send(Ok(listener.local_addr()?));
        let mut connections = JoinSet::new();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.context("accept on the origin")?;
                    connections.spawn(answer(stream, Arc::clone(&seen)));
                }
                Some(_) = connections.join_next() => {}
                _ = &mut stopped => return Ok(()),
            }
        }
    })
}

async fn answer(mut stream: TcpStream, seen: Arc<Seen>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut response =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {BODY}\r\n\r\n")
            .into_bytes();
    response.resize(response.len() + BODY, b'a');
    let mut buffer = Vec::with_capacity(4 * BODY);
    while stream.read_buf(&mut buffer).await? > 0 {
        match http1::message(&buffer) {
            Ok(Some(message)) => {
                if seen.wanted.load(Ordering::Relaxed) {
                    let head = String::from_utf8_lossy(buffer.get(..message.head).unwrap_or_default());
                    *seen.fields.lock().unwrap_or_else(PoisonError::into_inner) =
                        head.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
                }
                buffer.drain(..message.end);
                stream.write_all(&response).await?;
            }
            Ok(None) => {}
            Err(http1::Malformed) => return Ok(()),
        }
    }
    Ok(())
}
