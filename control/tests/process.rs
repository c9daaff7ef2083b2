//! The embedded control process as a real process: started by many at once, killed at any moment.

#![allow(clippy::unwrap_used, missing_docs)]

mod parts;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use outrigger_control::embedded::{
    Config, Connected, EnsureError, RunError, Stopped, arguments, ensure, run_until, stop,
};
use parts::{Place, Running, program, until};
use rustix::process::{Pid, Signal, kill_process};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Whether the process has ended: gone, or a zombie that its parent has not seen yet.
fn ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn script(place: &Place, text: &str) -> PathBuf {
    let path = place.home().with_file_name("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn ensured(place: &Place) -> Connected {
    ensure(&place.home(), &program()).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn of_twenty_that_need_it_at_once_exactly_one_starts_it() {
    let place = Place::new();
    let home = place.home();
    let all: Vec<_> = (0..20)
        .map(|_| {
            let home = home.clone();
            tokio::spawn(async move { ensure(&home, &program()).await.unwrap() })
        })
        .collect();
    let mut found = Vec::new();
    for one in all {
        found.push(one.await.unwrap());
    }
    let pid = found.first().unwrap().status.pid;
    assert!(found.iter().all(|connected| connected.status.pid == pid));
    assert_eq!(found.iter().filter(|connected| connected.started).count(), 1);
    assert_eq!(stop(&home).await.unwrap(), Stopped::Ended { pid });
}

#[tokio::test]
async fn twenty_processes_started_at_once_elect_one() {
    let place = Place::new();
    let mut all: Vec<_> = (0..20)
        .map(|_| {
            let mut command = Command::new(program());
            command.args(arguments(&place.home())).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let mut losers = 0;
    until("all but one have ended", || {
        all.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(RunError::ALREADY_RUNNING));
                losers += 1;
                false
            }
            None => true,
        });
        all.len() == 1
    })
    .await;
    assert_eq!(losers, 19);
    let pid = ensured(&place).await.status.pid;
    assert_eq!(all.first().unwrap().id(), pid);
    stop(&place.home()).await.unwrap();
    all.first_mut().unwrap().wait().unwrap();
}

