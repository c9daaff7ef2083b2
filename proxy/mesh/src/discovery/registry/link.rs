//! The one connection to the registry, kept up.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use outrigger_proto::registry::ListRequest;
use outrigger_proto::registry::registry_client::RegistryClient;
use outrigger_wire::{Cause, Failure};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{Announcement, Ensure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ENSURE_TIMEOUT: Duration = Duration::from_secs(20);
const LIST_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);

pub(super) type Client = RegistryClient<Channel>;

/// Keeps the connection; dropping it ends that.
pub(super) struct Link {
    handle: LinkHandle,
    stale: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

/// How the tasks use the connection.
#[derive(Clone)]
pub(super) struct LinkHandle {
    state: watch::Receiver<Option<Up>>,
    broken: mpsc::Sender<u64>,
    leaving: watch::Sender<bool>,
    socket: PathBuf,
}

/// A connection that was up when last heard of.
#[derive(Clone)]
pub(super) struct Up {
    /// Counts the connections made: a later one has a greater number.
    pub(super) epoch: u64,
    since: Instant,
    pub(super) client: Client,
}

impl Link {
    pub(super) fn start(socket: PathBuf, ensure: Option<Ensure>) -> Self {
        let (state_tx, state) = watch::channel(None);
        let (stale_tx, stale) = watch::channel(true);
        let (broken, broken_rx) = mpsc::channel(16);
        let (leaving, leaving_rx) = watch::channel(false);
        let revival = ensure.map(|ensure| Revival { ensure, leaving: leaving_rx });
        let mut task = JoinSet::new();
        task.spawn(keep_up(socket.clone(), revival, state_tx, stale_tx, broken_rx));
        Self { handle: LinkHandle { state, broken, leaving, socket }, stale, _task: task }
    }

    pub(super) fn handle(&self) -> LinkHandle {
        self.handle.clone()
    }

    pub(super) fn stale(&self) -> watch::Receiver<bool> {
        self.stale.clone()
    }
}

impl LinkHandle {
    /// Waits until the connection is up.
    pub(super) async fn up(&self) -> Up {
        let mut state = self.state.clone();
        if let Ok(up) = state.wait_for(Option::is_some).await
            && let Some(up) = up.clone()
        {
            return up;
        }
        // The link is gone, and with it soon the task that asks.
        pending().await
    }

    /// Tells of a call on the connection `epoch` that ended as `status`. Only what speaks of
    /// the connection makes a new one; a refusal does not.
    pub(super) fn ended(&self, epoch: u64, status: &Status) {
        if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal) {
            // Full means that others have told of it.
            let _ = self.broken.try_send(epoch);
        }
    }

    /// From now on a registry that is away is waited for and not started: whoever leaves
    /// would start a process that nobody needs. One that is being started is let be.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// What is left of `grace` after the registry came back; zero when it has been here
    /// from the start, for then it knows who is here.
    pub(super) fn settling(&self, grace: Duration) -> Duration {
        match &*self.state.borrow() {
            Some(up) if up.epoch > 1 => grace.saturating_sub(up.since.elapsed()),
            _ => Duration::ZERO,
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<Announcement>, Failure> {
        let up = self.state.borrow().clone();
        match up {
            Some(up) => list(up.client, &self.socket).await,
            None => Err(away(&self.socket, "it is not connected")),
        }
    }
}

async fn keep_up(
    socket: PathBuf,
    mut revival: Option<Revival>,
    state: watch::Sender<Option<Up>>,
    stale: watch::Sender<bool>,
    mut broken: mpsc::Receiver<u64>,
) {
    let mut backoff = Backoff::default();
    for epoch in 1.. {
        let client = loop {
            match connect(&socket).await {
                Ok(client) => break client,
                Err(error) => tracing::debug!(error = %shown(&error), "the registry does not answer"),
            }
            if let Some(revival) = &mut revival
                && revival.run().await
                && let Ok(client) = connect(&socket).await
            {
                break client;
            }
            tokio::time::sleep(backoff.next()).await;
        };
        let since = Instant::now();
        stale.send_replace(false);
        state.send_replace(Some(Up { epoch, since, client }));
        if epoch > 1 {
            tracing::info!("the registry is back");
        }
        loop {
            match broken.recv().await {
                Some(told) if told < epoch => {}
                Some(_) => break,
                None => return,
            }
        }
        state.send_replace(None);
        stale.send_replace(true);
        tracing::warn!("the registry is away: the last known endpoints stay in use (stale) until it is back");
        if since.elapsed() > BACKOFF_LONGEST {
            backoff = Backoff::default();
        } else {
            // A registry that comes and goes must not be asked in a tight loop.
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// What starts the process where it is away, unless we are about to go ourselves.
struct Revival {
    ensure: Ensure,
    leaving: watch::Receiver<bool>,
}

impl Revival {
    /// Whether the process was started or found.
    async fn run(&mut self) -> bool {
        let ensure = &self.ensure;
        let ensured = tokio::select! {
            biased;
            // The sender lives as long as the link: an error means that it goes.
            _ = self.leaving.wait_for(|leaving| *leaving) => return false,
            ensured = async { tokio::time::timeout(ENSURE_TIMEOUT, ensure()).await } => ensured,
        };
        match ensured {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(%error, "cannot start the embedded control process"),
            Err(_) => tracing::warn!(after = ?ENSURE_TIMEOUT, "starting the embedded control process timed out"),
        }
        false
    }
}

/// Waits that double from 50 ms to 2 s, each shortened at random by up to a half.
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: BACKOFF_FIRST }
    }
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(BACKOFF_LONGEST);
        now.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

async fn connect(socket: &Path) -> Result<Client, tonic::transport::Error> {
    let socket = socket.to_path_buf();
    // The name is not looked up: the connector knows the one place.
    let channel = Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await?;
    Ok(RegistryClient::new(channel))
}

/// Connects, lists, and lets the connection go.
pub(super) async fn list_once(socket: &Path) -> Result<Vec<Announcement>, Failure> {
    let client = connect(socket).await.map_err(|error| away(socket, &shown(&error)))?;
    list(client, socket).await
}

async fn list(mut client: Client, socket: &Path) -> Result<Vec<Announcement>, Failure> {
    match tokio::time::timeout(LIST_TIMEOUT, client.list(ListRequest {})).await {
        Ok(Ok(listed)) => Ok(listed.into_inner().sidecars.into_iter().filter_map(Announcement::from_proto).collect()),
        Ok(Err(status)) => Err(away(socket, status.message())),
        Err(_) => Err(Failure::timeout("the list of sidecars", LIST_TIMEOUT)),
    }
}

fn away(socket: &Path, reason: &str) -> Failure {
    Failure::new(Cause::Connect { endpoint: socket.display().to_string(), reason: reason.to_owned() })
}

/// The innermost error: the outer ones only say "transport error".
fn shown(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
