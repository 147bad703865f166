//! Receivers do not feel each other, and callbacks do not feel a bad neighbour.

use super::{Platform, To, attempts, books, call, call_of, setup};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Refusing, platform};

const CALLS: usize = 500;

#[test]
fn a_receiver_that_is_down_holds_up_nobody_else() {
    for hangs in [true, false] {
        let (refusing, hanging) = (Refusing::new(), Receiver::answering(|_| Reply::Hang));
        let down = if hangs { hanging.url() } else { refusing.url() };
        let ledger = Receiver::new();
        let to = [
            To { name: "books", url: down, more: "timeout = \"1h\"\nconcurrency = 4" },
            To { name: "ledger", url: ledger.url(), more: "" },
        ];
        let gateway = setup(&to).start(&platform());
        let mut platform = Platform::of(&gateway);
        for turn in 0..CALLS {
            platform.call_back(&call(&format!("c-{turn}")));
        }
        ledger.until(|all| all.len() == CALLS);
        gateway.until(|gateway| attempts(gateway, "ledger", "delivered") == CALLS as u64);
        assert_eq!(attempts(&gateway, "books", "delivered"), 0);
        // As many as it may have at the same time, and not one more.
        assert!(hanging.count() <= 4, "{}", hanging.count());
    }
}

#[test]
fn a_receiver_that_is_down_is_probed_gently_and_gets_everything_when_it_is_back() {
    let receiver = Receiver::answering(|_| Reply::Cut);
    let gateway = setup(&books(receiver.url(), "retry = [\"1ms\"]\nconcurrency = 8")).start(&platform());
    let mut platform = Platform::of(&gateway);
    for turn in 0..CALLS {
        platform.call_back(&call(&format!("c-{turn}")));
    }
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("does not answer")));
    // Five in a row and those that were under way with them, then a probe at a time: far fewer than callbacks wait,
    // though each of them may come again after a millisecond.
    assert!(receiver.count() < 50, "{}", receiver.count());
    receiver.answer(|_| Reply::Status(200));
    let all = receiver.until(|all| all.len() >= CALLS);
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == CALLS as u64);
    let mut calls: Vec<_> = all.iter().chain(&receiver.deliveries()).map(call_of).collect();
    calls.sort();
    calls.dedup();
    assert_eq!(calls.len(), CALLS);
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("answers again")));
}

#[test]
fn no_more_deliveries_are_under_way_than_the_receiver_allows() {
    let receiver = Receiver::answering(|_| {
        std::thread::yield_now();
        Reply::Status(200)
    });
    let gateway = setup(&books(receiver.url(), "concurrency = 3")).start(&platform());
    let mut platform = Platform::of(&gateway);
    for turn in 0..200 {
        platform.call_back(&call(&format!("c-{turn}")));
    }
    receiver.until(|all| all.len() == 200);
    assert!(receiver.most_under_way() <= 3 && receiver.connections() <= 3);
}

#[test]
fn poison_neither_blocks_the_others_nor_comes_again_too_often() {
    const POISONED: usize = 10;
    let is_poison = |call: &str| call.ends_with("00");
    let receiver =
        Receiver::answering(move |delivery| Reply::Status(if is_poison(&call_of(delivery)) { 500 } else { 200 }));
    // The second wait is longer than the test.
    let gateway = setup(&books(receiver.url(), "retry = [\"1ms\", \"1h\"]\nconcurrency = 2")).start(&platform());
    let mut platform = Platform::of(&gateway);
    for turn in 0..1000 {
        platform.call_back(&call(&format!("c-{turn:03}")));
    }
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1000 - POISONED as u64);
    gateway.until(|gateway| attempts(gateway, "books", "refused") == 2 * POISONED as u64);
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 1000 + POISONED, "each poisoned one came twice, everything else once");
    assert!(deliveries.iter().all(|delivery| delivery.attempt() <= if is_poison(&call_of(delivery)) { 2 } else { 1 }));
}

#[test]
fn a_receiver_takes_what_it_asked_for_and_others_take_the_rest() {
    let (finished, all) = (Receiver::new(), Receiver::new());
    let to = [
        To {
            name: "books",
            url: finished.url(),
            more: "when = { pointer = \"/details/0/result\", equals = \"finished\" }",
        },
        To { name: "ledger", url: all.url(), more: "" },
    ];
    let gateway = setup(&to).start(&platform());
    let mut platform = Platform::of(&gateway);
    for turn in 0..20 {
        let body = call(&format!("c-{turn}"));
        platform.call_back(&if turn % 2 == 0 {
            body
        } else {
            body.replace("\"result\":\"finished\"", "\"result\":\"busy\"")
        });
    }
    gateway.until(|gateway| {
        attempts(gateway, "ledger", "delivered") == 20 && attempts(gateway, "books", "delivered") == 10
    });
    assert!(finished.deliveries().iter().all(|delivery| delivery.json()["details"][0]["result"] == "finished"));
    assert_eq!((finished.count(), all.count()), (10, 20));
}
