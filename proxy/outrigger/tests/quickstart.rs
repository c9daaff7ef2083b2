//! `outrigger quickstart`: that it proves what it says, and leaves nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic: that is a failed test")]

mod common;

use std::path::PathBuf;

use common::{END, OUTRIGGER, all_gone, runs};
use outrigger_test_support::{Home, Process};
use rustix::process::Signal;

fn quickstart(home: &Home, arguments: &[&str]) -> Process {
    let mut command = std::process::Command::new(OUTRIGGER);
    command.arg("quickstart").args(arguments);
    // A demo must not be led astray by what the user has set for other apps.
    let set = [
        ("TMPDIR", home.path().to_str().unwrap()),
        ("NAMESPACE", "elsewhere"),
        ("DAPR_API_TOKEN", "secret"),
        ("APP_API_TOKEN", "secret"),
    ];
    let set: Vec<(String, String)> =
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Process::spawn(&mut command, home, &set)
}

/// Every process ID in the table that is printed first.
fn pids(text: &str) -> Vec<u32> {
    let rows = text.lines().filter(|line| {
        ["  storefront ", "  orders ", "  payments ", "  control "].iter().any(|name| line.starts_with(name))
    });
    rows.flat_map(|row| {
        let row = row.rsplit("  ").next().unwrap();
        row.split(',').map(|pid| pid.trim().parse().unwrap()).collect::<Vec<u32>>()
    })
    .collect()
}

/// The folder that is printed first.
fn folder(text: &str) -> PathBuf {
    PathBuf::from(text.lines().nth(1).unwrap().trim())
}

#[test]
fn it_proves_identities_and_the_refusal_and_leaves_nothing() {
    let home = Home::new();
    let mut process = quickstart(&home, &["--once"]);
    assert_eq!(process.wait(END * 2).code(), Some(0));
    let text = process.log().text();
    for said in [
        "caller  spiffe://public/ns/default/storefront",
        "caller  spiffe://public/ns/default/orders",
        "wire    native, TLSv1.3 X25519MLKEM768",
        "403 Forbidden",
        "payments-access",
        "no process is left",
        "run --app-id myapp",
    ] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
    let pids = pids(&text);
    assert_eq!(pids.len(), 7, "{text}");
    all_gone(&pids);
    assert!(!folder(&text).exists());
    assert_eq!(home.control_pid(), None, "the user's own control process was not met");
}

#[test]
fn it_stays_until_it_is_interrupted_and_then_stops_everything() {
    let home = Home::new();
    let mut process = quickstart(&home, &[]);
    process.log().wait_for("until Ctrl-C");
    let pids = pids(&process.log().text());
    assert!(pids.iter().all(|pid| runs(*pid)));
    process.signal(Signal::INT);
    assert_eq!(process.wait(END).code(), Some(0));
    all_gone(&pids);
}

#[test]
fn killed_outright_it_takes_its_sidecars_with_it() {
    let home = Home::new();
    let mut process = quickstart(&home, &[]);
    process.log().wait_for("until Ctrl-C");
    let text = process.log().text();
    process.signal(Signal::KILL);
    process.wait(END);
    // The control process ends by itself some seconds after the last sidecar.
    all_gone(&pids(&text));
}
