//! One connection, several requests.

use std::time::Duration;

use outrigger_test_support::{Answer, Ended, Gate, RawConnection};

use crate::case::Case;

const SECONDS: Duration = Duration::from_secs(15);

#[test]
fn a_hundred_pipelined_requests_get_their_answers_in_order() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    let mut all = String::new();
    for number in 0..100 {
        let part = format!("piped{number}");
        case.answers(&part, Answer::text(format!("answer {number}")));
        all.push_str(&format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target(&part)));
    }
    connection.send(all);
    for number in 0..100 {
        let answer = connection.response("GET", SECONDS).expect("an answer to each");
        assert_eq!(answer.text(), format!("answer {number}"));
    }
    case.others_are_untouched();
}

#[test]
fn a_bad_request_behind_a_good_one_leaves_the_good_ones_answer_alone() {
    let case = Case::new();
    let outcome = case.send(format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\nGET {} HTTP/9.9\r\nBad Header: 1\r\n\r\nGET {} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        case.target("attack"),
        case.target("smuggled"),
        case.target("smuggled"),
    ));
    let statuses = outcome.statuses();
    assert_eq!(statuses.first(), Some(&200), "{}", outcome.text());
    assert!(statuses.len() <= 2 && statuses.get(1).is_none_or(|status| *status >= 400), "{}", outcome.text());
    assert_eq!(outcome.ended(), Ended::Closed);
    case.others_are_untouched();
}

#[test]
fn a_body_that_still_comes_after_an_early_answer_is_never_taken_for_requests() {
    let case = Case::new();
    case.answers("attack", Answer::status(413).body("too much").early());
    let mut connection = RawConnection::open(case.api());
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("smuggled"));
    let filler = "x".repeat(100_000);
    let length = filler.len() + hidden.len() * 2;
    connection.send(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n",
        case.target("attack")
    ));
    let answer = connection.response("POST", SECONDS).expect("the early answer");
    assert_eq!((answer.status(), answer.text().as_str()), (413, "too much"));
    // The sidecar may have closed by now; then these go nowhere.
    connection.send(&hidden);
    connection.send(&filler);
    connection.send(&hidden);
    connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("next")));
    let outcome = case.outcome(&mut connection);
    assert!(matches!(outcome.statuses().as_slice(), [] | [200]), "after the early answer: {}", outcome.text());
    case.others_are_untouched();
}

#[test]
fn a_client_that_goes_in_the_middle_of_an_answer_harms_nobody() {
    let case = Case::new();
    let gate = Gate::new();
    case.answers("attack", Answer::status(200).body("x".repeat(100_000)).hold(&gate).body("end"));
    for _ in 0..20 {
        let mut connection = RawConnection::open(case.api());
        connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
        connection.response_head(SECONDS).expect("a head");
    }
    gate.open();
    case.others_are_untouched();
}

#[test]
fn five_hundred_connections_that_say_nothing_harm_nobody() {
    let case = Case::new();
    let silent: Vec<_> = (0..500).map(|_| RawConnection::open(case.api())).collect();
    let outcome =
        case.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", case.target("attack")));
    outcome.assert_one_answer();
    drop(silent);
    case.others_are_untouched();
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer() {
    let case = Case::new();
    let outcome = case.send_and_finish(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
    // A half-close may count as leaving (RFC 9112, section 9.6); what may not happen is half an answer.
    assert!(matches!(outcome.statuses().as_slice(), [] | [200]), "{}", outcome.text());
    case.others_are_untouched();
}
