//! What is stored is delivered: in order, by one at a time, until it is settled.
//! Repeats of the platform are told from new events.

use super::*;
use crate::trace::TraceParent;

#[tokio::test]
async fn a_callback_is_leased_with_everything_that_was_stored() {
    let folder = Folder::new("whole");
    let inbox = folder.open();
    let id = store(&inbox, NewCallback { received_ms: 77, ..callback("a body") }).await;
    let leased = inbox.lease("books", 10).await.expect("leases").pop().expect("one");
    let Leased { id: of, receiver, source, kind, attempt, received_ms, redriven, body, .. } = &leased;
    assert_eq!((of, &**receiver, &**source, *kind, *attempt), (&id, "books", "calls", Kind::Call, 1));
    assert_eq!((*received_ms, *redriven, &body[..]), (77, false, &b"a body"[..]));
    assert!(bodies(&inbox, "books").await.is_empty(), "it is leased to one only");
    assert!(bodies(&inbox, "crm").await.is_empty(), "it is for books");
    drop(leased);
    assert_eq!(inbox.lease("books", 10).await.expect("leases")[0].attempt, 1, "given back without an attempt");
}

#[tokio::test]
async fn a_settled_delivery_is_not_leased_again() {
    let folder = Folder::new("settled");
    let inbox = folder.open();
    for body in ["one", "two", "three"] {
        store(&inbox, callback(body)).await;
    }
    let mut leased = inbox.lease("books", 10).await.expect("leases").into_iter();
    inbox.settle(&leased.next().expect("one"), Settlement::Delivered).await.expect("settled");
    let retry = Settlement::Retry { wait: Duration::ZERO, outcome: "refused" };
    inbox.settle(&leased.next().expect("two"), retry).await.expect("settled");
    inbox.settle(&leased.next().expect("three"), Settlement::Bury { reason: "gone" }).await.expect("settled");
    let again = inbox.lease("books", 10).await.expect("leases");
    assert_eq!(again.iter().map(|leased| (&leased.body[..], leased.attempt)).collect::<Vec<_>>(), [(&b"two"[..], 2)]);
    let states: Vec<_> = listed(&inbox, Filter::default()).await.into_iter().map(|listed| listed.state).collect();
    assert_eq!(states, [State::Delivered, State::Waiting, State::Dead]);
}

#[tokio::test]
async fn a_lease_stays_with_whoever_has_it_until_he_lets_go_of_it() {
    let folder = Folder::new("kept");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let one = inbox.lease("books", 1).await.expect("leases").pop().expect("one");
    inbox.settle(&one, Settlement::Retry { wait: Duration::ZERO, outcome: "refused" }).await.expect("settled");
    assert!(bodies(&inbox, "books").await.is_empty(), "it is due, and still held");
    drop(one);
    inbox.due("books").await;
    let one = inbox.lease("books", 1).await.expect("leases").pop().expect("one");
    // A settlement that is refused leaves the lease as it was.
    inbox.close();
    assert_eq!(inbox.settle(&one, Settlement::Delivered).await, Err(Unavailable::Closed));
    let counter = inbox.0.shared.desk.counter("books");
    assert!(counter.holds(one.id));
    let id = one.id;
    drop(one);
    assert!(!counter.holds(id));
}

#[tokio::test]
async fn what_was_not_settled_is_due_again_after_a_restart() {
    let folder = Folder::new("restart");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let leased = inbox.lease("books", 10).await.expect("leases");
    assert_eq!(leased.len(), 1);
    inbox.close();
    drop(inbox);
    assert_eq!(bodies(&folder.open(), "books").await, ["one"]);
}

#[tokio::test]
async fn due_ends_when_a_callback_arrives() {
    let folder = Folder::new("due");
    let inbox = folder.open();
    assert!(bodies(&inbox, "books").await.is_empty());
    let waiting = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.due("books").await }
    });
    store(&inbox, callback("one")).await;
    waiting.await.expect("it ends");
    assert_eq!(bodies(&inbox, "books").await, ["one"]);
}

