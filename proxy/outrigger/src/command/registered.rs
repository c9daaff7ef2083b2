//! The sidecars of this user, as the registry of the control process has them.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context as _;
use outrigger_control::embedded::Home;
use outrigger_mesh::discovery::registry::{Announcement, list};

/// The folder of this user's control process, made where there is none.
///
/// # Errors
///
/// There is no place for it, or it is not safe to use.
pub(crate) fn home() -> anyhow::Result<Home> {
    let path = Home::default_path(|name| std::env::var_os(name))?;
    let path = std::path::absolute(&path).with_context(|| format!("cannot find the folder {}", path.display()))?;
    Ok(Home::open(&path)?)
}

/// Every sidecar announced now, by app and start. None when no control process
/// runs, because then no sidecar of `outrigger` does either.
///
/// # Errors
///
/// The control process runs and does not answer.
pub(crate) async fn sidecars(home: &Home) -> anyhow::Result<Vec<Announcement>> {
    if !answers(&home.socket())? {
        return Ok(Vec::new());
    }
    let mut found = list(&home.socket())
        .await
        .with_context(|| format!("the control process at {} does not answer", home.socket().display()))?;
    found.sort_by(|a, b| {
        (a.app.app_id(), a.app.namespace(), a.description.started).cmp(&(
            b.app.app_id(),
            b.app.namespace(),
            b.description.started,
        ))
    });
    Ok(found)
}

/// Whether anybody listens on the socket.
fn answers(socket: &Path) -> anyhow::Result<bool> {
    match UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
    }
}
