//! A SQLite file that sidecars share: each keeps a row of its own fresh, and reads those of others.
//!
//! Schema, heartbeat and expiry are those of stock's component `sqlite`, so both may share one file.
//! Two things differ on purpose: a cleanup deletes rows that have expired (stock's compares the other way
//! round), and a row of ours that somebody deleted is written anew (a stock sidecar ends itself).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::polled::Lookup;
use crate::net;

mod announce;
mod table;

use table::Table;

/// How long an answer of the file holds.
const HOLDS: Duration = Duration::from_secs(1);

/// Where the file is and how it is kept. [`SqliteHosts::open`] trusts the names of tables: they must have been
/// checked to be of letters, digits and `_`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file.
    pub file: PathBuf,
    /// Longest wait for one query.
    pub timeout: Duration,
    /// Longest wait for a lock that another holds.
    pub busy_timeout: Duration,
    /// A rollback journal in place of a write-ahead log.
    pub disable_wal: bool,
    /// Table of the sidecars.
    pub table: String,
    /// Table of the schema's version.
    pub metadata_table: String,
    /// Whole seconds after which a row that was not renewed counts no more.
    pub update_interval: Duration,
    /// How often expired rows are deleted; zero never.
    pub cleanup_interval: Duration,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the file {} of name resolution cannot be used: {reason}; check spec.nameResolution", file.display())]
pub struct OpenError {
    /// The file.
    pub file: PathBuf,
    /// What SQLite said.
    pub reason: String,
}

/// The sidecars in the file. A clone is another handle.
#[derive(Clone)]
pub struct SqliteHosts {
    table: Arc<Mutex<Table>>,
    config: Arc<Config>,
}

/// An announcement that stands. Dropping it leaves the row to expire; [`Registered::retract`] deletes it.
pub struct Registered {
    wanted: watch::Sender<bool>,
    stored: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

impl Registered {
    /// Deletes the row, soon.
    pub fn retract(&self) {
        self.wanted.send_replace(false);
    }

    /// Waits until the row is written; callers set the limit.
    pub async fn stored(&self) {
        if self.stored.clone().wait_for(|stored| *stored).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl SqliteHosts {
    /// Opens the file, and makes it and its tables where they are not there. Blocks, at most for some seconds.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let refused = |error: rusqlite::Error| OpenError { file: config.file.clone(), reason: error.to_string() };
        let table = Table::open(&config).map_err(refused)?;
        Ok(Self { table: Arc::new(Mutex::new(table)), config: Arc::new(config) })
    }

    /// Keeps a row for `app` at `address`, in the current runtime, for as long as the returned value lives.
    pub fn announce(&self, app: &AppId, address: SocketAddr) -> Registered {
        announce::start(self.clone(), app.clone(), address)
    }

    /// Does `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Table) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let table = Arc::clone(&self.table);
        let file = self.config.file.clone();
        let failed = move |reason: String| {
            Failure::new(Cause::Unresolved { target: format!("the file {}: {reason}", file.display()) })
        };
        let blocking = tokio::task::spawn_blocking(move || {
            // SQLite itself undoes what was not finished.
            work(&mut table.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match tokio::time::timeout(self.config.timeout.saturating_add(self.config.busy_timeout), blocking).await {
            Ok(Ok(result)) => result.map_err(|error| failed(error.to_string())),
            Ok(Err(_)) => Err(failed("the query ended early".to_owned())),
            Err(_) => Err(failed(format!("no answer within {:?}", self.config.timeout))),
        }
    }
}

#[async_trait]
impl Lookup for SqliteHosts {
    async fn lookup(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure> {
        let asked = app.clone();
        let rows = self.blocking(move |table| table.find(&asked)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (registration, address) in rows {
            let addresses = match address.parse() {
                Ok(address) => vec![address],
                // A name is written by a sidecar that was told to call itself so.
                Err(_) => net::addresses(&address).await.unwrap_or_default(),
            };
            let instance: Arc<str> = registration.into();
            found.extend(addresses.into_iter().map(|address| Endpoint {
                instance: Arc::clone(&instance),
                address,
                draining: false,
            }));
        }
        Ok(found)
    }

    fn holds(&self) -> Duration {
        HOLDS
    }

    fn hint(&self, app: &AppId) -> String {
        format!(
            "no sidecar of it is in the file {}; start it with the same spec.nameResolution, and app ID {}",
            self.config.file.display(),
            app.app_id()
        )
    }
}

#[cfg(test)]
mod tests;
