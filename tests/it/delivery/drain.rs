//! SIGTERM: what is under way is finished and written down, and nothing new begins.

use std::sync::{Arc, Mutex, mpsc};

use super::{Platform, attempts, books, call, call_of, setup};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Folder, Setup, platform};

#[test]
fn what_is_under_way_is_settled_and_what_is_not_comes_after_the_next_start() {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let receiver = Receiver::answering(move |_| {
        waits.lock().expect("no panic inside").recv().expect("the test goes on");
        Reply::Status(200)
    });
    let base = setup(&books(receiver.url(), "concurrency = 1"));
    let setup = Setup { folder: Some(Folder::new()), outbound: "threads = 1\ngrace = \"1h\"".into(), ..base };
    let platform = platform();
    let mut gateway = setup.start(&platform);
    let mut calls = Platform::of(&gateway);
    for turn in 0..3 {
        calls.call_back(&call(&format!("c-{turn}")));
    }
    gateway.until(|_| receiver.connections() == 1);
    gateway.terminate();
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("draining")));
    go.send(()).expect("the receiver waits");
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert_eq!(receiver.count(), 1);
    assert!(!gateway.printed_whole().contains("deliveries under way"));
    // The first was written down, so it does not come again.
    receiver.answer(|_| Reply::Status(200));
    let again = setup.start(&platform);
    again.until(|again| attempts(again, "books", "delivered") == 2);
    let calls: Vec<_> = receiver.deliveries().iter().map(call_of).collect();
    assert_eq!(calls, ["c-0", "c-1", "c-2"]);
}

#[test]
fn what_does_not_end_within_the_grace_is_delivered_again_under_its_id() {
    let receiver = Receiver::answering(|_| Reply::Hang);
    let base = setup(&books(receiver.url(), "timeout = \"1h\""));
    let setup = Setup { folder: Some(Folder::new()), outbound: "threads = 1\ngrace = \"100ms\"".into(), ..base };
    let platform = platform();
    let mut gateway = setup.start(&platform);
    Platform::of(&gateway).call_back(&call("c-1"));
    receiver.until(|all| all.len() == 1);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    receiver.answer(|_| Reply::Status(200));
    let again = setup.start(&platform);
    again.until(|again| attempts(again, "books", "delivered") == 1);
    let deliveries = receiver.deliveries();
    assert_eq!((deliveries.len(), deliveries[0].id()), (2, deliveries[1].id()));
    // An attempt that was cut short is none.
    assert_eq!(deliveries[1].attempt(), 1);
}
