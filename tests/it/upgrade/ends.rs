//! One of the two processes ends in the middle, or is told to.

use std::sync::mpsc;
use std::time::Duration;

use super::{DETAIL, PATH, callback, setup, upgrades, waiting};
use crate::support::gateway::signal;
use crate::support::receiver::Receiver;
use crate::support::{Client, Folder, Gateway, Setup, runs};

/// How long is watched for an end that is not to come.
pub(super) const WATCHED: Duration = Duration::from_secs(2);

/// A gateway with a call in flight, a key's if it is one, and the upgrade begun: the next process serves, and the one before
/// waits for the call.
pub(super) fn in_the_middle(url: &str, receiver: &str, key: &str) -> (Gateway, Client, u32) {
    begun(setup(receiver), url, key)
}

/// The same of a gateway that is set up so.
pub(super) fn begun(base: Setup, url: &str, key: &str) -> (Gateway, Client, u32) {
    let gateway = Setup { outbound: "threads = 2\ngrace = \"1h\"".into(), sealed: false, ..base };
    let gateway = gateway.start_at(url, None).ready();
    let mut client = gateway.client();
    client.send(format!("POST /service/cloud/slow HTTP/1.1\r\nHost: g\r\n{key}Content-Length: 2\r\n\r\n{{}}"));
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    gateway.ask_for_upgrade();
    let next = gateway.next_process(0);
    gateway.until(|gateway| upgrades(gateway, "ok") == 1.0);
    (gateway, client, next)
}

#[test]
fn a_new_process_that_dies_before_it_has_the_inbox_leaves_the_old_one_serving() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    // The call has a key, so the inbox stays where it is until it ends.
    let (gateway, mut client, next) = in_the_middle(&url, &books.url(), "Idempotency-Key: one\r\n");
    signal("-KILL", next);
    gateway.until(|gateway| upgrades(gateway, "refused") == 1.0);
    assert_eq!(gateway.client().get(DETAIL).status, 200);
    let called_back = Client::connect(gateway.inbound.expect("it listens")).post(PATH, callback("one"));
    assert_eq!(called_back.status, 200);
    books.until(|all| all.len() == 1);
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200);
    let repeated = client.post_with("/service/cloud/slow", "Idempotency-Key: one\r\n", "{}");
    assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (200, Some("true")));
    // And an upgrade is possible as before.
    assert_eq!(gateway.serving(), gateway.pid());
    assert_ne!(gateway.upgrade(), next);
    assert_eq!(client.get(DETAIL).status, 200);
}

#[test]
fn an_old_process_that_dies_in_the_middle_leaves_the_inbox_to_the_new_one() {
    let (books, (url, _go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, _) = in_the_middle(&url, &books.url(), "Idempotency-Key: one\r\n");
    // It waits for the inbox, which the old process has.
    let mut other = gateway.client();
    other.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nIdempotency-Key: two\r\nContent-Length: 2\r\n\r\n{}");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    gateway.kill();
    assert!(client.try_answer(false).is_none(), "it was in flight there");
    assert_eq!(other.answer().status, 200);
    let called_back = Client::connect(gateway.inbound.expect("it listens")).post(PATH, callback("one"));
    assert_eq!(called_back.status, 200);
    books.until(|all| all.len() == 1);
    // What became of the call nobody knows, and it is not sent again.
    let repeated = gateway.client().post_with("/service/cloud/slow", "Idempotency-Key: one\r\n", "{}");
    assert_eq!(repeated.word(), Some("outcome_unknown"));
}

#[test]
fn a_call_with_a_key_waits_in_the_new_process_until_the_old_one_has_ended_those_it_has() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, _) = in_the_middle(&url, &books.url(), "Idempotency-Key: one\r\n");
    // The same key, on a connection of the new process.
    let mut other = gateway.client();
    other.send("POST /service/cloud/slow HTTP/1.1\r\nHost: g\r\nIdempotency-Key: one\r\nContent-Length: 2\r\n\r\n{}");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    go.send(()).expect("the platform waits");
    let (first, second) = (client.answer(), other.answer());
    assert_eq!((first.status, second.status, second.header("idempotency-replayed")), (200, 200, Some("true")));
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert_eq!(client.get(DETAIL).status, 200, "its connection went over after the answer");
}

/// Ready once the inbox has gone over: this key's call waits for it.
pub(super) fn until_the_inbox_has_gone_over(gateway: &Gateway) {
    let answer = gateway.client().post_with("/service/cloud/task", "Idempotency-Key: two\r\n", "{}");
    assert_eq!(answer.status, 200, "{answer:?}");
    // It counts for a moment longer than its answer takes.
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
}

