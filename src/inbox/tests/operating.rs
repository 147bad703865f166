//! What operators see and do: lists by every filter, redriving at a pace and in order, purging by hand.
//! And what the series show.

use super::*;

#[tokio::test]
async fn a_list_holds_what_fits_all_of_its_filter_page_by_page() {
    let folder = Folder::new("list");
    let inbox = folder.open();
    let ids = |call: &str| Ids { calls: vec![call.to_owned()], ..Ids::default() };
    let one = store(&inbox, NewCallback { ids: ids("c1"), received_ms: 1000, ..callback("one") }).await;
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    let other = NewCallback { source: "agents".into(), kind: Kind::PredictAgent, received_ms: 2000, ..callback("two") };
    let two = store(&inbox, NewCallback { receivers: vec!["books".into(), "crm".into()], ..other }).await;
    settle_next(&inbox, "crm", Settlement::Delivered).await;
    let three = store(&inbox, NewCallback { ids: ids("c1"), received_ms: 3000, ..callback("three") }).await;
    let all = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (all(), vec![one, two, three]),
        (Filter { source: text("calls"), ..all() }, vec![one, three]),
        (Filter { source: text("nobody"), ..all() }, vec![]),
        (Filter { receiver: text("crm"), ..all() }, vec![two]),
        (Filter { kind: Some(Kind::Call), ..all() }, vec![one, three]),
        (Filter { state: Some(State::Waiting), ..all() }, vec![two, three]),
        (Filter { state: Some(State::Dead), ..all() }, vec![one]),
        (Filter { state: Some(State::Delivered), ..all() }, vec![two]),
        (Filter { state: Some(State::Delivered), receiver: text("books"), ..all() }, vec![]),
        (Filter { call: text("c1"), ..all() }, vec![one, three]),
        (Filter { call: text("c1"), state: Some(State::Dead), ..all() }, vec![one]),
        (Filter { since_ms: Some(2000), ..all() }, vec![two, three]),
        (Filter { since_ms: Some(1000), until_ms: Some(2000), ..all() }, vec![one]),
        (Filter { id: Some(two), ..all() }, vec![two]),
    ] {
        let found: Vec<_> = listed(&inbox, filter).await.into_iter().map(|listed| listed.id).collect();
        assert_eq!(found, expected);
    }
    let page = inbox.list(all(), Some(one), 1).await.expect("a list");
    assert_eq!(page.len(), 1);
    let Listed { id, source, kind, received_ms, bytes, deliveries, .. } = &page[0];
    assert_eq!((*id, &**source, *kind, *received_ms, *bytes), (two, "agents", Kind::PredictAgent, 2000, 3));
    let shown: Vec<_> =
        deliveries.iter().map(|delivery| (&*delivery.receiver, delivery.state, delivery.attempts)).collect();
    assert_eq!(shown, [("books", State::Waiting, 0), ("crm", State::Delivered, 1)]);
    assert_eq!(inbox.show(two).await.expect("shown").expect("there").body.as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn dead_letters_go_again_at_a_pace_and_in_order() {
    let folder = Folder::new("redrive");
    let inbox = folder.open();
    for (body, order) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")] {
        let ids = Ids { order: Some(order.to_owned()), ..Ids::default() };
        store(&inbox, NewCallback { ids, ..callback(body) }).await;
    }
    for _ in 0..4 {
        settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    }
    let pace = Pace { per_second: 1 };
    let dry = inbox.redrive(Filter::default(), None, 100, pace, true).await.expect("counted");
    assert_eq!((dry.matched, dry.next), (4, None));
    assert!(bodies(&inbox, "books").await.is_empty(), "a dry run changes nothing");
    let first = inbox.redrive(Filter::default(), None, 3, pace, false).await.expect("redriven");
    assert_eq!(first.matched, 3);
    let second = inbox.redrive(Filter::default(), first.next, 3, pace, false).await.expect("redriven");
    assert_eq!((second.matched, second.next), (1, None));
    let due = |body: &Listed| body.deliveries[0].due_ms;
    let waiting = listed(&inbox, Filter { state: Some(State::Waiting), ..Filter::default() }).await;
    let [a1, a2, b1, c1] = &waiting[..] else { panic!("four wait") };
    assert_eq!(due(a2), None, "it waits for the one before it");
    let gap = |one: &Listed, other: &Listed| due(other).expect("due") - due(one).expect("due");
    assert_eq!((gap(a1, b1), gap(b1, c1)), (2000, 1000), "one each second, also from one step to the next");
    let leased = inbox.lease("books", 10).await.expect("leases").pop().expect("the first is due");
    assert_eq!((leased.id, leased.attempt, leased.redriven), (a1.id, 1, true));
}