#[tokio::test]
async fn killed_at_any_moment_it_leaves_a_folder_that_works() {
    let place = Place::new();
    let mut anchors = None;
    for round in 0..40_u64 {
        let mut child = Command::new(program())
            .args(arguments(&place.home()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before it has done anything to after it is ready.
        tokio::time::sleep(Duration::from_micros(round * 700)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 4 == 0 {
            let connected = ensured(&place).await;
            assert!(connected.started);
            let now = fs::read(place.file("trust-anchors.pem")).unwrap();
            assert_eq!(*anchors.get_or_insert_with(|| now.clone()), now);
            kill(connected.status.pid);
            until("it has ended", || ended(connected.status.pid)).await;
        }
    }
    ensured(&place).await;
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn who_finds_it_running_does_not_start_it_again() {
    let place = Place::new();
    let first = ensured(&place).await;
    let second = ensured(&place).await;
    assert!(first.started && !second.started);
    assert_eq!(first.status, second.status);
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn it_leads_a_session_of_its_own_and_has_nothing_of_our_environment() {
    let place = Place::new();
    let pid = ensured(&place).await.status.pid;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, pid.to_string());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"));
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd, place.home());
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn stopping_waits_for_the_end_and_what_does_not_run_is_no_error() {
    let place = Place::new();
    assert_eq!(stop(&place.home()).await.unwrap(), Stopped::NotRunning);
    let pid = ensured(&place).await.status.pid;
    assert_eq!(stop(&place.home()).await.unwrap(), Stopped::Ended { pid });
    assert!(ended(pid));
    assert!(!place.file("control.sock").exists());
    assert_eq!(stop(&place.home()).await.unwrap(), Stopped::NotRunning);
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_an_error_that_shows_its_log() {
    let place = Place::new();
    let script = script(&place, "echo 'the moon is missing' >&2; exit 3");
    let error = ensure(&place.home(), &script).await.unwrap_err();
    assert!(matches!(error, EnsureError::Ended { .. }));
    assert!(error.to_string().contains("the moon is missing"), "{error}");
    let error = ensure(&place.home(), Path::new("/does/not/exist")).await.unwrap_err();
    assert!(matches!(error, EnsureError::Spawn { .. }), "{error}");
}

#[tokio::test]
async fn a_second_process_sees_that_one_is_elected() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let error = run_until(Config::new(place.home()), std::future::pending()).await.unwrap_err();
    assert_eq!(error.exit_code(), RunError::ALREADY_RUNNING);
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn who_starts_it_again_opens_the_tcp_door_of_before_until_it_is_stopped() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(ANY_PORT)).await;
    let address = place.status().unwrap().ca_address;
    assert_ne!(address.unwrap().port(), 0);
    running.crash().await;
    for _ in 0..2 {
        let status = ensured(&place).await.status;
        assert_eq!(status.ca_address, address);
        kill(status.pid);
        until("it has ended", || ended(status.pid)).await;
    }
    ensured(&place).await;
    stop(&place.home()).await.unwrap();
    assert!(!place.file("ca-listen").exists());
    assert_eq!(ensured(&place).await.status.ca_address, None);
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn stopping_what_does_not_run_forgets_the_tcp_door_too() {
    let place = Place::new();
    Running::start(&place, |config| config.ca_listen = Some(ANY_PORT)).await.crash().await;
    assert_eq!(stop(&place.home()).await.unwrap(), Stopped::NotRunning);
    assert!(!place.file("ca-listen").exists());
}

#[tokio::test]
async fn a_tcp_door_that_cannot_be_opened_again_keeps_nobody_from_the_socket() {
    let place = Place::new();
    let running = Running::start(&place, |config| config.ca_listen = Some(ANY_PORT)).await;
    let address = place.status().unwrap().ca_address.unwrap();
    running.crash().await;
    let _other = std::net::TcpListener::bind(address).unwrap();
    assert_eq!(ensured(&place).await.status.ca_address, None);
    let log = fs::read_to_string(place.file("control.log")).unwrap();
    assert!(log.contains(&address.to_string()) && log.contains("outrigger stop --all"), "{log}");
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn a_tcp_door_asked_of_a_running_process_is_an_error_that_says_what_to_do() {
    let place = Place::new();
    let ask = |asked: SocketAddr| {
        let config = Config { ca_listen: Some(asked), ..Config::new(place.home()) };
        async { run_until(config, std::future::pending()).await.unwrap_err() }
    };
    let running = Running::start(&place, |_| {}).await;
    let error = ask(ANY_PORT).await;
    assert_eq!(error.exit_code(), 1);
    let error = error.to_string();
    for part in ["already runs", "Unix socket only", &format!("`OUTRIGGER_HOME={} ", place.home().display())] {
        assert!(error.contains(part), "{error}");
    }
    running.stop().await;

    let running = Running::start(&place, |config| config.ca_listen = Some(ANY_PORT)).await;
    let open = place.status().unwrap().ca_address.unwrap();
    let other = SocketAddr::new(open.ip(), open.port() ^ 1);
    assert!(ask(other).await.to_string().contains(&format!("is reached on {open}, which you may use")));
    for same in [ANY_PORT, open] {
        assert_eq!(ask(same).await.exit_code(), RunError::ALREADY_RUNNING);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced() {
    let place = Place::new();
    Running::start(&place, |_| {}).await.stop().await;
    drop(UnixListener::bind(place.file("control.sock")).unwrap());
    assert!(place.file("control.sock").exists());
    Running::start(&place, |_| {}).await.stop().await;
}

#[tokio::test]
async fn a_folder_that_others_may_enter_is_refused_by_each_way_in() {
    let place = Place::new();
    fs::create_dir(place.home()).unwrap();
    fs::set_permissions(place.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = run_until(Config::new(place.home()), std::future::pending()).await.unwrap_err().to_string();
    let ensure = ensure(&place.home(), &program()).await.unwrap_err().to_string();
    let stop = stop(&place.home()).await.unwrap_err().to_string();
    for error in [run, ensure, stop] {
        assert!(error.contains("chmod 700"), "{error}");
    }
    assert_eq!(fs::read_dir(place.home()).unwrap().count(), 0);
}
