//! Our own entry in the registry.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::Announcement;
use super::link::{Backoff, Client, LinkHandle};

const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// An announcement that stands. Dropping it takes the entry away.
pub struct Announced {
    wanted: watch::Sender<Announcement>,
    stored: watch::Receiver<bool>,
    link: LinkHandle,
    _task: JoinSet<()>,
}

impl Announced {
    /// Announces that this sidecar finishes what it has and wants nothing new.
    ///
    /// From now on its client no longer starts a registry that is away ([`Config::ensure`](super::Config::ensure)).
    pub fn drain(&self) {
        self.link.leave();
        self.change(|announcement| announcement.draining = true);
    }

    /// Changes the entry.
    pub fn change(&self, change: impl FnOnce(&mut Announcement)) {
        self.wanted.send_modify(change);
    }

    /// Waits until the registry has stored the entry, on the present connection.
    ///
    /// Waits for ever while there is none: callers set the limit.
    pub async fn stored(&self) {
        let mut stored = self.stored.clone();
        if stored.wait_for(|stored| *stored).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

pub(super) fn start(link: LinkHandle, announcement: Announcement) -> Announced {
    let (wanted, wanted_rx) = watch::channel(announcement);
    let (stored_tx, stored) = watch::channel(false);
    let mut task = JoinSet::new();
    task.spawn(keep_announced(link.clone(), wanted_rx, stored_tx));
    Announced { wanted, stored, link, _task: task }
}

async fn keep_announced(link: LinkHandle, wanted: watch::Receiver<Announcement>, stored: watch::Sender<bool>) {
    let mut backoff = Backoff::default();
    loop {
        let up = link.up().await;
        let ended = announce(up.client, wanted.clone(), &stored).await;
        if stored.send_replace(false) {
            backoff = Backoff::default();
        }
        tracing::info!(reason = ended.message(), "no longer announced; announcing again");
        link.ended(up.epoch, &ended);
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Announces until the stream ends, and returns how it ended.
async fn announce(mut client: Client, wanted: watch::Receiver<Announcement>, stored: &watch::Sender<bool>) -> Status {
    use tokio_stream::StreamExt;
    let messages = WatchStream::new(wanted).map(|announcement| announcement.to_proto());
    let opened = match tokio::time::timeout(FIRST_ANSWER, client.announce(messages)).await {
        Ok(opened) => opened,
        Err(_) => return Status::unavailable("the registry did not answer the announcement"),
    };
    let mut answers = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => return status,
    };
    match tokio::time::timeout(FIRST_ANSWER, answers.message()).await {
        Ok(Ok(Some(_))) => stored.send_replace(true),
        Ok(Ok(None)) => return Status::unavailable("the registry ended the stream"),
        Ok(Err(status)) => return status,
        Err(_) => return Status::unavailable("the registry did not answer the announcement"),
    };
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::unavailable("the registry ended the stream"),
            Err(status) => return status,
        }
    }
}
