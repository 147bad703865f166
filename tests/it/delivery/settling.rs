//! What became of an attempt is written down, also when that takes long; and what was over may be sent again.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airudder_gateway::inbox::{Filter, Pace, State};

use super::{Platform, attempts, books, call, call_of, dead, setup, with_inbox};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Folder, Setup, platform};

#[test]
fn what_was_taken_while_the_store_is_away_is_settled_later_and_not_delivered_again_meanwhile() {
    let folder = Folder::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let receiver = Receiver::answering(move |_| {
        waits.lock().expect("no panic inside").recv().expect("the test goes on");
        Reply::Status(200)
    });
    let base = setup(&books(receiver.url(), ""));
    let mut gateway = Setup { folder: Some(folder.clone()), ..base }.start(&platform());
    Platform::of(&gateway).call_back(&call("c-1"));
    gateway.until(|_| receiver.connections() == 1);
    // Somebody else holds the database, so nothing can be written.
    let shell = rusqlite::Connection::open(folder.path().join("inbox.db")).expect("it opens");
    shell.busy_timeout(Duration::from_secs(30)).expect("set");
    shell.execute_batch("BEGIN IMMEDIATE").expect("held");
    go.send(()).expect("the receiver waits");
    let line =
        gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("could not be written")));
    assert_eq!(line["entry"], receiver.deliveries()[0].id());
    shell.execute_batch("ROLLBACK").expect("let go");
    receiver.answer(|_| Reply::Status(200));
    // Once callbacks are taken again, this one comes; the first does not.
    gateway.until(|gateway| {
        let answer =
            crate::support::Client::connect(gateway.inbound.expect("it listens")).post(super::PATH, call("c-2"));
        answer.status == 200
    });
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 2);
    let calls: Vec<_> = receiver.deliveries().iter().map(call_of).collect();
    assert_eq!(calls, ["c-1", "c-2"]);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    let listed =
        with_inbox(&folder, async |inbox| inbox.list(Filter::default(), None, 10).await.expect("it is readable"));
    assert!(listed.len() == 2 && listed.iter().all(|listed| listed.state == State::Delivered), "{listed:?}");
}

#[test]
fn a_dead_letter_that_is_sent_again_says_so_and_keeps_its_id() {
    let folder = Folder::new();
    let receiver = Receiver::answering(|_| Reply::Status(410));
    let base = setup(&books(receiver.url(), ""));
    let setup = Setup { folder: Some(folder.clone()), ..base };
    let platform = platform();
    let mut gateway = setup.start(&platform);
    Platform::of(&gateway).call_back(&call("c-1"));
    gateway.until(|gateway| dead(gateway, "books", "gone") == 1);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    with_inbox(&folder, async |inbox| {
        let redriven = inbox.redrive(Filter::default(), None, 10, Pace { per_second: 100 }, false).await;
        assert_eq!(redriven.expect("it is writable").matched, 1);
    });
    receiver.answer(|_| Reply::Status(200));
    let again = setup.start(&platform);
    again.until(|again| attempts(again, "books", "delivered") == 1);
    let deliveries = receiver.deliveries();
    let [first, second] = deliveries.as_slice() else { panic!("two: {}", deliveries.len()) };
    assert_eq!(first.id(), second.id());
    assert_eq!((first.header("x-gateway-redrive"), second.header("x-gateway-redrive")), (None, Some("1")));
    assert_eq!((second.attempt(), &second.body), (1, &first.body));
}
