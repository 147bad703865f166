//! Nothing is lost between the acknowledgement and the receivers: every acknowledged callback is delivered, dead or waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use airudder_gateway::inbox::{Filter, Listed, State};

use super::{Platform, To, call, call_of, setup, with_inbox};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Folder, Random, Setup, platform};

/// How many callbacks, in all; more by the variable, for a machine with time.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn callbacks() -> usize {
    std::env::var("CONSERVATION_CALLBACKS").map_or(20_000, |count| count.parse().expect("a number"))
}

/// Connections of the platform.
const CONNECTIONS: usize = 8;

#[test]
fn every_acknowledged_callback_is_delivered_or_dead_or_waiting() {
    let (folder, platform) = (Folder::new(), platform());
    let books = Receiver::answering(faulty(Random::new()));
    let ledger = Receiver::new();
    let to = [
        To { name: "books", url: books.url(), more: "retry = [\"10ms\", \"1h\"]\ntimeout = \"300ms\"\nbury = [422]" },
        To { name: "ledger", url: ledger.url(), more: "" },
    ];
    let base = setup(&to);
    let setup = Setup { folder: Some(folder.clone()), ..base };
    let mut gateway = setup.start(&platform);
    let each = callbacks() / CONNECTIONS;
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut calls = Platform::of(&gateway);
            scope.spawn(move || {
                for turn in 0..each {
                    let body = call(&format!("c-{connection}-{turn}"));
                    if turn % 2 == 0 {
                        calls.call_back(&body)
                    } else {
                        calls.call_back_sealed(&body)
                    };
                }
            });
        }
    });
    let acknowledged: BTreeSet<String> =
        (0..CONNECTIONS).flat_map(|connection| (0..each).map(move |turn| format!("c-{connection}-{turn}"))).collect();
    ledger.until_within(Duration::from_secs(600), |all| all.len() >= acknowledged.len());
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());

    // What each receiver took, by the call and by the id it came under.
    let taken = |receiver: &Receiver| -> BTreeMap<String, BTreeSet<String>> {
        let mut taken: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for delivery in receiver.deliveries() {
            taken.entry(call_of(&delivery)).or_default().insert(delivery.id().to_owned());
        }
        taken
    };
    let (by_books, by_ledger) = (taken(&books), taken(&ledger));
    assert!(by_ledger.keys().eq(&acknowledged), "each of them arrived, and nothing else");
    assert_eq!(ledger.count(), acknowledged.len(), "and each once, because nothing crashed");
    assert!(by_books.values().chain(by_ledger.values()).all(|ids| ids.len() == 1), "under one id each");

    // The inbox is asked for every single one.
    let listed = everything_in(&folder);
    assert_eq!(listed.len(), acknowledged.len(), "one entry for each, and nothing else");
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &acknowledged {
        let id = by_ledger[call].first().expect("an id");
        let entry = listed.get(id).unwrap_or_else(|| panic!("{call} was acknowledged and is not in the inbox"));
        assert_eq!(entry.deliveries.len(), 2, "{call}");
        for delivery in &entry.deliveries {
            let took = if delivery.receiver == "books" { &by_books } else { &by_ledger };
            let came = took.get(call).is_some_and(|ids| ids.contains(id));
            assert!(came || delivery.state == State::Waiting, "{call} never came and is {:?}", delivery.state);
            *states.entry(delivery.state.as_str()).or_default() += 1;
        }
    }
    println!("{} callbacks to two receivers: {states:?}", acknowledged.len());
    assert_eq!(states.values().sum::<usize>(), 2 * acknowledged.len());
    assert!(states.keys().eq(&["dead", "delivered", "waiting"]), "and nothing else: {states:?}");
}

/// The inbox of a gateway that has ended, by id.
fn everything_in(folder: &Folder) -> BTreeMap<String, Listed> {
    with_inbox(folder, async |inbox| {
        let (mut all, mut after) = (BTreeMap::new(), None);
        loop {
            let page = inbox.list(Filter::default(), after, 1000).await.expect("it is readable");
            let Some(last) = page.last() else { return all };
            after = Some(last.id);
            all.extend(page.into_iter().map(|listed| (listed.id.to_string(), listed)));
        }
    })
}

/// Answers that fail in every way, about one in ten.
fn faulty(random: Random) -> impl Fn(&crate::support::receiver::Delivery) -> Reply + Send + Sync {
    let random = Mutex::new(random);
    move |_| match random.lock().expect("no panic inside").below(200) {
        0..10 => Reply::Status(500),
        10 => Reply::Status(410),
        11 => Reply::Status(422),
        12..14 => Reply::Cut,
        14 => Reply::Stalls,
        15 => Reply::With(307, "Location: /elsewhere\r\n".into()),
        16 => Reply::With(429, "Retry-After: 3600\r\n".into()),
        17 => Reply::Hang,
        _ => Reply::Status(200),
    }
}
