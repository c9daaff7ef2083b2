//! `outrigger run` and the commands about what runs: real processes, real signals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic: that is a failed test")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{END, OUTRIGGER, all_gone, runs};
use outrigger_test_support::{App, Home, Process, eventually};
use rustix::process::Signal;

/// Starts `outrigger` with these arguments.
fn outrigger(home: &Home, arguments: &[&str]) -> Process {
    Process::spawn(Command::new(OUTRIGGER).args(arguments), home, &[])
}

/// Runs `outrigger` to its end: exit code and everything printed.
fn answer(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = outrigger(home, arguments);
    let status = process.wait(END);
    (status.code(), process.log().text())
}

/// The number after `name=` in a line of the log.
fn number(process: &Process, name: &str) -> u32 {
    let line = process.log().wait_for(&format!("{name}="));
    let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// The one sidecar of `app` that `list` shows.
fn listed(home: &Home, app: &str) -> serde_json::Value {
    eventually(&format!("{app} in the list"), || {
        let (_, text) = answer(home, &["list", "-o", "json"]);
        let found: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
        found.into_iter().find(|sidecar| sidecar["appId"] == app)
    })
}

fn pid(value: &serde_json::Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn the_app_gets_its_environment_and_run_has_its_exit_code() {
    let home = Home::new();
    let script = "echo id=$APP_ID port=$APP_PORT protocol=$APP_PROTOCOL http=${DAPR_HTTP_PORT:+set} grpc=${DAPR_GRPC_PORT:+set} metrics=${DAPR_METRICS_PORT:+set}; exit 7";
    let (code, text) = answer(
        &home,
        &["run", "--app-id", "shop", "--app-port", "1", "--app-protocol", "h2c", "--", "sh", "-c", script],
    );
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("== APP == id=shop port=1 protocol=h2c http=set grpc=set metrics=set"), "{text}");
    assert!(text.contains("== SIDECAR == "), "{text}");
}

#[test]
fn an_app_that_cannot_be_started_ends_the_run_as_a_shell_would() {
    let home = Home::new();
    let (code, text) = answer(&home, &["run", "--app-id", "shop", "--", "/no/such/program"]);
    assert_eq!(code, Some(127), "{text}");
    assert!(text.contains("/no/such/program"), "{text}");
}

#[test]
fn a_signal_ends_the_app_then_the_sidecar_and_the_run_with_zero() {
    let home = Home::new();
    let script = "trap 'echo goodbye; exit 0' TERM; echo app=$$; while :; do sleep 0.05; done";
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--", "sh", "-c", script]);
    let app = number(&run, "app");
    run.log().wait_for("Up and running");
    let sidecar = pid(&listed(&home, "shop")["daprdPid"]);
    run.signal(Signal::TERM);
    assert_eq!(run.wait(END).code(), Some(0));
    let text = run.log().text();
    let (goodbye, drained) = (text.find("goodbye").unwrap(), text.find("asked to end").unwrap());
    assert!(goodbye < drained, "the app ends first:\n{text}");
    all_gone(&[app, sidecar]);
}

#[test]
fn a_second_signal_kills_an_app_that_will_not_end() {
    let home = Home::new();
    let script = "trap '' TERM; echo app=$$; while :; do sleep 0.05; done";
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--", "sh", "-c", script]);
    let app = number(&run, "app");
    run.log().wait_for("Up and running");
    let sidecar = pid(&listed(&home, "shop")["daprdPid"]);
    run.signal(Signal::INT);
    run.log().wait_for("Stopping");
    assert!(runs(app));
    let asked = Instant::now();
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "it did not wait for the app's ten seconds");
    all_gone(&[app, sidecar]);
}

#[test]
fn a_run_that_is_killed_takes_sidecar_app_and_the_apps_children_with_it() {
    let home = Home::new();
    let script = "sleep 600 & echo child=$!; echo app=$$; wait";
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--", "sh", "-c", script]);
    let (child, app) = (number(&run, "child"), number(&run, "app"));
    let sidecar = pid(&listed(&home, "shop")["daprdPid"]);
    run.signal(Signal::KILL);
    run.wait(END);
    all_gone(&[app, child, sidecar]);
}

#[test]
fn what_the_app_leaves_in_the_background_ends_with_it() {
    let home = Home::new();
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--", "sh", "-c", "sleep 600 & echo child=$!"]);
    let child = number(&run, "child");
    assert_eq!(run.wait(END).code(), Some(0));
    all_gone(&[child]);
}

