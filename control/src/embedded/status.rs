//! `control.json`: what the running process says of itself.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;

/// The running process, as it wrote it when its doors were open. A hint for people and
/// tools: who really runs is decided by the lock, and by who answers the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its process ID.
    pub pid: u32,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The TCP door of the authority, where it was asked for.
    pub ca_address: Option<SocketAddr>,
    /// Seconds since the Unix epoch.
    pub started: u64,
    /// Version of the program.
    pub version: String,
}

impl Status {
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        file::replace(path, &text)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is none, or it cannot be understood.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}
