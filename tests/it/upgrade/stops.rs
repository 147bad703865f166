//! Somebody stops the new process, or has the next one started, while the one before it still ends its calls.
//! A stop of the other one is told in `ends`.

use super::ends::{WATCHED, in_the_middle, until_the_inbox_has_gone_over};
use super::{DETAIL, waiting};
use crate::support::gateway::signal;
use crate::support::receiver::Receiver;
use crate::support::{Gateway, runs};

/// Watches for a while that none of them ends.
fn assert_goes_on(gateway: &Gateway, processes: &[u32], why: &str) {
    let end = airudder_gateway::clock::now() + WATCHED;
    while airudder_gateway::clock::now() < end {
        assert!(processes.iter().all(|pid| runs(*pid)), "{why}: {}", gateway.printed());
        std::thread::yield_now();
    }
}

/// How many lines say that the gateway has stopped.
fn stopped(gateway: &Gateway) -> usize {
    gateway.printed().matches("\"message\":\"stopped").count()
}

#[test]
fn a_new_process_that_is_stopped_ends_after_the_old_one_which_cuts_no_call_and_says_nothing_of_a_crash() {
    for is_late in [false, true] {
        let (books, (url, go)) = (Receiver::new(), waiting());
        let key = if is_late { "" } else { "Idempotency-Key: one\r\n" };
        let (mut gateway, mut client, next) = in_the_middle(&url, &books.url(), key);
        if is_late {
            until_the_inbox_has_gone_over(&gateway);
        }
        signal("-TERM", next);
        assert_goes_on(
            &gateway,
            &[gateway.pid(), next],
            "whoever takes it for the gateway kills the rest when it ends",
        );
        go.send(()).expect("the platform waits");
        assert_eq!(client.answer().status, 200, "{is_late}: {}", gateway.printed());
        gateway.until(|_| !runs(next));
        assert!(!runs(gateway.pid()), "{is_late}: {}", gateway.printed());
        assert_eq!(gateway.wait().code(), Some(0), "{is_late}: {}", gateway.printed());
        assert_eq!(stopped(&gateway), 2, "{is_late}: {}", gateway.printed());
        assert!(!gateway.printed().contains("\"ERROR\""), "{is_late}: {}", gateway.printed());
    }
}

#[test]
fn a_new_process_that_is_told_twice_to_stop_ends_and_the_old_one_ends_its_calls() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, next) = in_the_middle(&url, &books.url(), "");
    until_the_inbox_has_gone_over(&gateway);
    signal("-TERM", next);
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("nothing is left here")));
    signal("-TERM", next);
    gateway.until(|_| !runs(next));
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200, "{}", gateway.printed());
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert!(!gateway.printed().contains("\"ERROR\""), "{}", gateway.printed());
}

#[test]
fn a_further_upgrade_while_the_first_process_still_has_a_call_cuts_it_not_and_is_no_crash() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, second) = in_the_middle(&url, &books.url(), "");
    until_the_inbox_has_gone_over(&gateway);
    signal("-USR2", second);
    let third = gateway.next_process(1);
    gateway.until(|_| !runs(second));
    assert_eq!(gateway.client().get(DETAIL).status, 200);
    assert_goes_on(&gateway, &[gateway.pid(), third], "each has what it has to do");
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200, "{}", gateway.printed());
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert!(!gateway.printed().contains("\"ERROR\""), "{}", gateway.printed());
    assert_eq!((gateway.serving(), gateway.client().get(DETAIL).status), (third, 200));
}
