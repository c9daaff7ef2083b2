//! A way to a replica that a case can shut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Lets connections through to a replica once it is open; counts them as they come.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Gate {
    /// A shut gate before `replica`.
    pub(crate) async fn before(replica: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, opened) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(socket, replica, opened.clone()));
            }
        });
        Self { address, open, connections }
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Connections that came, let through or not.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn pass(mut socket: TcpStream, replica: SocketAddr, mut opened: watch::Receiver<bool>) {
    // A gate that is gone stays shut.
    if opened.wait_for(|open| *open).await.is_err() {
        return;
    }
    let mut beyond = TcpStream::connect(replica).await.unwrap();
    // Either end may cut it.
    let _cut = copy_bidirectional(&mut socket, &mut beyond).await;
}
