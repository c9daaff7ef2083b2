//! The tables, as stock's component keeps them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outrigger_identity::AppId;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};

use super::Config;
use crate::discovery::polled::MOST_ENDPOINTS;

/// Longest wait at the start for others that make the tables at the same time.
const OPENING: Duration = Duration::from_secs(5);

pub(super) struct Table {
    connection: Connection,
    hosts: String,
    metadata: String,
    /// Seconds for which a row counts.
    fresh: i64,
    /// Seconds between cleanups.
    cleanup: i64,
}

impl Table {
    pub(super) fn open(config: &Config) -> rusqlite::Result<Self> {
        let started = Instant::now();
        loop {
            match Self::try_open(config) {
                // Not each of SQLite's locks waits for the timeout that was set.
                Err(error) if is_busy(&error) && started.elapsed() < OPENING => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return opened,
            }
        }
    }

    fn try_open(config: &Config) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(&config.file)?;
        connection.busy_timeout(config.busy_timeout)?;
        let journal = if config.disable_wal { "DELETE" } else { "WAL" };
        connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
        migrate(&mut connection, &config.table, &config.metadata_table)?;
        Ok(Self {
            connection,
            hosts: config.table.clone(),
            metadata: config.metadata_table.clone(),
            fresh: i64::try_from(config.update_interval.as_secs()).unwrap_or(i64::MAX),
            cleanup: i64::try_from(config.cleanup_interval.as_secs()).unwrap_or(i64::MAX),
        })
    }

    /// Writes our row, in place of any at the same address.
    pub(super) fn register(&self, registration: &str, address: SocketAddr, app: &AppId) -> rusqlite::Result<()> {
        let hosts = &self.hosts;
        // Stock leaves the namespace empty, whatever it is.
        let query = format!(
            "REPLACE INTO {hosts} (registration_id, address, app_id, namespace, last_update) \
             VALUES (?, ?, ?, '', unixepoch(CURRENT_TIMESTAMP))"
        );
        self.connection.execute(&query, params![registration, address.to_string(), app.app_id()]).map(drop)
    }

    /// Renews our row; whether it was there.
    pub(super) fn renew(&self, registration: &str, address: SocketAddr) -> rusqlite::Result<bool> {
        let query = format!(
            "UPDATE {} SET last_update = unixepoch(CURRENT_TIMESTAMP) WHERE registration_id = ? AND address = ?",
            self.hosts
        );
        self.connection.execute(&query, params![registration, address.to_string()]).map(|rows| rows > 0)
    }

    /// Deletes our row.
    pub(super) fn remove(&self, registration: &str, address: SocketAddr) -> rusqlite::Result<()> {
        let query = format!("DELETE FROM {} WHERE registration_id = ? AND address = ?", self.hosts);
        self.connection.execute(&query, params![registration, address.to_string()]).map(drop)
    }

    /// Registration and address of each sidecar of `app` whose row is fresh.
    pub(super) fn find(&self, app: &AppId) -> rusqlite::Result<Vec<(String, String)>> {
        let query = format!(
            "SELECT registration_id, address FROM {} WHERE app_id = ? AND namespace IN ('', ?) \
             AND unixepoch(CURRENT_TIMESTAMP) - last_update < ? LIMIT ?",
            self.hosts
        );
        let most = i64::try_from(MOST_ENDPOINTS).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare(&query)?;
        let rows = statement.query_map(params![app.app_id(), app.namespace(), self.fresh, most], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        rows.collect()
    }

    /// Deletes rows that have expired, unless another sidecar has done so within the interval; how many.
    pub(super) fn clean_up(&mut self) -> rusqlite::Result<usize> {
        let metadata = &self.metadata;
        let claim = format!(
            "INSERT INTO {metadata} (key, value) VALUES ('nr-last-cleanup', CURRENT_TIMESTAMP) \
             ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP \
             WHERE unixepoch(CURRENT_TIMESTAMP) - unixepoch(value) >= ?"
        );
        let delete = format!("DELETE FROM {} WHERE unixepoch(CURRENT_TIMESTAMP) - last_update >= ?", self.hosts);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let claimed = transaction.execute(&claim, params![self.cleanup])?;
        let deleted = if claimed > 0 { transaction.execute(&delete, params![self.fresh])? } else { 0 };
        transaction.commit()?;
        Ok(deleted)
    }
}

fn migrate(connection: &mut Connection, hosts: &str, metadata: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {metadata} (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
    ))?;
    let level: Option<String> = transaction
        .query_row(&format!("SELECT value FROM {metadata} WHERE key = 'nr-migrations'"), [], |row| row.get(0))
        .optional()?;
    // A newer schema than ours still has the columns of this one.
    if level.is_none_or(|level| level.trim().parse() == Ok(0)) {
        transaction.execute_batch(&format!(
            "CREATE TABLE {hosts} (registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, \
             app_id TEXT NOT NULL, namespace TEXT NOT NULL, last_update INTEGER NOT NULL); \
             CREATE UNIQUE INDEX {hosts}_address_idx ON {hosts} (address); \
             CREATE INDEX {hosts}_last_update_idx ON {hosts} (last_update); \
             REPLACE INTO {metadata} (key, value) VALUES ('nr-migrations', '1')"
        ))?;
    }
    transaction.commit()
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
