//! What goes by itself: delivered entries, by age and by size. What waits, is dead or in quarantine never does.
//! The store never grows beyond its bound.

use super::*;
use crate::inbox::recovery::used_bytes;
use crate::inbox::schema::PAGE;

const DAY_MS: u64 = 86_400_000;

async fn store_old(inbox: &Inbox, body: &str, days: u64) -> EntryId {
    store(inbox, NewCallback { received_ms: clock::wall_millis() - days * DAY_MS, ..callback(body) }).await
}

#[tokio::test]
async fn only_delivered_entries_go_by_age() {
    let folder = Folder::new("age");
    let inbox = folder.open();
    store_old(&inbox, "delivered", 20).await;
    settle_next(&inbox, "books", Settlement::Delivered).await;
    let dead = store_old(&inbox, "dead", 20).await;
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    let waiting = store_old(&inbox, "waiting", 20).await;
    let half = NewCallback { receivers: vec!["books".into(), "crm".into()], ..callback("half") };
    let half = store(&inbox, NewCallback { received_ms: clock::wall_millis() - 20 * DAY_MS, ..half }).await;
    settle_next(&inbox, "crm", Settlement::Delivered).await;
    inbox.quarantine("calls", Bytes::from_static(b"?"), "digest", 10).await.expect("kept");
    let young = store(&inbox, callback("young")).await;
    for _ in 0..3 {
        inbox.lease("books", 1).await.expect("leases");
    }
    drop(inbox);
    let inbox = folder.open();
    // The writer looks after what is old before it appends.
    store(&inbox, NewCallback { receivers: Vec::new(), ..callback("next") }).await;
    let mut left = listed(&inbox, Filter::default()).await.into_iter().map(|listed| listed.id);
    assert_eq!(left.by_ref().take(3).collect::<Vec<_>>(), [dead, waiting, half]);
    assert_eq!(left.count(), 3, "the quarantined one, {young} and the next");
    assert_eq!(inbox.0.shared.metrics.callbacks.purged.get(), 1);
}

#[tokio::test]
async fn delivered_entries_make_room_and_waiting_ones_never_do() {
    let mut folder = Folder::new("size");
    folder.rules.max_bytes = 2 << 20;
    let inbox = folder.open();
    let text = "x".repeat(14_000);
    let waiting = store(&inbox, NewCallback { receivers: vec!["crm".into()], ..callback("waiting") }).await;
    let used = || inbox.0.shared.metrics.callbacks.inbox_bytes.get();
    for number in 0..300 {
        let stored = inbox.append(callback(&format!("{number} {text}"))).await;
        assert!(matches!(stored, Ok(Appended::Stored(_))), "{number}: {stored:?}");
        settle_next(&inbox, "books", Settlement::Delivered).await;
    }
    // The purge itself writes before it gives something back.
    assert!(used() <= (2 << 20) + 4 * i64::from(PAGE), "{}", used());
    assert!(inbox.0.shared.metrics.callbacks.purged.get() > 100);
    assert_eq!(listed(&inbox, Filter::default()).await[0].id, waiting);

    let mut stored = 0;
    let refused = loop {
        match inbox.append(callback(&format!("waits {stored} {text}"))).await {
            Ok(_) => stored += 1,
            Err(why) => break why,
        }
        assert!(stored < 300, "two megabytes do not hold three");
    };
    assert_eq!((refused, inbox.check()), (Unavailable::Full, Err(Unavailable::Full)));
    let advice = inbox.advice().expect("it is full");
    assert!(advice.contains("inbox.max_bytes"), "{advice}");
    let left = Filter { state: Some(State::Waiting), receiver: Some("books".to_owned()), ..Filter::default() };
    assert_eq!(listed(&inbox, left).await.len(), stored, "nothing that waits was purged");
    for _ in 0..10 {
        settle_next(&inbox, "books", Settlement::Delivered).await;
    }
    while inbox.append(callback("at last")).await.is_err() {}
}

#[tokio::test]
async fn what_waits_never_takes_more_than_the_bound_whatever_its_size() {
    const MAX: u64 = 4 << 20;
    for (bytes, receivers) in [(500, 1), (1_000, 20), (4_200, 1), (14_000, 1), (100_000, 3)] {
        let mut folder = Folder::new("bound");
        folder.rules.max_bytes = MAX;
        let inbox = folder.open();
        let text = "x".repeat(bytes);
        let receivers: Vec<Arc<str>> = (0..receivers).map(|number| format!("receiver-{number}").into()).collect();
        for round in 0.. {
            let mut appends = tokio::task::JoinSet::new();
            for number in 0..100 {
                let call = format!("{round:032x}-{number}");
                let ids =
                    Ids { natural: true, order: Some(call.clone()), calls: vec![call], tasks: vec!["task".into()] };
                let body = callback(&format!("{round} {number} {text}"));
                let (inbox, one) = (inbox.clone(), NewCallback { receivers: receivers.clone(), ids, ..body });
                appends.spawn(async move { inbox.append(one).await });
            }
            if appends.join_all().await.contains(&Err(Unavailable::Full)) {
                break;
            }
        }
        inbox.close();
        drop(inbox);
        let database = rusqlite::Connection::open(&folder.rules.path).expect("a database");
        let used = used_bytes(&database).expect("counted");
        assert!((MAX / 2..=MAX).contains(&used), "{bytes} bytes, {} receivers: {used}", receivers.len());
    }
}