#[tokio::test]
async fn an_identical_callback_with_a_natural_id_is_dropped_and_one_without_is_marked() {
    let folder = Folder::new("repeats");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    assert_eq!(inbox.append(callback("one")).await, Ok(Appended::Duplicate));
    store(&inbox, NewCallback { source: "agents".into(), ..callback("one") }).await;
    let state = |body: &str| NewCallback { ids: Ids::default(), ..callback(body) };
    for body in ["READY", "TALKING", "READY"] {
        store(&inbox, state(body)).await;
    }
    let marked: Vec<_> = listed(&inbox, Filter::default()).await.into_iter().map(|listed| listed.repeat).collect();
    assert_eq!(marked, [false, false, false, false, true]);
}

#[tokio::test]
async fn deliveries_of_one_order_key_go_one_after_the_other() {
    let folder = Folder::new("order");
    let inbox = folder.open();
    let of = |order: &str, body: &str| NewCallback {
        receivers: vec!["books".into(), "crm".into()],
        ids: Ids { order: Some(order.to_owned()), ..Ids::default() },
        ..callback(body)
    };
    for (order, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        store(&inbox, of(order, body)).await;
    }
    let mut first = inbox.lease("books", 10).await.expect("leases");
    assert_eq!(first.iter().map(|leased| &leased.body[..]).collect::<Vec<_>>(), [b"a1", b"b1"]);
    let retry = Settlement::Retry { wait: Duration::from_secs(60), outcome: "refused" };
    let (b1, a1) = (first.pop().expect("b1"), first.pop().expect("a1"));
    inbox.settle(&b1, retry).await.expect("settled");
    inbox.settle(&a1, Settlement::Delivered).await.expect("settled");
    let mut second = inbox.lease("books", 10).await.expect("leases");
    assert_eq!(second.iter().map(|leased| &leased.body[..]).collect::<Vec<_>>(), [b"a2"], "b waits for its own only");
    inbox.settle(&second.remove(0), Settlement::Bury { reason: "gone" }).await.expect("settled");
    assert_eq!(bodies(&inbox, "books").await, ["a3"]);
    assert_eq!(bodies(&inbox, "crm").await, ["a1", "b1"], "another receiver goes at its own speed");
}

#[tokio::test]
async fn what_waits_is_purged_only_when_that_is_said_and_then_holds_up_nobody() {
    let folder = Folder::new("purge-waiting");
    let inbox = folder.open();
    let of = |body: &str| NewCallback { ids: Ids { order: Some("a".to_owned()), ..Ids::default() }, ..callback(body) };
    let first = store(&inbox, of("a1")).await;
    store(&inbox, of("a2")).await;
    let leased = inbox.lease("books", 10).await.expect("leases").pop().expect("a1");
    for filter in [Filter::default(), Filter { id: Some(first), ..Filter::default() }] {
        assert_eq!(inbox.purge(filter, None, 10, false).await, Ok(Batch { matched: 0, next: None }));
    }
    let waiting = Filter { id: Some(first), state: Some(State::Waiting), ..Filter::default() };
    let one = Ok(Batch { matched: 1, next: None });
    assert_eq!(inbox.purge(waiting.clone(), None, 10, true).await, one);
    assert_eq!(listed(&inbox, Filter::default()).await.len(), 2, "that was dry");
    assert_eq!(inbox.purge(waiting, None, 10, false).await, one);
    assert_eq!(inbox.settle(&leased, Settlement::Delivered).await, Ok(()), "of nothing");
    drop(leased);
    assert_eq!(bodies(&inbox, "books").await, ["a2"]);
}

