//! The registry behind the Unix socket, used by the client that sidecars use.

#![allow(clippy::unwrap_used, missing_docs)]

mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use outrigger_control::embedded::{ensure, stop};
use outrigger_identity::AppId;
use outrigger_mesh::discovery::Resolver;
use outrigger_mesh::discovery::registry::{Announcement, Config, Description, Ensure, RegistryResolver, list};
use outrigger_wire::Failure;
use parts::{Place, Running, program, until};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

fn app(id: &str) -> AppId {
    AppId::new("default", id).unwrap()
}

fn sidecar(instance: &str, id: &str, port: u16) -> Announcement {
    Announcement {
        instance: instance.into(),
        app: app(id),
        peer_address: ([127, 0, 0, 1], port).into(),
        draining: false,
        description: Description {
            pid: 1,
            parent_pid: 2,
            http_port: 3500,
            grpc_port: 50001,
            metrics_port: 9090,
            app_port: 3000,
            app_pid: 3,
            command: "python3 app.py".into(),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        },
    }
}

fn client(place: &Place) -> RegistryResolver {
    RegistryResolver::start(Config { first_answer: Duration::from_secs(10), ..Config::new(place.file("control.sock")) })
}

/// Starts the process where it does not run, and counts how often it was asked to.
fn ensuring(place: &Place) -> (Ensure, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (home, count) = (place.home(), Arc::clone(&asked));
    let hook: Ensure = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let home = home.clone();
        Box::pin(async move { ensure(&home, &program()).await.map(|_| ()).map_err(Into::into) })
    });
    (hook, asked)
}

async fn resolved(client: &RegistryResolver, id: &str) -> watch::Receiver<Arc<Vec<outrigger_view::Endpoint>>> {
    client.resolve(&app(id)).await.unwrap_or_else(|failure| panic!("{failure}"))
}

async fn ports(endpoints: &mut watch::Receiver<Arc<Vec<outrigger_view::Endpoint>>>, expected: &[u16]) {
    let ports = |now: &Arc<Vec<outrigger_view::Endpoint>>| {
        let mut ports: Vec<u16> = now.iter().map(|endpoint| endpoint.address.port()).collect();
        ports.sort_unstable();
        ports
    };
    let reached = endpoints.wait_for(|now| ports(now) == expected);
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_one_sidecar_announces_another_resolves() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let (callee, caller) = (client(&place), client(&place));
    let first = callee.announce(sidecar("a", "orders", 1));
    first.stored().await;
    let mut endpoints = resolved(&caller, "orders").await;
    ports(&mut endpoints, &[1]).await;

    let second = callee.announce(sidecar("b", "orders", 2));
    ports(&mut endpoints, &[1, 2]).await;
    first.drain();
    endpoints.wait_for(|now| now.iter().any(|endpoint| endpoint.draining)).await.unwrap();
    drop(first);
    ports(&mut endpoints, &[2]).await;
    drop(second);
    ports(&mut endpoints, &[]).await;
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_app_is_unresolved_and_the_failure_says_who_is_here() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let client = client(&place);
    let orders = client.announce(sidecar("a", "orders", 1));
    let payments = client.announce(sidecar("b", "payments", 2));
    orders.stored().await;
    payments.stored().await;
    resolved(&client, "orders").await;
    let failure: Failure = client.resolve(&app("ordres")).await.unwrap_err();
    assert_eq!(failure.name(), "unresolved");
    let text = failure.to_string();
    for part in ["ordres.default", "orders.default, payments.default", "outrigger run --app-id ordres"] {
        assert!(text.contains(part), "{text}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_list_shows_each_sidecar_as_it_announced_itself() {
    let place = Place::new();
    assert!(list(&place.file("control.sock")).await.is_err());
    let running = Running::start(&place, |_| {}).await;
    let client = client(&place);
    let announced = client.announce(sidecar("a", "orders", 1));
    announced.stored().await;
    assert_eq!(list(&place.file("control.sock")).await.unwrap(), [sidecar("a", "orders", 1)]);
    drop(client);
    drop(announced);
    running.stop().await;
}

#[tokio::test]
async fn a_sidecar_that_is_gone_is_gone_from_the_registry() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let (callee, caller) = (client(&place), client(&place));
    let announced = callee.announce(sidecar("a", "orders", 1));
    let mut endpoints = {
        announced.stored().await;
        resolved(&caller, "orders").await
    };
    drop((announced, callee));
    ports(&mut endpoints, &[]).await;
    running.stop().await;
}

#[tokio::test]
async fn killed_it_is_started_again_by_who_misses_it_and_no_endpoint_is_lost_meanwhile() {
    let place = Place::new();
    let (hook, _) = ensuring(&place);
    let start =
        || RegistryResolver::start(Config { ensure: Some(hook.clone()), ..Config::new(place.file("control.sock")) });
    let (callee, caller) = (start(), start());
    let _orders = callee.announce(sidecar("a", "orders", 1));
    _orders.stored().await;
    let mut endpoints = resolved(&caller, "orders").await;
    let watched = endpoints.clone();
    // Whoever looks at the endpoints, at any moment, finds the callee there.
    let seen_empty = tokio::spawn(async move {
        let mut watched = watched;
        while watched.changed().await.is_ok() {
            if watched.borrow().is_empty() {
                return true;
            }
        }
        false
    });
    for _ in 0..5 {
        let pid = place.status().unwrap().pid;
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        until("another one runs", || place.status().is_some_and(|status| status.pid != pid)).await;
        until("it knows the callee", || {
            std::thread::sleep(Duration::from_millis(1));
            !*callee.stale().borrow()
        })
        .await;
        _orders.stored().await;
        ports(&mut endpoints, &[1]).await;
        // An app that nobody has asked for before is found as well.
        let _payments = callee.announce(sidecar("b", "payments", 2));
        _payments.stored().await;
        resolved(&caller, "payments").await;
    }
    assert_eq!(list(&place.file("control.sock")).await.unwrap().len(), 1);
    assert!(!seen_empty.is_finished());
    seen_empty.abort();
    drop((callee, caller, _orders));
    stop(&place.home()).await.unwrap();
}

#[tokio::test]
async fn a_sidecar_that_drains_starts_no_process_and_is_announced_by_one_that_another_starts() {
    let place = Place::new();
    let (hook, asked) = ensuring(&place);
    let client = RegistryResolver::start(Config { ensure: Some(hook), ..Config::new(place.file("control.sock")) });
    let announced = client.announce(sidecar("a", "orders", 1));
    announced.stored().await;
    let (started, mut stale) = (asked.load(Ordering::SeqCst), client.stale());
    announced.drain();
    stop(&place.home()).await.unwrap();
    stale.wait_for(|stale| *stale).await.unwrap();
    // Long enough for several tries: the waits between them begin at 50 ms.
    assert!(tokio::time::timeout(Duration::from_secs(1), stale.wait_for(|stale| !*stale)).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), started);
    assert!(!place.file("control.sock").exists());
    // It still wants to be known as draining where somebody else has the process started.
    let running = Running::start(&place, |_| {}).await;
    stale.wait_for(|stale| !*stale).await.unwrap();
    announced.stored().await;
    assert!(list(&place.file("control.sock")).await.unwrap().iter().all(|sidecar| sidecar.draining));
    drop((client, announced));
    running.stop().await;
}