#[tokio::test]
async fn nothing_that_waits_is_purged_by_hand() {
    let folder = Folder::new("purge");
    let inbox = folder.open();
    for body in ["dead", "waiting"] {
        store(&inbox, callback(body)).await;
    }
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    inbox.quarantine("calls", Bytes::from_static(b"?"), "digest", 10).await.expect("kept");
    assert_eq!(inbox.purge(Filter::default(), None, 10, true).await.map(|batch| batch.matched), Ok(2));
    assert_eq!(listed(&inbox, Filter::default()).await.len(), 3);
    assert_eq!(inbox.purge(Filter::default(), None, 10, false).await.map(|batch| batch.matched), Ok(2));
    assert_eq!(bodies(&inbox, "books").await, ["waiting"]);
}

#[tokio::test]
async fn the_series_show_what_waits_and_since_when() {
    let folder = Folder::new("series");
    let inbox = folder.open();
    let minute = |body: &str| NewCallback { received_ms: clock::wall_millis() - 60_000, ..callback(body) };
    for body in ["one", "two", "three"] {
        store(&inbox, minute(body)).await;
    }
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    inbox.quarantine("calls", Bytes::from_static(b"?"), "digest", 10).await.expect("kept");
    drop(inbox);
    let inbox = folder.open();
    // The writer looks before it appends.
    store(&inbox, NewCallback { receivers: Vec::new(), ..callback("next") }).await;
    let callbacks = &inbox.0.shared.metrics.callbacks;
    let entries = |receiver: &str, state: &str| callbacks.entries.with_label_values(&[receiver, state]).get();
    assert_eq!((entries("books", "waiting"), entries("books", "dead"), entries("crm", "waiting")), (2, 1, 0));
    let oldest = callbacks.oldest_seconds.with_label_values(&["books", "waiting"]).get();
    assert!((60..120).contains(&oldest), "{oldest}");
    assert_eq!(callbacks.quarantined.with_label_values(&["calls"]).get(), 1);
    assert!(callbacks.inbox_bytes.get() > 0 && callbacks.inbox_max_bytes.get() == 1 << 30);
    assert_eq!(callbacks.inbox_up.get(), 1);
    inbox.close();
    assert_eq!(callbacks.inbox_up.get(), 0);
}

#[tokio::test]
async fn what_waits_for_a_receiver_that_is_gone_is_told_at_the_start() {
    let folder = Folder::new("unclaimed");
    let inbox = folder.open();
    for (body, receiver) in [("one", "books"), ("two", "crm"), ("three", "crm"), ("four", "former")] {
        store(&inbox, NewCallback { receivers: vec![receiver.into()], ..callback(body) }).await;
    }
    settle_next(&inbox, "former", Settlement::Delivered).await;
    drop(inbox);
    let connection = schema::open(&folder.rules.path).expect("a database");
    let mut store = recovery::take_over(connection).expect("taken over");
    let mut unclaimed = |receivers: &[&str]| {
        let receivers: Vec<_> = receivers.iter().map(|receiver| (*receiver).to_owned()).collect();
        opening::unclaimed(&mut store, &receivers).expect("read")
    };
    assert_eq!(unclaimed(&["books"]), [("crm".into(), 2)]);
    assert!(unclaimed(&["books", "crm"]).is_empty(), "nothing waits for the former one");
}

#[tokio::test]
async fn without_a_state_only_the_dead_go_again_and_what_waits_when_it_is_asked_for() {
    let folder = Folder::new("redrive-state");
    let inbox = folder.open();
    for (body, settlement) in [
        ("delivered", Settlement::Delivered),
        ("waiting", Settlement::Retry { wait: Duration::from_secs(3600), outcome: "refused" }),
        ("dead", Settlement::Bury { reason: "gone" }),
    ] {
        store(&inbox, callback(body)).await;
        settle_next(&inbox, "books", settlement).await;
    }
    let pace = Pace { per_second: 1000 };
    let waiting = Filter { state: Some(State::Waiting), ..Filter::default() };
    for (filter, expected) in [(Filter::default(), vec!["dead"]), (waiting, vec!["waiting"])] {
        let redriven = inbox.redrive(filter, None, 100, pace, false).await.expect("redriven");
        assert_eq!(redriven.matched, 1);
        // The second one's turn may be a millisecond after the first one's.
        inbox.due("books").await;
        assert_eq!(bodies(&inbox, "books").await, expected);
        settle_next(&inbox, "books", Settlement::Delivered).await;
    }
}

