//! A root is replaced under two running workloads, over real handshakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod desk;
mod forge;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use desk::{Desk, LIFETIME, Running};
use forge::handshake;
use outrigger_certs::{Identity, RootsSource, TrustDomains, peer_identity, unix_now};
use tokio::time::sleep;

const ALPN: &[&[u8]] = &[b"outrigger/1"];

fn current(workload: &Running) -> Arc<Identity> {
    workload.watch.borrow().clone().unwrap()
}

/// Whether both ends accept each other, each with what it holds.
async fn meet(client: &Identity, server: &Identity) -> bool {
    let dial = client.client_config(server.id(), ALPN).unwrap();
    let accept = server.server_config(ALPN, &TrustDomains::Any).unwrap();
    let (near, far) = handshake(dial, accept).await;
    let (Ok(near), Ok(far)) = (near, far) else { return false };
    assert_eq!(peer_identity(near.get_ref().1).unwrap(), *server.id());
    assert_eq!(peer_identity(far.get_ref().1).unwrap(), *client.id());
    true
}

/// Lets time pass and has the two meet, both ways, at each step of it.
async fn meet_throughout(a: &Running, b: &Running, time: Duration) {
    const STEP: Duration = Duration::from_millis(2_500);
    let mut passed = Duration::ZERO;
    while passed < time {
        let (near, far) = (current(a), current(b));
        assert!(meet(&near, &far).await && meet(&far, &near).await, "after {passed:?}");
        sleep(STEP).await;
        passed += STEP;
    }
}

fn write(file: &Path, pem: &str) {
    let draft = file.with_extension("new");
    std::fs::write(&draft, pem).unwrap();
    std::fs::rename(draft, file).unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_running_workloads_follow_a_new_root_and_meet_at_every_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust-anchors.pem");
    let desk = Desk::new();
    let old = desk.signer();
    write(&file, old.roots_pem());
    let start = |app| desk.start(desk.config_of(app, RootsSource::File(file.clone())));
    let (mut a, mut b) = (start("a"), start("b"));
    a.next().await;
    b.next().await;
    meet_throughout(&a, &b, Duration::from_secs(30)).await;

    // The new root beside the old one, and a little later the authority signs under it.
    let new = desk.next_root();
    write(&file, &format!("{}{}", old.roots_pem(), new.roots_pem()));
    meet_throughout(&a, &b, Duration::from_secs(30)).await;
    desk.signs_with(&new);
    // Each renews in its own time, so for a while they hold certificates of different roots.
    meet_throughout(&a, &b, LIFETIME).await;
    for workload in [&a, &b] {
        let identity = current(workload);
        assert_eq!(identity.roots.anchors().len(), 2);
        identity.svid.verify(new.roots(), unix_now(&desk.clock)).unwrap();
    }

    // The old root goes.
    write(&file, new.roots_pem());
    meet_throughout(&a, &b, LIFETIME).await;
    assert_eq!(current(&b).roots.as_ref(), new.roots().as_ref());
}

#[tokio::test(start_paused = true)]
async fn a_root_that_goes_too_early_is_recovered_from_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust-anchors.pem");
    let desk = Desk::new();
    write(&file, desk.signer().roots_pem());
    let start = |app| desk.start(desk.config_of(app, RootsSource::File(file.clone())));
    let (mut a, mut b) = (start("a"), start("b"));
    let (old_a, _) = (a.next().await, b.next().await);
    let new = desk.change_root();
    write(&file, new.roots_pem());
    sleep(Duration::from_secs(6)).await;
    assert!(meet(&current(&a), &current(&b)).await);
    // Who has nothing but a certificate of the old root is refused, and refuses.
    assert!(!meet(&old_a, &current(&b)).await);
    assert!(!meet(&current(&b), &old_a).await);
}
