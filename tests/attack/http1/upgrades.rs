//! Upgrade, CONNECT, Expect and informational responses (RFC 9110, sections 7.8, 9.3.6, 10.1.1 and 15.2).

use std::time::Duration;

use outrigger_test_support::{Answer, RawConnection};

use crate::case::Case;

const SECONDS: Duration = Duration::from_secs(15);

fn upgrade(case: &Case) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        case.target("attack")
    )
}

#[test]
fn bytes_behind_an_upgrade_that_the_application_declines_do_not_reach_it() {
    let case = Case::new();
    let outcome =
        case.send(format!("{}RAW BYTES BEHIND AN UPGRADE {}\r\n\r\n", upgrade(&case), case.target("smuggled")));
    assert!(!outcome.statuses().contains(&101), "{}", outcome.text());
    assert!(!case.field.app.ever_read("RAW BYTES BEHIND AN UPGRADE"));
    for reached in case.reached("attack") {
        assert_eq!(reached.all("upgrade"), Vec::<&str>::new());
    }
    case.others_are_untouched();
}

#[test]
fn an_application_that_switches_protocols_unasked_gets_no_tunnel() {
    let case = Case::new();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nTUNNELLED";
    case.answers("attack", Answer::raw(switch));
    let outcome = case.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
    assert!(!outcome.text().contains("TUNNELLED"), "{}", outcome.text());
    assert!(matches!(outcome.statuses().as_slice(), [500..=504]), "{}", outcome.text());
    case.others_are_untouched();
}

#[test]
fn connect_with_a_body_opens_no_tunnel() {
    let case = Case::new();
    let address = case.field.app.port();
    let outcome = case.send(format!(
        "CONNECT 127.0.0.1:{address} HTTP/1.1\r\nHost: 127.0.0.1:{address}\r\nContent-Length: 5\r\n\r\nhelloGET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        case.target("smuggled")
    ));
    outcome.assert_refused();
    case.others_are_untouched();
}

#[test]
fn an_upgrade_to_h2c_is_not_taken() {
    let case = Case::new();
    let outcome = case.send(format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        case.target("attack")
    ));
    assert!(!outcome.statuses().contains(&101), "{}", outcome.text());
    for reached in case.reached("attack") {
        assert!(reached.all("http2-settings").is_empty() && reached.all("upgrade").is_empty(), "{reached:?}");
    }
    case.refused_or_understood_once(&outcome);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_and_then_its_answer() {
    let case = Case::new();
    let mut connection = RawConnection::open(case.api());
    connection.send(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        case.target("attack")
    ));
    let head = connection.response_head(SECONDS).expect("an answer to Expect");
    assert_eq!(head.status(), 100);
    connection.send("hello");
    let answer = connection.response("POST", SECONDS).expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!(case.reached("attack")[0].text(), "hello");
    case.others_are_untouched();
}

#[test]
fn an_expectation_nobody_knows_is_refused_or_ignored() {
    let case = Case::new();
    let outcome = case.send(format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: a-miracle\r\n\r\nhello",
        case.target("attack")
    ));
    case.refused_or_understood_once(&outcome);
}

#[test]
fn a_client_that_expects_continue_and_leaves_is_forgotten() {
    let case = Case::new();
    for _ in 0..50 {
        let mut connection = RawConnection::open(case.api());
        connection.send(format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            case.target("attack")
        ));
    }
    assert!(case.reached("attack").iter().all(|received| !received.complete));
    case.others_are_untouched();
}

#[test]
fn informational_responses_are_not_taken_for_the_answer() {
    let case = Case::new();
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
    case.answers("attack", Answer::raw(format!("{}{answer}", hint.repeat(3))));
    let mut connection = RawConnection::open(case.api());
    connection.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
    let (bytes, _) = connection.read_settled(SECONDS, Duration::from_millis(150));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.ends_with("final") && text.contains("HTTP/1.1 200"), "{text}");
    case.others_are_untouched();
}

#[test]
fn a_flood_of_informational_responses_costs_one_call_at_most() {
    let case = Case::new();
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
    case.answers("attack", Answer::raw(format!("{}{answer}", hint.repeat(20_000))));
    let outcome = case.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target("attack")));
    let last = outcome.statuses().last().copied();
    assert!(matches!(last, Some(200 | 500..=504)), "{last:?}");
    case.others_are_untouched();
}
