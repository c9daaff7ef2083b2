//! Clients that take their time.

use std::time::{Duration, Instant};

use outrigger_test_support::{Answer, RawConnection};

use crate::case::{Case, resident};

#[test]
fn a_head_that_never_ends_is_cut_off_in_time() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n", case.target("attack")));
    let start = Instant::now();
    // One more header line every half second: each alone is quick enough.
    let mut open = true;
    while open && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(500));
        open = connection.send("X-A: 1\r\n");
    }
    assert!(!open, "the head had 30 s and could have had more");
    assert!(case.reached("attack").is_empty());
    case.others_are_untouched();
}

#[test]
fn a_client_that_says_nothing_past_its_first_byte_is_cut_off_in_time() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send("G");
    let (bytes, ended) = connection.read_to_end(Duration::from_secs(30));
    assert_ne!(ended, outrigger_test_support::Ended::Open, "still open; it said {bytes:?}");
    case.others_are_untouched();
}

#[test]
fn a_body_that_comes_slowly_holds_up_nobody() {
    let case = Case::new();
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut connection = RawConnection::open(case.api());
            connection.send(format!(
                "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
                case.target("attack")
            ));
            connection
        })
        .collect();
    let start = Instant::now();
    let outcome = case.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("quick")));
    outcome.assert_one_answer();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for connection in &mut slow {
        connection.send("x");
    }
    case.others_are_untouched();
}

#[test]
fn readers_that_do_not_read_hold_up_nobody_and_cost_little_memory() {
    let case = Case::new();
    case.answers("attack", Answer::text("x".repeat(16 << 20)));
    let before = resident(case.field.caller.id()) + resident(case.field.callee.id());
    let unread: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = RawConnection::open(case.api());
            connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
            connection
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    let outcome = case.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("quick")));
    outcome.assert_one_answer();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let grown = resident(case.field.caller.id()) + resident(case.field.callee.id()) - before;
    // 20 answers of 16 MiB wait at the application; what the sidecars hold of them is bounded by windows.
    assert!(grown < 100 << 20, "the sidecars grew by {} MiB", grown >> 20);
    drop(unread);
    case.others_are_untouched();
}