#[test]
fn a_sidecar_that_dies_ends_the_app_and_fails_the_run() {
    let home = Home::new();
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--", "sh", "-c", "echo app=$$; exec sleep 600"]);
    let app = number(&run, "app");
    let sidecar = pid(&listed(&home, "shop")["daprdPid"]);
    let id = rustix::process::Pid::from_raw(i32::try_from(sidecar).unwrap()).unwrap();
    rustix::process::kill_process(id, Signal::KILL).unwrap();
    assert_eq!(run.wait(END).code(), Some(137));
    assert!(run.log().text().contains("The sidecar has ended"));
    all_gone(&[app]);
}

#[test]
fn an_app_is_listed_invoked_and_stopped_by_its_id() {
    let home = Home::new();
    let app = App::start();
    let port = app.port().to_string();
    let mut run = outrigger(&home, &["run", "--app-id", "shop", "--app-port", &port]);
    run.log().wait_for("Up and running");

    let shown = listed(&home, "shop");
    assert_eq!(shown["appPort"], app.port());
    assert_eq!(pid(&shown["cliPid"]), run.id());
    let (_, table) = answer(&home, &["list"]);
    assert!(table.starts_with("APP ID") && table.contains("shop"), "{table}");

    let (code, text) = answer(&home, &["invoke", "--app-id", "shop", "--method", "buy?x=1", "--data", "{\"n\":1}"]);
    assert_eq!(code, Some(0), "{text}");
    let received = app.only("/buy");
    assert_eq!(received.one("content-type"), Some("application/json"));
    assert_eq!(received.one("outrigger-caller-id"), Some("spiffe://public/ns/default/shop"));

    let (code, text) = answer(&home, &["invoke", "--app-id", "nobody", "--method", "x"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("no sidecar of nobody.default"), "{text}");

    let (code, text) = answer(&home, &["stop", "--app-id", "nobody"]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = answer(&home, &["stop", "--app-id", "shop"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run.wait(END).code(), Some(0));
    assert_eq!(answer(&home, &["list"]).1.trim(), "No sidecar is running.");
}

#[test]
fn stop_all_leaves_nothing_running() {
    let home = Home::new();
    let mut one = outrigger(&home, &["run", "--app-id", "one"]);
    let mut two = outrigger(&home, &["run", "--app-id", "two"]);
    one.log().wait_for("Up and running");
    two.log().wait_for("Up and running");
    let control = home.control_pid().unwrap();
    let (code, text) = answer(&home, &["stop", "--all"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((one.wait(END).code(), two.wait(END).code()), (Some(0), Some(0)));
    all_gone(&[control]);
}

#[test]
fn run_reports_every_mistake_and_starts_nothing() {
    let home = Home::new();
    let (code, text) =
        answer(&home, &["run", "--app-id", "a.b", "--app-port", "x", "--config", "/no/such/file", "--", "true"]);
    assert_eq!(code, Some(2), "{text}");
    for name in ["--app-id=\"a.b\"", "--app-port=\"x\"", "/no/such/file"] {
        assert!(text.contains(name), "{name}:\n{text}");
    }
    assert_eq!(home.control_pid(), None);
}

#[test]
fn as_daprd_it_answers_as_that_program() {
    let home = Home::new();
    let daprd = home.path().join("daprd");
    std::os::unix::fs::symlink(OUTRIGGER, &daprd).unwrap();
    let run = |arguments: &[&str]| {
        let mut process = Process::spawn(Command::new(&daprd).args(arguments), &home, &[]);
        (process.wait(END).code(), process.log().text())
    };
    let (code, text) = run(&["--version"]);
    assert_eq!(code, Some(0));
    let parts: Vec<&str> = text.trim().split('.').collect();
    assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{text:?} is no bare version");
    assert!(run(&["-build-info"]).1.contains("Git Commit: "));
    let (code, text) = run(&["--help"]);
    assert!(code == Some(0) && text.starts_with("Usage: daprd"), "{text}");
    let (code, text) = run(&["--app-prot=1", "--mode=kubernetes"]);
    assert_eq!(code, Some(2));
    for name in
        ["--app-prot=\"1\": unknown flag; did you mean --app-port?", "--mode=\"kubernetes\"", "--app-id: is required"]
    {
        assert!(text.contains(name), "{name}:\n{text}");
    }
}
