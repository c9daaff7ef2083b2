//! Several replicas of one app: spread, and saved when one dies.

use std::time::Duration;

use outrigger_test_support::{Answer, App, Home, Sidecar, within};

struct Fleet {
    caller: Sidecar,
    callees: Vec<(Sidecar, App)>,
    // Goes last.
    _home: Home,
}

impl Fleet {
    fn of(replicas: usize) -> Self {
        Self::answering(replicas, |number| Answer::text(number.to_string()))
    }

    fn answering(replicas: usize, answer: fn(usize) -> Answer) -> Self {
        let home = Home::new();
        let callees = (0..replicas)
            .map(|number| {
                let app = App::answering(move |_| answer(number));
                (Sidecar::of(&home, "callee").app(app.port(), "http").start(), app)
            })
            .collect();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callees, _home: home }
    }

    fn call(&self, verb: &str, number: usize) -> outrigger_test_support::http1::Message {
        let body: &[u8] = if verb == "GET" { b"" } else { b"a body" };
        self.caller.request(verb, &format!("/v1.0/invoke/callee/method/{verb}/{number}"), &[], body)
    }
}

#[test]
fn calls_at_once_are_spread_over_all_replicas() {
    let fleet = Fleet::answering(3, |number| Answer::text(number.to_string()).late(Duration::from_millis(20)));
    std::thread::scope(|scope| {
        for worker in 0..9 {
            let fleet = &fleet;
            scope.spawn(move || {
                for number in 0..20 {
                    assert_eq!(fleet.call("GET", worker * 100 + number).status(), 200);
                }
            });
        }
    });
    for (_, app) in &fleet.callees {
        let got = app.received().len();
        assert!((30..=100).contains(&got), "a replica got {got} of 180 calls");
    }
}

#[test]
fn a_replica_that_is_killed_costs_no_call() {
    let mut fleet = Fleet::of(2);
    for number in 0..20 {
        assert_eq!(fleet.call("GET", number).status(), 200);
    }
    fleet.callees[0].0.kill();
    for number in 20..70 {
        for verb in ["GET", "POST"] {
            let reply = fleet.call(verb, number);
            assert_eq!((reply.status(), reply.text().as_str()), (200, "1"), "{verb} {number}: {}", reply.text());
        }
    }
}

#[test]
fn a_replica_that_is_stopped_costs_no_call() {
    let mut fleet = Fleet::of(2);
    std::thread::scope(|scope| {
        let caller = &fleet.caller;
        let calls = scope.spawn(move || {
            let call = |number| caller.get(&format!("/v1.0/invoke/callee/method/{number}")).status();
            (0..400).map(call).filter(|status| *status != 200).collect::<Vec<_>>()
        });
        fleet.callees[0].0.stop();
        assert_eq!(calls.join().unwrap(), Vec::<u16>::new());
    });
}

#[test]
fn a_replica_that_comes_back_gets_calls_again() {
    let mut fleet = Fleet::of(1);
    fleet.callees[0].0.kill();
    let gone = fleet.call("GET", 0);
    assert!(gone.status() >= 500, "{}", gone.status());
    let app = App::answering(|_| Answer::text("back"));
    let back = Sidecar::of(&fleet._home, "callee").app(app.port(), "http").start();
    within(Duration::from_secs(10), "the replica that came back", || {
        (fleet.call("GET", 1).text() == "back").then_some(())
    });
    drop(back);
}

#[test]
fn a_call_that_the_application_may_have_seen_is_not_repeated() {
    let home = Home::new();
    let apps: Vec<_> = (0..2).map(|_| App::answering(|_| Answer::raw(""))).collect();
    let callees: Vec<_> = apps.iter().map(|app| Sidecar::of(&home, "callee").app(app.port(), "http").start()).collect();
    let caller = Sidecar::of(&home, "caller").start();
    let reply = caller.request("POST", "/v1.0/invoke/callee/method/once", &[], b"a body");
    assert!(reply.status() >= 500, "{}", reply.status());
    let seen: usize = apps.iter().map(|app| app.received_with("/once").len()).sum();
    assert_eq!(seen, 1, "a POST that broke off was sent again");
    drop(callees);
}
