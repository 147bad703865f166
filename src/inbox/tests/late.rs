//! An inbox that cannot be opened at the start: it takes nothing, says why, and opens as soon as it can.
//! It never makes anything beside what stands there.

use std::fs;

use super::*;

/// An inbox that is tried again, and what an operator is told.
fn waiting(folder: &Folder) -> (Inbox, String) {
    let inbox = folder.open();
    let advice = inbox.advice().expect("it is not open");
    (inbox, advice)
}

async fn assert_takes_nothing(inbox: &Inbox, why: Unavailable) {
    assert_eq!(inbox.check(), Err(why));
    let callbacks = &inbox.0.shared.metrics.callbacks;
    assert_eq!((callbacks.inbox_up.get(), callbacks.inbox_max_bytes.get()), (0, 1 << 30), "an alert can tell");
    assert_eq!(inbox.append(callback("early")).await, Err(why));
    assert_eq!(inbox.quarantine("calls", Bytes::from_static(b"?"), "digest", 10).await, Err(why));
    assert_eq!(inbox.lease("books", 1).await.err(), Some(why));
    assert_eq!(inbox.list(Filter::default(), None, 10).await.err(), Some(why));
    let id = "cb_0000010000000000".parse().expect("an id");
    assert_eq!(inbox.show(id).await.err(), Some(why));
    assert_eq!(inbox.purge(Filter::default(), None, 10, false).await.err(), Some(why));
    let pace = Pace { per_second: 100 };
    assert_eq!(inbox.redrive(Filter::default(), None, 10, pace, false).await.err(), Some(why));
}

async fn assert_works(inbox: &Inbox, folder: &Folder, waiting: &[&str]) {
    append_until_taken(inbox, "late").await;
    assert_eq!((inbox.check(), inbox.advice()), (Ok(()), None));
    assert_eq!(inbox.0.shared.metrics.callbacks.inbox_up.get(), 1);
    inbox.due("books").await;
    assert_eq!(bodies(inbox, "books").await, [waiting, &["late"]].concat());
    inbox.close();
    assert_eq!(listed(&folder.open(), Filter::default()).await.len(), waiting.len() + 1);
}

#[tokio::test]
async fn two_gateways_never_share_a_database_and_the_second_takes_over() {
    let folder = Folder::new("lock");
    let first = folder.open();
    store(&first, callback("one")).await;
    let (second, advice) = waiting(&folder);
    assert!(advice.contains("another gateway uses the inbox"), "{advice}");
    assert_takes_nothing(&second, Unavailable::Failed).await;
    // Nobody is woken for what he cannot have.
    let due = second.due("books");
    tokio::pin!(due);
    assert!(futures_now(due.as_mut()).await.is_none());
    drop(first);
    due.await;
    assert_works(&second, &folder, &["one"]).await;
}

/// What a future has come to without waiting.
async fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_tried_again() {
    let folder = Folder::new("directory");
    fs::create_dir_all(folder.path.parent().expect("a folder of all")).expect("made");
    fs::write(&folder.path, "a file in its place").expect("written");
    let (inbox, advice) = waiting(&folder);
    assert!(advice.contains("let the gateway write it"), "{advice}");
    assert_takes_nothing(&inbox, Unavailable::Failed).await;
    fs::remove_file(&folder.path).expect("removed");
    assert_works(&inbox, &folder, &[]).await;
}

#[tokio::test]
async fn a_corrupt_database_is_waited_for_and_a_restored_one_is_used() {
    let folder = Folder::new("damage");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    drop(inbox);
    let whole = fs::read(&folder.rules.path).expect("a database");
    // Its header, as a disk that lost it; then all but its header.
    for damaged in [vec![0; whole.len()], [&whole[..100], &vec![0xa5; whole.len() - 100]].concat()] {
        fs::write(&folder.rules.path, damaged).expect("damaged");
        let (inbox, advice) = waiting(&folder);
        assert!(advice.contains("is corrupt"), "{advice}");
        assert_takes_nothing(&inbox, Unavailable::Failed).await;
    }
    let (inbox, _) = waiting(&folder);
    fs::write(&folder.rules.path, whole).expect("restored");
    assert_works(&inbox, &folder, &["one"]).await;
}

#[tokio::test]
async fn a_mistake_that_shows_up_late_is_told_and_waited_for() {
    let mut folder = Folder::new("mistake").with_key("0123456789abcdef0123456789abcdef", &[]);
    let first = folder.open();
    store(&first, callback("one")).await;
    folder.give_keys("fedcba9876543210fedcba9876543210", &[]);
    let (second, advice) = waiting(&folder);
    assert!(advice.contains("another gateway"), "{advice}");
    drop(first);
    while second.advice().is_none_or(|advice| !advice.contains("old_keys")) {
        tokio::task::yield_now().await;
    }
    assert_takes_nothing(&second, Unavailable::Failed).await;
}

#[tokio::test]
async fn an_inbox_that_never_opened_closes_at_once() {
    let folder = Folder::new("never");
    let _first = folder.open();
    let (second, _) = waiting(&folder);
    second.close();
    assert_eq!(second.check(), Err(Unavailable::Closed));
    assert!(second.append(callback("late")).await.is_err());
}

#[tokio::test]
async fn an_inbox_that_another_process_has_is_up_until_that_takes_too_long() {
    let folder = Folder::new("elsewhere");
    folder.open().close();
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::succeed(&folder.rules, &["books".to_owned()], metrics.clone()).expect("an inbox");
    let up = || metrics.callbacks.inbox_up.get();
    assert_eq!((inbox.check(), up()), (Err(Unavailable::Elsewhere), 1));
    assert_eq!(inbox.append(callback("early")).await, Err(Unavailable::Elsewhere));
    let key = "key_0000000000000001".parse().expect("an id");
    assert_eq!(inbox.settle_key(key, Verdict::NotSent).await, Err(Unavailable::Elsewhere));
    inbox.tell_overdue();
    assert_eq!((inbox.check(), up()), (Err(Unavailable::Failed), 0));
    assert!(inbox.advice().is_some_and(|advice| advice.contains("should have ended by now")));
    inbox.take_over();
    inbox.tried().await;
    assert_eq!((inbox.check(), up(), inbox.advice()), (Ok(()), 1, None));
    inbox.tell_overdue();
    assert_eq!((inbox.check(), up()), (Ok(()), 1), "it has come");
}

#[tokio::test]
async fn whoever_comes_early_waits_until_it_was_tried_and_no_longer_than_he_can() {
    let folder = Folder::new("early");
    folder.open().close();
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::succeed(&folder.rules, &["books".to_owned()], metrics).expect("an inbox");
    inbox.tried_within(Duration::ZERO).await;
    let patient = inbox.tried_within(Duration::from_secs(3600));
    tokio::pin!(patient);
    assert!(futures_now(patient.as_mut()).await.is_none(), "the process before has it");
    inbox.take_over();
    patient.await;
    assert_eq!(inbox.check(), Ok(()));
    inbox.tried_within(Duration::from_secs(3600)).await;
}
