//! Our own row in the file.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_identity::AppId;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Registered, SqliteHosts};

/// Wait before a query that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) fn start(hosts: SqliteHosts, app: AppId, address: SocketAddr) -> Registered {
    let (wanted, wanted_rx) = watch::channel(true);
    let (stored_tx, stored) = watch::channel(false);
    let mut task = JoinSet::new();
    task.spawn(keep(hosts, app, address, wanted_rx, stored_tx));
    Registered { wanted, stored, _task: task }
}

async fn keep(
    hosts: SqliteHosts,
    app: AppId,
    address: SocketAddr,
    mut wanted: watch::Receiver<bool>,
    stored: watch::Sender<bool>,
) {
    let registration = uuid();
    let renewing = async { tokio::join!(renew(&hosts, &app, address, &registration, &stored), clean_up(&hosts),) };
    tokio::select! {
        _ = renewing => {}
        _ = wanted.wait_for(|wanted| !wanted) => {}
    }
    let removed = hosts.blocking(move |table| table.remove(&registration, address)).await;
    if let Err(failure) = removed {
        tracing::info!(%failure, "our row in the file of name resolution is left to expire");
    }
}

async fn renew(
    hosts: &SqliteHosts,
    app: &AppId,
    address: SocketAddr,
    registration: &str,
    stored: &watch::Sender<bool>,
) {
    // The row must be renewed within the interval even when the query takes its time.
    let every = hosts.config.update_interval.saturating_sub(hosts.config.timeout).max(Duration::from_secs(1));
    loop {
        let known = *stored.borrow();
        let (app, id) = (app.clone(), registration.to_owned());
        let kept = hosts.blocking(move |table| match known && table.renew(&id, address)? {
            true => Ok(true),
            false => table.register(&id, address, &app).map(|()| false),
        });
        let pause = match kept.await {
            Ok(renewed) => {
                if known && !renewed {
                    tracing::warn!("our row in the file of name resolution was deleted by another; written again");
                }
                stored.send_replace(true);
                every
            }
            Err(failure) => {
                tracing::warn!(%failure, "cannot keep our row; others may lose sight of this sidecar");
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn clean_up(hosts: &SqliteHosts) {
    let every = hosts.config.cleanup_interval;
    while !every.is_zero() {
        tokio::time::sleep(every).await;
        match hosts.blocking(super::Table::clean_up).await {
            Ok(deleted) => tracing::debug!(deleted, "expired rows deleted"),
            Err(failure) => tracing::info!(%failure, "expired rows could not be deleted; later"),
        }
    }
    std::future::pending::<()>().await;
}

/// A random UUID, version 4, as stock writes it.
fn uuid() -> String {
    let random = fastrand::u128(..);
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_registration_is_named_by_a_random_uuid() {
        let (one, other) = (uuid(), uuid());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes().get(14), Some(&b'4'));
        assert!(one.as_bytes().get(19).is_some_and(|digit| b"89ab".contains(digit)));
    }
}