#[test]
fn a_stop_in_the_middle_stops_both_and_cuts_no_call() {
    for is_late in [false, true] {
        let (books, (url, go)) = (Receiver::new(), waiting());
        let (mut gateway, mut client, next) = in_the_middle(&url, &books.url(), "");
        if is_late {
            until_the_inbox_has_gone_over(&gateway);
        }
        // In the next process, and behind the first one at the platform.
        let mut other = gateway.client();
        other.send("GET /service/cloud/slow HTTP/1.1\r\nHost: g\r\n\r\n");
        gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
        gateway.terminate();
        gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("told to stop while")));
        go.send(()).expect("the platform waits");
        assert_eq!(client.answer().status, 200, "{is_late}");
        std::thread::scope(|scope| {
            let (end, ended) = mpsc::channel();
            let gateway = &mut gateway;
            scope.spawn(move || end.send(gateway.wait().code()));
            assert!(ended.recv_timeout(WATCHED).is_err(), "{is_late}: it waits for the next one, which has a call");
            go.send(()).expect("the platform waits");
            assert_eq!(other.answer().status, 200, "{is_late}");
            assert_eq!(ended.recv(), Ok(Some(0)), "{is_late}");
        });
        assert!(!runs(next), "{is_late}: whoever waits for the old one may take both for gone");
    }
}

#[test]
fn a_new_process_that_dies_with_the_inbox_makes_the_old_one_fail_after_its_calls() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, next) = in_the_middle(&url, &books.url(), "");
    until_the_inbox_has_gone_over(&gateway);
    signal("-KILL", next);
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("nobody serves any more")));
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200);
    assert_eq!(gateway.wait().code(), Some(70), "its starter has to start another: {}", gateway.printed());
}

#[test]
fn an_inbox_that_the_old_process_still_has_is_told_as_such_and_is_not_down() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    let (gateway, mut client, _) = in_the_middle(&url, &books.url(), "Idempotency-Key: one\r\n");
    let (status, page) = gateway.admin_page("/readyz/inbound");
    assert!(status == 200 && page.contains("\"elsewhere\""), "{status} {page}");
    assert_eq!(gateway.metric("inbox_up"), 1.0);
    let look = |path: &str| {
        let answer =
            Client::connect(gateway.admin).send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
        (answer.status, answer.json())
    };
    let (_, page) = look("/status.json");
    let words: Vec<_> = page["troubles"].as_array().expect("troubles").iter().map(|trouble| &trouble["word"]).collect();
    assert_eq!(words, ["upgrading"], "{page}");
    let (status, page) = look("/call.json?id=one");
    assert_eq!((status, &page["reason"]), (503, &"elsewhere".into()), "{page}");
    // Whoever cannot wait is told why, and that nothing was sent. He waits for longer than calls without a key are waited for.
    let keyed = "Idempotency-Key: two\r\nX-Gateway-Deadline: 3s\r\n";
    let late = gateway.client().post_with("/service/cloud/task", keyed, "{}");
    assert_eq!((late.status, late.word(), late.header("retry-after")), (503, Some("upgrading"), Some("1")));
    assert_eq!(late.json()["sent"], "no");
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200);
    gateway.until(|gateway| !gateway.admin_page("/readyz/inbound").1.contains("elsewhere"));
    assert_eq!((gateway.admin_page("/readyz/inbound").0, gateway.metric("inbox_up")), (200, 1.0));
    assert!(!gateway.printed().contains("ERROR"), "{}", gateway.printed());
}

#[test]
fn an_old_process_that_is_told_twice_to_stop_does_not_wait_for_its_calls() {
    let (books, (url, _go)) = (Receiver::new(), waiting());
    let (mut gateway, mut client, next) = in_the_middle(&url, &books.url(), "");
    gateway.until(|gateway| {
        gateway.terminate();
        !runs(gateway.pid())
    });
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert!(client.try_answer(false).is_none());
    gateway.until(|_| !runs(next));
}

#[test]
fn without_an_inbox_the_old_process_serves_on_whenever_the_new_one_dies() {
    let (url, go) = waiting();
    let (gateway, mut client, next) = begun(Setup { folder: Some(Folder::new()), ..Setup::default() }, &url, "");
    // As late as it can be: all that the new process was to have it has.
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("the upgrade has succeeded")));
    signal("-KILL", next);
    gateway.until(|gateway| upgrades(gateway, "refused") == 1.0);
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200, "{}", gateway.printed());
    assert_eq!((gateway.serving(), client.get(DETAIL).status), (gateway.pid(), 200));
    assert_ne!(gateway.upgrade(), next);
    assert_eq!(gateway.client().get(DETAIL).status, 200);
}