#[tokio::test]
async fn a_redrive_for_one_receiver_sends_nothing_to_the_others() {
    let folder = Folder::new("redrive-one");
    let inbox = folder.open();
    store(&inbox, NewCallback { receivers: vec!["books".into(), "crm".into()], ..callback("both") }).await;
    for receiver in ["books", "crm"] {
        settle_next(&inbox, receiver, Settlement::Bury { reason: "gone" }).await;
    }
    let only = Filter { receiver: Some("crm".to_owned()), ..Filter::default() };
    let redriven = inbox.redrive(only, None, 10, Pace { per_second: 1000 }, false).await.expect("redriven");
    assert_eq!((redriven.matched, bodies(&inbox, "crm").await), (1, vec!["both".to_owned()]));
    assert!(bodies(&inbox, "books").await.is_empty());
}

#[tokio::test]
async fn a_step_of_a_redrive_is_not_used_up_by_what_is_not_dead() {
    let folder = Folder::new("redrive-steps");
    let inbox = folder.open();
    for body in ["one", "two", "three"] {
        store(&inbox, callback(body)).await;
    }
    settle_next(&inbox, "books", Settlement::Delivered).await;
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    let pace = Pace { per_second: 1000 };
    let step = inbox.redrive(Filter::default(), None, 1, pace, true).await.expect("counted");
    assert_eq!(step.matched, 1);
    let rest = inbox.redrive(Filter::default(), step.next, 1, pace, true).await.expect("counted");
    assert_eq!(rest, Batch { matched: 0, next: None });
}

#[tokio::test]
async fn a_purge_in_steps_says_where_the_next_one_begins() {
    let folder = Folder::new("purge-steps");
    let inbox = folder.open();
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.push(store(&inbox, callback(body)).await);
        settle_next(&inbox, "books", Settlement::Delivered).await;
    }
    let first = inbox.purge(Filter::default(), None, 2, true).await;
    assert_eq!(first, Ok(Batch { matched: 2, next: Some(ids[1]) }));
    let rest = inbox.purge(Filter::default(), Some(ids[1]), 2, true).await;
    assert_eq!(rest, Ok(Batch { matched: 1, next: None }));
}

#[tokio::test]
async fn receivers_of_another_configuration_have_their_series_and_keep_what_waits() {
    let folder = Folder::new("reconfigured");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    inbox.reconfigure(vec!["crm".to_owned(), "new".to_owned()]);
    assert_eq!(inbox.0.shared.desk.configured(), ["crm", "new"]);
    let text = String::from_utf8(inbox.0.shared.metrics.encode()).expect("text");
    assert!(text.contains("receiver=\"new\""), "from the start, so that an alert can rely on it");
    assert_eq!(bodies(&inbox, "books").await, ["one"], "it is there when its receiver is put back");
}

#[test]
fn why_nothing_is_taken_is_said_in_a_sentence_of_its_own() {
    let all = [Unavailable::Full, Unavailable::Busy, Unavailable::Failed, Unavailable::Closed, Unavailable::Elsewhere];
    let said: std::collections::HashSet<_> = all.iter().map(ToString::to_string).collect();
    assert!(said.len() == all.len() && said.iter().all(|sentence| sentence.len() > 20), "{said:?}");
    assert_eq!(all.map(Unavailable::word), ["full", "busy", "failed", "closed", "elsewhere"], "scripts rely on them");
}

#[tokio::test]
async fn what_is_printed_of_a_delivery_names_it_and_holds_nothing_of_its_body() {
    let folder = Folder::new("printed");
    let inbox = folder.open();
    let id = store(&inbox, callback("payload-0c55")).await;
    let leased = inbox.lease("books", 1).await.expect("leases").pop().expect("one");
    let printed = format!("{leased:?}");
    assert!(printed.contains(&id.to_string()) && !printed.contains("payload-0c55"), "{printed}");
}

#[tokio::test]
async fn a_call_that_is_noted_is_not_counted_as_dropped() {
    let folder = Folder::new("noted");
    let inbox = folder.open();
    let count = |outcome| inbox.0.shared.metrics.callbacks.ledger.with_label_values(&[outcome]).get();
    inbox.note(&noted(1, &Named::default()));
    inbox.close();
    assert_eq!((count("written"), count("dropped"), inbox.unlisted()), (1, 0, 0));
    drop(inbox);
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::succeed(&folder.rules, &[], metrics).expect("an inbox");
    inbox.note(&noted(2, &Named::default()));
    assert_eq!(inbox.unlisted(), 1, "the process before has the disk");
}