#[tokio::test]
async fn the_bytes_of_what_is_leased_to_a_receiver_are_bounded() {
    let folder = Folder::new("bytes");
    let inbox = folder.open();
    let large = "x".repeat(12 << 20);
    for number in 0..4 {
        store(&inbox, callback(&format!("{number}{large}"))).await;
    }
    let huge = "y".repeat(33 << 20);
    store(&inbox, callback(&huge)).await;
    let mut held = inbox.lease("books", 10).await.expect("leases");
    assert_eq!(held.len(), 2, "three would be 36 MiB");
    assert!(inbox.lease("books", 10).await.expect("leases").is_empty());
    let given_back = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.due("books").await }
    });
    let first = held.remove(0);
    inbox.settle(&first, Settlement::Delivered).await.expect("settled");
    drop(first);
    given_back.await.expect("room is told of");
    held.extend(inbox.lease("books", 10).await.expect("leases"));
    assert_eq!(held.iter().map(|leased| leased.body[0]).collect::<Vec<_>>(), *b"12");
    for _ in 0..3 {
        for leased in held.drain(..) {
            inbox.settle(&leased, Settlement::Delivered).await.expect("settled");
        }
        inbox.due("books").await;
        held = inbox.lease("books", 10).await.expect("leases");
        if held.iter().any(|leased| leased.body.len() == huge.len()) {
            break;
        }
    }
    assert_eq!(held.len(), 1, "one that is larger than the bound goes alone");
}

#[tokio::test]
async fn what_others_hold_is_in_nobodys_way() {
    let folder = Folder::new("held");
    let inbox = folder.open();
    for number in 0..8 {
        store(&inbox, callback(&number.to_string())).await;
    }
    let held = inbox.lease("books", 6).await.expect("leases");
    assert_eq!((held.len(), bodies(&inbox, "books").await), (6, vec!["6".to_owned(), "7".to_owned()]));
    let few = inbox.lease("books", 1).await.expect("leases");
    assert_eq!(&few[0].body[..], b"6");
    // One more is due, which is found without anybody who says so.
    inbox.due("books").await;
    assert_eq!(bodies(&inbox, "books").await, ["7"]);
}

#[tokio::test]
async fn a_repeat_is_told_from_a_new_callback_after_a_restart_too() {
    let folder = Folder::new("repeat-restart");
    let inbox = folder.open();
    for body in ["one", "two"] {
        store(&inbox, callback(body)).await;
    }
    drop(inbox);
    let inbox = folder.open();
    for body in ["one", "two"] {
        assert_eq!(inbox.append(callback(body)).await, Ok(Appended::Duplicate), "{body}");
    }
    store(&inbox, callback("three")).await;
}

#[tokio::test]
async fn a_callback_joins_the_trace_of_the_call_that_it_comes_of() {
    let folder = Folder::new("parent");
    let inbox = folder.open();
    let parent = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let named = Named { tasks: vec!["task-1".to_owned()], ..Named::default() };
    inbox.note(&Call { parent, ..noted(1, &named) });
    for task in ["task-1", "task-2"] {
        let ids = Ids { tasks: vec![task.to_owned()], ..Ids::default() };
        store(&inbox, NewCallback { ids, ..callback(task) }).await;
    }
    let leased = inbox.lease("books", 10).await.expect("leases");
    let parents: Vec<_> = leased.iter().map(|leased| leased.parent).collect();
    assert!(parent.is_some() && parents == [parent, None]);
}

#[tokio::test]
async fn a_callback_is_as_old_as_the_time_since_it_was_taken() {
    const HOUR: Duration = Duration::from_secs(3600);
    let folder = Folder::new("age-of-one");
    let inbox = folder.open();
    store(&inbox, NewCallback { received_ms: clock::wall_millis() - 3_600_000, ..callback("old") }).await;
    store(&inbox, callback("new")).await;
    let leased = inbox.lease("books", 2).await.expect("leases");
    let hours: Vec<_> = leased.iter().map(|leased| inbox.age(leased, 24 * HOUR).as_secs() / HOUR.as_secs()).collect();
    assert_eq!(hours, [1, 0]);
}
