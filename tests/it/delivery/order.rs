//! Deliveries about one call come one after the other, and each keeps its id whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::{Platform, attempts, books, call, call_of, numbered, setup};
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::{Folder, Random, Setup, platform};

fn number_of(delivery: &Delivery) -> u64 {
    delivery.json()["number"].as_u64().expect("a number")
}

#[test]
fn callbacks_about_one_call_arrive_in_order_though_attempts_fail() {
    const CALLS: usize = 20;
    const EACH: usize = 10;
    let random = Mutex::new(Random::new());
    let receiver = Receiver::answering(move |_| match random.lock().expect("no panic inside").below(3) {
        0 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    let gateway = setup(&books(receiver.url(), "retry = [\"5ms\"]\nconcurrency = 8")).start(&platform());
    let mut platform = Platform::of(&gateway);
    for number in 0..EACH {
        for call in 0..CALLS {
            platform.call_back(&numbered(&format!("c-{call}"), number));
        }
    }
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == (CALLS * EACH) as u64);
    let mut last = BTreeMap::new();
    for delivery in receiver.deliveries() {
        let (call, number) = (call_of(&delivery), number_of(&delivery));
        let before = last.insert(call, number).unwrap_or(0);
        // The same again, or the next.
        assert!(number == before || number == before + 1, "{before}, then {number}");
    }
    assert!(last.values().all(|&number| number == EACH as u64 - 1));
}

#[test]
fn a_callback_that_waits_holds_back_its_own_call_only() {
    let receiver = Receiver::answering(|delivery| Reply::Status(if call_of(delivery) == "c-0" { 500 } else { 200 }));
    let gateway = setup(&books(receiver.url(), "retry = [\"1h\"]")).start(&platform());
    let mut platform = Platform::of(&gateway);
    for number in 0..3 {
        for call in 0..10 {
            platform.call_back(&numbered(&format!("c-{call}"), number));
        }
    }
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 27);
    let held: Vec<_> =
        receiver.deliveries().iter().filter(|delivery| call_of(delivery) == "c-0").map(number_of).collect();
    assert_eq!(held, [0]);
}

#[test]
fn an_id_is_the_same_at_every_attempt_and_after_a_crash_and_no_two_callbacks_share_one() {
    const CALLS: usize = 50;
    let receiver = Receiver::answering(|_| Reply::Status(500));
    let to = books(receiver.url(), "retry = [\"10ms\"]");
    let setup = Setup { folder: Some(Folder::new()), ..setup(&to) };
    let platform = platform();
    let mut gateway = setup.start(&platform);
    let mut calls = Platform::of(&gateway);
    for turn in 0..CALLS {
        calls.call_back(&call(&format!("c-{turn}")));
    }
    receiver.until(|all| all.len() >= 3 * CALLS);
    gateway.kill();
    receiver.answer(|_| Reply::Status(200));
    let again = setup.start(&platform);
    Platform::of(&again).call_back(&call("after"));
    again.until(|again| attempts(again, "books", "delivered") == CALLS as u64 + 1);
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for delivery in receiver.deliveries() {
        ids.entry(call_of(&delivery)).or_default().insert(delivery.id().to_owned());
    }
    assert_eq!(ids.len(), CALLS + 1);
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    let distinct: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(distinct.len(), CALLS + 1);
}
