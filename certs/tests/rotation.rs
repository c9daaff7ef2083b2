//! Rotation on paused time: renewal, back-off, last good kept, roots followed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod desk;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use desk::{Desk, LIFETIME, Mood, Running};
use outrigger_certs::{
    CaError, CertificateAuthority, CertificateRequest, Issued, KeyAlgorithm, RootsSource, Rotation, RotationConfig,
    RotationEvent, unix_now,
};
use outrigger_identity::{SpiffeId, TrustDomain};
use tokio::time::{Instant, advance, sleep};

#[tokio::test(start_paused = true)]
async fn the_first_certificate_is_asked_for_at_once() {
    let desk = Desk::new();
    let begin = Instant::now();
    let mut running = desk.start_fixed();
    assert!(running.watch.borrow().is_none());
    let identity = running.next().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(identity.id(), &SpiffeId::parse("spiffe://public/ns/default/a").unwrap());
    assert_eq!(identity.generation, 1);
    assert_eq!(running.events(), [RotationEvent::Initialised]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_early_with_a_new_key() {
    for key in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let desk = Desk::new();
        let roots = RootsSource::Fixed(Arc::clone(desk.signer().roots()));
        let mut running = desk.start(RotationConfig { key, ..desk.config(roots) });
        let first = running.next().await;
        let begin = Instant::now();
        let second = running.next().await;
        let waited = begin.elapsed().as_secs();
        assert!((650..=751).contains(&waited), "{waited}");
        assert_eq!(second.generation, 2);
        assert_ne!(first.svid.chain()[0], second.svid.chain()[0]);
        assert_eq!(running.events(), [RotationEvent::Initialised, RotationEvent::Rotated]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_good_certificate_is_kept_while_the_authority_is_away() {
    let desk = Desk::new();
    let mut running = desk.start_fixed();
    let first = running.next().await;
    desk.is(Mood::Away);
    sleep(LIFETIME * 2).await;
    let kept = running.watch.borrow().clone().unwrap();
    assert!(Arc::ptr_eq(&first, &kept));
    // 8 steps up to half a minute, one every 15 to 30 s until it expires at 1,000 s, then one every 2 to 4 s.
    let asked = desk.asked();
    assert!((255..=545).contains(&asked), "{asked}");
    let failed = RotationEvent::RotationFailed { reason: "sentry_conn" };
    let (expired, others): (Vec<_>, Vec<_>) =
        running.events().into_iter().skip(1).partition(|event| *event == RotationEvent::Expired);
    assert_eq!(expired.len(), 1, "told once");
    assert!(others.iter().all(|event| *event == failed));

    desk.is(Mood::Signs);
    let begin = Instant::now();
    assert_eq!(running.next().await.generation, 2);
    assert!(begin.elapsed() <= Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(running.events().last(), Some(&RotationEvent::Rotated));
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_told_at_its_moment_and_again_for_the_next_certificate() {
    let desk = Desk::new();
    let mut running = desk.start_fixed();
    let told = |running: &Running| running.events().iter().filter(|event| **event == RotationEvent::Expired).count();
    for certificate in 1..=2 {
        running.next().await;
        desk.is(Mood::Away);
        sleep(LIFETIME - Duration::from_secs(1)).await;
        assert_eq!(told(&running), certificate - 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(told(&running), certificate);
        desk.is(Mood::Signs);
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_late_to_start_is_asked_again_soon() {
    let desk = Desk::new();
    desk.is(Mood::Away);
    let mut running = desk.start_fixed();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(running.events(), [RotationEvent::InitFailed { reason: "sentry_conn" }]);
    desk.is(Mood::Signs);
    let begin = Instant::now();
    running.next().await;
    assert!(begin.elapsed() <= Duration::from_millis(250), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_never_answers_does_not_hold_up_for_ever() {
    let desk = Desk::new();
    desk.is(Mood::Hangs);
    let running = desk.start_fixed();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(running.events(), [RotationEvent::InitFailed { reason: "sentry_timeout" }]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_peers_would_refuse_is_not_published() {
    for (mood, reason) in [
        (Mood::SignsForSomebodyElse, "identity"),
        (Mood::SignsFromAnotherRoot, "verify"),
        (Mood::SignsTooLate, "verify"),
    ] {
        let desk = Desk::new();
        let mut running = desk.start_fixed();
        running.next().await;
        desk.is(mood);
        sleep(LIFETIME).await;
        assert_eq!(running.watch.borrow().as_ref().unwrap().generation, 1);
        assert_eq!(running.events()[1], RotationEvent::RotationFailed { reason });
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_trust_domain_is_not_published() {
    let desk = Desk::new();
    let roots = RootsSource::Fixed(Arc::clone(desk.signer().roots()));
    let domain = TrustDomain::parse("mine").unwrap();
    let mine = RotationConfig { trust_domain: Some(domain), ..desk.config(roots) };
    let mut running = desk.start(mine);
    assert_eq!(running.next().await.id().as_str(), "spiffe://mine/ns/default/a");

    // An authority that gives `public` whatever is asked for.
    struct Stubborn(Arc<Desk>);
    #[async_trait]
    impl CertificateAuthority for Stubborn {
        async fn issue(&self, request: &CertificateRequest) -> Result<Issued, CaError> {
            let request = CertificateRequest { trust_domain: None, ..request.clone() };
            self.0.issue(&request).await
        }
    }
    let roots = RootsSource::Fixed(Arc::clone(desk.signer().roots()));
    let domain = TrustDomain::parse("mine").unwrap();
    let mine = RotationConfig { trust_domain: Some(domain), ..desk.config(roots) };
    let rotation = Rotation::start(mine, Arc::new(Stubborn(Arc::clone(&desk))), |_| {});
    sleep(Duration::from_secs(60)).await;
    assert!(rotation.watch().borrow().is_none());
}

fn write(path: &Path, pem: &str) {
    std::fs::write(path, pem).unwrap();
}

#[tokio::test(start_paused = true)]
async fn changed_roots_are_followed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust-anchors.pem");
    let desk = Desk::new();
    let old = desk.signer();
    write(&file, old.roots_pem());
    let mut running = desk.start(desk.config(RootsSource::File(file.clone())));
    let first = running.next().await;
    assert_eq!(first.roots.anchors().len(), 1);

    // Both roots: the same certificate, now with both.
    let new = desk.change_root();
    write(&file, &format!("{}{}", old.roots_pem(), new.roots_pem()));
    let begin = Instant::now();
    let both = running.next().await;
    assert!(begin.elapsed() <= Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!((both.generation, both.roots.anchors().len()), (2, 2));
    assert!(Arc::ptr_eq(&first.svid, &both.svid));

    // Only the new root: our certificate is of the old one, so it is renewed at once.
    write(&file, new.roots_pem());
    let begin = Instant::now();
    let mut last = running.next().await;
    if Arc::ptr_eq(&last.svid, &first.svid) {
        last = running.next().await;
    }
    assert!(begin.elapsed() <= Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!(last.roots.anchors().len(), 1);
    last.svid.verify(new.roots(), unix_now(&desk.clock)).unwrap();
    assert!(running.events().contains(&RotationEvent::RootsChanged));
}

#[tokio::test(start_paused = true)]
async fn roots_that_are_not_usable_leave_the_last_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust-anchors.pem");
    let desk = Desk::new();
    write(&file, desk.signer().roots_pem());
    let mut running = desk.start(desk.config(RootsSource::File(file.clone())));
    let first = running.next().await;
    write(&file, "no roots at all");
    sleep(Duration::from_secs(20)).await;
    std::fs::remove_file(&file).unwrap();
    sleep(Duration::from_secs(20)).await;
    assert!(Arc::ptr_eq(&first, running.watch.borrow().as_ref().unwrap()));
    // Told once a cause, not once a look.
    let refused = RotationEvent::RootsRefused;
    assert_eq!(running.events(), [RotationEvent::Initialised, refused, refused]);
    // The certificate is still renewed under them.
    assert_eq!(running.next().await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_roots_file_that_appears_late_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust-anchors.pem");
    let desk = Desk::new();
    let mut running = desk.start(desk.config(RootsSource::File(file.clone())));
    sleep(Duration::from_millis(100)).await;
    assert!(running.events().contains(&RotationEvent::InitFailed { reason: "trust_anchors" }));
    assert_eq!(desk.asked(), 0, "nobody is asked whom we cannot verify");
    write(&file, desk.signer().roots_pem());
    running.next().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_renews_when_it_wakes() {
    let desk = Desk::new();
    let mut running = desk.start_fixed();
    running.next().await;
    sleep(Duration::from_millis(1)).await;
    advance(LIFETIME * 3).await;
    assert_eq!(running.next().await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_rotation_ends_it_and_leaves_the_identity() {
    let desk = Desk::new();
    let mut running = desk.start_fixed();
    let first = running.next().await;
    drop(running.rotation);
    sleep(LIFETIME * 3).await;
    assert_eq!(desk.asked(), 1);
    assert_eq!(Arc::strong_count(&desk), 1, "the task is gone");
    assert!(Arc::ptr_eq(&first, running.watch.borrow().as_ref().unwrap()));
}