#[tokio::test]
async fn a_source_keeps_its_newest_unopened_bodies() {
    let folder = Folder::new("quarantine");
    let inbox = folder.open();
    for number in 0..5 {
        inbox.quarantine("calls", Bytes::from(format!("unopened {number}")), "digest", 3).await.expect("kept");
        inbox.quarantine("agents", Bytes::from_static(b"other"), "not_json", 1).await.expect("kept");
    }
    let of =
        |source: &str| Filter { source: Some(source.to_owned()), state: Some(State::Quarantined), ..Filter::default() };
    let kept = listed(&inbox, of("calls")).await;
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[0].reason.as_deref(), Some("digest"));
    assert_eq!(inbox.show(kept[0].id).await.expect("shown").expect("there").body.as_deref(), Some(&b"unopened 2"[..]));
    assert_eq!(listed(&inbox, of("agents")).await.len(), 1);
    assert!(bodies(&inbox, "books").await.is_empty(), "nobody gets them");
}

#[tokio::test]
async fn a_purge_for_one_receiver_leaves_what_the_others_wait_for() {
    let folder = Folder::new("purge-one");
    let inbox = folder.open();
    let both = |body: &str| NewCallback { receivers: vec!["books".into(), "crm".into()], ..callback(body) };
    let one = store(&inbox, both("one")).await;
    let two = store(&inbox, both("two")).await;
    let alone = store(&inbox, callback("alone")).await;
    let of = |receiver: &str, state| Filter { receiver: Some(receiver.to_owned()), state, ..Filter::default() };
    let purge = async |filter, dry_run| inbox.purge(filter, None, 10, dry_run).await.expect("purged").matched;
    assert_eq!(purge(of("books", None), false).await, 0, "what waits stays");
    let three =
        store(&inbox, NewCallback { receivers: vec!["former".into(), "books".into()], ..callback("three") }).await;
    settle_next(&inbox, "former", Settlement::Delivered).await;
    assert_eq!(purge(of("books", None), true).await, 0);
    for dry_run in [true, false] {
        assert_eq!(purge(of("former", None), dry_run).await, 1, "whoever else waits for it");
    }
    let waiting = Filter { id: Some(three), state: Some(State::Waiting), ..Filter::default() };
    assert_eq!(purge(waiting, false).await, 1);
    settle_next(&inbox, "books", Settlement::Bury { reason: "gone" }).await;
    settle_next(&inbox, "crm", Settlement::Delivered).await;
    assert_eq!(purge(of("books", Some(State::Quarantined)), false).await, 0);
    for dry_run in [true, false] {
        assert_eq!(purge(of("books", Some(State::Waiting)), dry_run).await, 2, "of two and of the one alone");
    }
    let left = listed(&inbox, Filter::default()).await;
    let left: Vec<_> = left.iter().map(|listed| (listed.id, listed.state, listed.deliveries.len())).collect();
    assert_eq!(left, [(one, State::Dead, 2), (two, State::Waiting, 1)], "{alone} has nobody left");
    assert_eq!(purge(of("books", Some(State::Dead)), false).await, 1);
    assert_eq!(bodies(&inbox, "crm").await, ["two"]);
    settle_next(&inbox, "crm", Settlement::Delivered).await;
    assert_eq!(purge(of("crm", None), false).await, 2);
    assert!(listed(&inbox, Filter::default()).await.is_empty());
}

#[tokio::test]
async fn what_a_purge_leaves_delivered_goes_by_age_like_the_rest() {
    let folder = Folder::new("purge-rest");
    let inbox = folder.open();
    let both = NewCallback { receivers: vec!["books".into(), "crm".into()], ..callback("both") };
    store(&inbox, NewCallback { received_ms: clock::wall_millis() - 20 * DAY_MS, ..both }).await;
    settle_next(&inbox, "crm", Settlement::Delivered).await;
    let waiting = Filter { receiver: Some("books".to_owned()), state: Some(State::Waiting), ..Filter::default() };
    assert_eq!(inbox.purge(waiting, None, 10, false).await.map(|batch| batch.matched), Ok(1));
    let young = store(&inbox, callback("young")).await;
    drop(inbox);
    let inbox = folder.open();
    // The writer looks after what is old before it appends.
    let next = store(&inbox, NewCallback { receivers: Vec::new(), ..callback("next") }).await;
    let left: Vec<_> = listed(&inbox, Filter::default()).await.iter().map(|listed| listed.id).collect();
    assert_eq!(left, [young, next]);
}

#[tokio::test]
async fn a_time_in_which_no_gateway_ran_makes_nothing_older() {
    let folder = Folder::new("purge-pause");
    let inbox = folder.open();
    let delivered = store_old(&inbox, "delivered", 20).await;
    settle_next(&inbox, "books", Settlement::Delivered).await;
    let waiting = store_old(&inbox, "waiting", 19).await;
    drop(inbox);
    let inbox = folder.open();
    let next = store(&inbox, NewCallback { receivers: Vec::new(), ..callback("next") }).await;
    let left: Vec<_> = listed(&inbox, Filter::default()).await.iter().map(|listed| listed.id).collect();
    assert_eq!(left, [delivered, waiting, next], "nobody knows whether it was so long");
    let leased = inbox.lease("books", 1).await.expect("leases").pop().expect("it is due");
    assert!(inbox.age(&leased, Duration::from_secs(14 * 86_400)) < Duration::from_secs(60), "nor is it over");
}
