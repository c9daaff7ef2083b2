//! The embedded control process: killed, its authority rotated, no longer needed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_test_support::{App, Ca, Home, Sidecar, tls_connect, within};

use crate::pair::Pair;

#[test]
fn the_first_sidecar_starts_it_and_the_next_use_the_same() {
    let pair = Pair::start();
    let pid = pair.home.control_pid().expect("a control process");
    let third = Sidecar::of(&pair.home, "third").start();
    assert_eq!(pair.home.control_pid(), Some(pid));
    assert_eq!(third.get("/v1.0/invoke/callee/method/x").status(), 200);
}

#[test]
fn ten_sidecars_that_start_at_once_elect_one() {
    let home = Home::new();
    let app = App::start();
    let mut all: Vec<_> = (0..10)
        .map(|number| {
            let builder = Sidecar::of(&home, &format!("app{number}"));
            if number == 0 { builder.app(app.port(), "http") } else { builder }.start_unready()
        })
        .collect();
    for sidecar in &mut all {
        within(Duration::from_secs(60), "all to be ready", || {
            let health = outrigger_test_support::http1::try_request(sidecar.http(), "GET", "/v1.0/healthz/outbound");
            health.filter(|reply| reply.status() == 204)
        });
    }
    for sidecar in &all[1..] {
        let reply = sidecar.get("/v1.0/invoke/app0/method/x");
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
}

#[test]
fn when_it_is_killed_calls_go_on() {
    let pair = Pair::start();
    assert_eq!(pair.get("/before").status(), 200);
    pair.home.kill_control();
    for number in 0..50 {
        let reply = pair.get(&format!("/after/{number}"));
        assert_eq!(reply.status(), 200, "{number}: {}", reply.text());
    }
    pair.caller.assert_sound();
    pair.callee.assert_sound();
}

#[test]
fn after_it_was_killed_a_new_sidecar_finds_the_old_ones_and_they_find_it() {
    let pair = Pair::start();
    let killed = pair.home.control_pid().expect("a control process");
    pair.home.kill_control();
    let app = App::start();
    let new = Sidecar::of(&pair.home, "new").app(app.port(), "http").start();
    let pid = pair.home.control_pid().expect("a new control process");
    assert_ne!(pid, killed);
    within(Duration::from_secs(20), "the old ones to be known to the new", || {
        (new.get("/v1.0/invoke/callee/method/from-new").status() == 200).then_some(())
    });
    within(Duration::from_secs(20), "the new one to be known to the old", || {
        (pair.caller.get("/v1.0/invoke/new/method/from-old").status() == 200).then_some(())
    });
    // The authority is the same: it lives in files.
    assert_eq!(app.received_with("/from-old")[0].one("outrigger-caller-id"), Some("spiffe://public/ns/default/caller"));
}

#[test]
fn its_keys_are_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::start();
    for name in ["ca/issuer.key", "control.sock", "control.json", "control.log"] {
        let mode =
            fs::metadata(pair.home.path().join(name)).unwrap_or_else(|err| panic!("{name}: {err}")).permissions();
        assert_eq!(mode.mode() & 0o077, 0, "{name}");
    }
}

#[test]
fn it_ends_by_itself_when_the_last_sidecar_has_left() {
    let mut pair = Pair::start();
    pair.caller.stop();
    pair.callee.stop();
    assert!(pair.home.control_pid().is_some(), "it waits a little for the next");
    within(Duration::from_secs(30), "its end", || pair.home.control_pid().is_none().then_some(()));
}

/// Whether the callee takes a peer with a certificate of `ca`.
fn takes(pair: &Pair, ca: &Ca) -> bool {
    use std::io::{Read, Write};
    let leaf = ca.leaf(&["spiffe://public/ns/default/caller"]);
    let Ok(mut tls) = tls_connect(pair.callee.peer(), Some(&leaf), &[b"outrigger/1"], "callee.default") else {
        return false;
    };
    let hello = outrigger_test_support::h2_frame::hello();
    // SETTINGS come back from a server that took the certificate; one that did not sends an alert.
    tls.write_all(&hello).is_ok() && tls.read(&mut [0; 9]).is_ok_and(|n| n > 0)
}

#[test]
fn a_rotated_root_is_followed_without_a_restart_and_without_a_failed_call() {
    let pair = Pair::start();
    let old = Ca::of(&pair.home);
    // Another home's authority becomes this home's next one.
    let other = Home::new();
    drop(Sidecar::of(&other, "maker").start());
    let next = Ca::of(&other);
    let read = |home: &Home, name: &str| fs::read_to_string(home.path().join("ca").join(name)).unwrap();
    let old_root = read(&pair.home, "ca.crt");
    let new_root = read(&other, "ca.crt");
    let install = |roots: &str| {
        for name in ["issuer.crt", "issuer.key"] {
            fs::write(pair.home.path().join("ca").join(name), read(&other, name)).unwrap();
        }
        fs::write(pair.home.path().join("ca/ca.crt"), roots).unwrap();
        pair.home.kill_control();
        // Whoever needs it next starts it; it reads its files then.
        drop(Sidecar::of(&pair.home, "next").start());
    };
    assert!(takes(&pair, &old) && !takes(&pair, &next));

    let done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        let (done, pair) = (&done, &pair);
        let calls = scope.spawn(move || {
            let mut failed = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let reply = pair.get("/throughout");
                if reply.status() != 200 {
                    failed.push(reply.text());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            failed
        });
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Both roots are trusted for a while, the new issuer signs.
            install(&format!("{old_root}\n{new_root}"));
            within(Duration::from_secs(30), "both roots to be trusted", || {
                (takes(pair, &old) && takes(pair, &next)).then_some(())
            });
            // Time for both sidecars to hold a certificate of the new issuer.
            std::thread::sleep(Duration::from_secs(7));
            install(&new_root);
            within(Duration::from_secs(30), "the old root to be trusted no more", || {
                (!takes(pair, &old) && takes(pair, &next)).then_some(())
            });
        }));
        done.store(true, Ordering::SeqCst);
        let failed = calls.join().unwrap();
        steps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        failed
    });
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(pair.get("/afterwards").status(), 200);
}