#[tokio::test]
async fn while_the_registry_is_away_the_last_endpoints_stay_and_are_marked_stale() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let client = client(&place);
    let announced = client.announce(sidecar("a", "orders", 1));
    announced.stored().await;
    let endpoints = resolved(&client, "orders").await;
    assert!(!*client.stale().borrow());
    running.stop().await;
    client.stale().wait_for(|stale| *stale).await.unwrap();
    assert_eq!(endpoints.borrow().len(), 1);
    assert_eq!(resolved(&client, "orders").await.borrow().len(), 1);
    // It comes back, nobody else announces itself, and the client is announced again.
    let running = Running::start(&place, |_| {}).await;
    client.stale().wait_for(|stale| !*stale).await.unwrap();
    announced.stored().await;
    drop((client, announced));
    running.stop().await;
}

#[tokio::test]
async fn a_process_told_to_end_keeps_its_tcp_door_for_sidecars_that_start_it_again_and_only_then() {
    let place = Place::new();
    let start = || Running::start(&place, |config| config.ca_listen = Some(([127, 0, 0, 1], 0).into()));
    let running = start().await;
    let client = client(&place);
    let announced = client.announce(sidecar("a", "orders", 1));
    announced.stored().await;
    running.stop().await;
    assert!(place.file("ca-listen").exists());
    drop((client, announced));
    start().await.stop().await;
    assert!(!place.file("ca-listen").exists());
}

#[tokio::test]
async fn past_the_bound_an_app_that_nobody_uses_makes_room() {
    let place = Place::new();
    let running = Running::start(&place, |_| {}).await;
    let client = RegistryResolver::start(Config { watches: 2, ..Config::new(place.file("control.sock")) });
    let _a = client.announce(sidecar("a", "a", 1));
    let _b = client.announce(sidecar("b", "b", 2));
    let _c = client.announce(sidecar("c", "c", 3));
    _c.stored().await;
    _b.stored().await;
    _a.stored().await;
    // Two are in use, which is the bound, and a third one is refused by its name.
    let (a, _b_used) = (resolved(&client, "a").await, resolved(&client, "b").await);
    let failure = client.resolve(&app("c")).await.unwrap_err();
    assert_eq!(failure.name(), "limit");
    assert!(failure.to_string().contains("registry_watches"), "{failure}");
    // With one of them let go there is room.
    drop(a);
    resolved(&client, "c").await;
    drop(client);
    running.stop().await;
}
