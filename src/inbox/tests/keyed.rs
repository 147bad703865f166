//! Keys of calls: found again under every key at rest, ended once, forgotten in time.
//! Nobody but an operator settles one of unknown end.

use super::*;

const ONE: &str = "0123456789abcdef0123456789abcdef";
const TWO: &str = "fedcba9876543210fedcba9876543210";

fn key(inbox: &Inbox, name: &str) -> Key {
    key_of(inbox, "-", name)
}

fn key_of(inbox: &Inbox, program: &str, name: &str) -> Key {
    let scope = Scope {
        program,
        account: "main",
        operation: "task.create",
        method: "POST",
        path: "/service/cloud/task",
        query: None,
        key: name.as_bytes(),
    };
    inbox.key(&scope).expect("it is open")
}

async fn find(inbox: &Inbox, name: &str) -> Option<Known> {
    inbox.find_key(&key(inbox, name)).await.expect("found or not")
}

async fn state(inbox: &Inbox, name: &str) -> Option<KeyState> {
    find(inbox, name).await.map(|known| known.state)
}

pub(super) async fn claim(inbox: &Inbox, name: &str) -> KeyId {
    claim_of(inbox, "-", name).await
}

/// The key of a program.
pub(super) async fn claim_of(inbox: &Inbox, program: &str, name: &str) -> KeyId {
    inbox.claim(&key_of(inbox, program, name), b"body").await.expect("claimed")
}

pub(super) fn answered(text: &'static str) -> End {
    End::Answered(KeptAnswer { status: 200, lines: Bytes::new(), body: Bytes::from_static(text.as_bytes()) })
}

#[tokio::test]
async fn a_key_is_found_under_a_new_key_at_rest_and_needs_the_old_one() {
    let mut folder = Folder::new("keyed-rest").with_key(ONE, &[]);
    let inbox = folder.open();
    let id = claim(&inbox, "k").await;
    inbox.end(id, &answered("an answer")).await.expect("ended");
    drop(inbox);
    folder.give_keys(TWO, &[]);
    assert!(folder.try_open().err().expect("refused").to_string().contains("old_keys"), "it could not be found again");
    folder.give_keys(TWO, &[ONE]);
    for _ in 0..2 {
        let inbox = folder.open();
        let known = find(&inbox, "k").await.expect("known");
        assert!(inbox.is_of_body(&known, b"body") && !inbox.is_of_body(&known, b"another"));
        let kept = inbox.remembered(known.id).await.expect("read").expect("an answer");
        assert_eq!((kept.status, &kept.body[..]), (200, &b"an answer"[..]));
    }
}

#[tokio::test]
async fn what_was_sending_at_a_crash_is_unknown_at_the_next_start() {
    let folder = Folder::new("keyed-crash");
    let inbox = folder.open();
    let id = claim(&inbox, "k").await;
    assert_eq!(state(&inbox, "k").await, Some(KeyState::Sending));
    assert!(!inbox.settle_key(id, Verdict::NotSent).await.expect("asked"), "it is under way");
    drop(inbox);
    let inbox = folder.open();
    assert_eq!(state(&inbox, "k").await, Some(KeyState::Unknown));
    assert_eq!(inbox.0.shared.metrics.keyed.unknown.get(), 1, "it is shown from the start");
    assert!(inbox.settle_key(id, Verdict::NotSent).await.expect("asked"));
    assert_eq!(state(&inbox, "k").await, None);
    assert!(!inbox.settle_key(id, Verdict::Sent).await.expect("asked"), "it is settled");
}

#[tokio::test]
async fn a_key_is_claimed_once_and_ends_once() {
    let folder = Folder::new("keyed-once");
    let inbox = folder.open();
    let first = claim(&inbox, "k").await;
    assert_eq!(inbox.claim(&key(&inbox, "k"), b"body").await, Err(Unavailable::Failed), "it is not free");
    inbox.end(first, &End::Free).await.expect("freed");
    assert_eq!(state(&inbox, "k").await, None);
    let second = claim(&inbox, "k").await;
    inbox.end(second, &End::NotKept { status: 200 }).await.expect("ended");
    for late in [End::Free, End::Unknown, answered("late")] {
        inbox.end(second, &late).await.expect("asked");
        inbox.end(first, &late).await.expect("asked");
        assert_eq!(state(&inbox, "k").await, Some(KeyState::NotKept), "an end stays");
    }
    let shown = &inbox.0.shared.metrics.keyed;
    assert_eq!((shown.unknown.get(), shown.remembered.get()), (0, 1), "and is counted once");
    assert!(inbox.remembered(second).await.expect("asked").is_none());
}

#[tokio::test]
async fn an_answer_is_read_for_the_key_that_it_was_given_for_and_no_other() {
    let folder = Folder::new("keyed-bound");
    let inbox = folder.open();
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        ids.push(claim(&inbox, name).await);
        inbox.end(ids[ids.len() - 1], &answered("an answer")).await.expect("ended");
    }
    drop(inbox);
    let exchange = "UPDATE answer SET id = -id; UPDATE answer SET id = (SELECT sum(id) FROM keyed) + id";
    rusqlite::Connection::open(&folder.rules.path).expect("a database").execute_batch(exchange).expect("exchanged");
    let inbox = folder.open();
    for id in ids {
        assert!(inbox.remembered(id).await.expect("asked").is_none(), "{id}");
    }
}

#[tokio::test]
async fn what_is_known_goes_by_age_and_what_is_unknown_stays() {
    let mut folder = Folder::new("keyed-age");
    let inbox = folder.open();
    let id = claim(&inbox, "answered").await;
    inbox.end(id, &answered("an answer")).await.expect("ended");
    let id = claim(&inbox, "unknown").await;
    inbox.end(id, &End::Unknown).await.expect("ended");
    let id = claim(&inbox, "settled").await;
    inbox.end(id, &End::Unknown).await.expect("ended");
    assert!(inbox.settle_key(id, Verdict::Sent).await.expect("settled"));
    drop(inbox);
    folder.rules.keep_answers = Duration::ZERO;
    let inbox = folder.open();
    // Times are whole milliseconds.
    while clock::wall_millis() <= inbox.keys(KeyFilter::default(), None, 9).await.expect("a list")[0].claimed_ms {}
    // The writer looks after what is old before it claims.
    while state(&inbox, "answered").await.is_some() || state(&inbox, "settled").await.is_some() {
        claim(&inbox, "other").await;
        let id = find(&inbox, "other").await.expect("known").id;
        inbox.end(id, &End::Free).await.expect("freed");
    }
    assert_eq!(state(&inbox, "unknown").await, Some(KeyState::Unknown));
    assert_eq!(inbox.0.shared.metrics.keyed.remembered.get(), 0);
}

#[tokio::test]
async fn keys_are_listed_by_what_is_asked_for() {
    let folder = Folder::new("keyed-list");
    let inbox = folder.open();
    for name in ["a", "b", "c"] {
        let id = claim(&inbox, name).await;
        if name != "b" {
            inbox.end(id, &answered("an answer")).await.expect("ended");
        }
    }
    let count = async |filter: KeyFilter| inbox.keys(filter, None, 10).await.expect("a list").len();
    assert_eq!(count(KeyFilter::default()).await, 3);
    assert_eq!(count(KeyFilter { state: Some(KeyState::Answered), ..KeyFilter::default() }).await, 2);
    assert_eq!(count(KeyFilter { state: Some(KeyState::Sending), ..KeyFilter::default() }).await, 1);
    assert_eq!(count(KeyFilter { key: Some("b".to_owned()), ..KeyFilter::default() }).await, 1);
    assert_eq!(count(KeyFilter { key: Some("d".to_owned()), ..KeyFilter::default() }).await, 0);
    assert_eq!(count(KeyFilter { operation: Some("task.create".to_owned()), ..KeyFilter::default() }).await, 3);
    assert_eq!(count(KeyFilter { program: Some("other".to_owned()), ..KeyFilter::default() }).await, 0);
    let first = &inbox.keys(KeyFilter::default(), None, 1).await.expect("a list")[0];
    let rest = inbox.keys(KeyFilter::default(), Some(first.id), 10).await.expect("a list");
    assert_eq!((rest.len(), first.state, first.status, first.bytes), (2, KeyState::Answered, Some(200), 16));
    assert_eq!((first.program.as_str(), first.account.as_str()), ("-", "main"));
    let traced = inbox.trace("b").await.expect("read").keys;
    assert_eq!(traced.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Sending], "by its text");
}

#[tokio::test]
async fn remembered_answers_make_room_and_their_keys_stay_used() {
    let mut folder = Folder::new("keyed-room");
    folder.rules.max_bytes = 16 << 20;
    let inbox = folder.open();
    let long: &'static str = "x".repeat(240_000).leak();
    let names: Vec<_> = (0..80).map(|number| format!("key {number}")).collect();
    for name in &names {
        let id = claim(&inbox, name).await;
        inbox.end(id, &answered(long)).await.expect("ended");
    }
    let text = "x".repeat(14_000);
    for number in 0..100 {
        let stored = inbox.append(callback(&format!("{number} {text}"))).await;
        assert!(matches!(stored, Ok(Appended::Stored(_))), "{number}: {stored:?}");
    }
    let (mut kept, mut dropped) = (0, 0);
    for name in &names {
        let known = find(&inbox, name).await.expect("it stays used");
        assert!(inbox.is_of_body(&known, b"body"));
        match (known.state, inbox.remembered(known.id).await.expect("asked")) {
            (KeyState::Answered, Some(_)) => kept += 1,
            (KeyState::NotKept, None) if kept == 0 => dropped += 1,
            (state, _) => panic!("{name} of {dropped} and {kept}: {state:?}"),
        }
    }
    assert!(dropped >= 14 && kept >= 20, "no more than is needed: {dropped} and {kept}");
    assert_eq!(inbox.check(), Ok(()));
}

#[tokio::test]
async fn a_call_is_begun_only_where_its_answer_will_find_room() {
    let mut folder = Folder::new("keyed-promise");
    folder.rules.max_bytes = 4 << 20;
    let inbox = folder.open();
    let room = crate::inbox::keyed::ROOM;
    assert!(room > KeptAnswer::room(0) as u64 + 512, "the longest one, its seal and its rows");
    let most = folder.rules.max_bytes / room;
    let mut claimed = Vec::new();
    let refused = loop {
        match inbox.claim(&key(&inbox, &claimed.len().to_string()), b"body").await {
            Ok(id) => claimed.push(id),
            Err(why) => break why,
        }
        assert!(claimed.len() as u64 <= most, "more is promised than there is");
    };
    assert_eq!((refused, claimed.is_empty()), (Unavailable::Full, false));
    let long: &'static str = "x".repeat(200_000).leak();
    for (number, id) in claimed.iter().enumerate() {
        inbox.end(*id, &answered(long)).await.expect("ended");
        assert!(inbox.remembered(*id).await.expect("read").is_some(), "{number}: room was promised");
    }
}

#[tokio::test]
async fn nobody_is_under_way_when_the_last_call_has_left_its_key_and_its_end_is_kept() {
    let folder = Folder::new("keyed-idle");
    let inbox = folder.open();
    assert!(inbox.is_without_keys_under_way());
    let entrance = inbox.entrance(&key(&inbox, "k"));
    assert!(!inbox.is_without_keys_under_way(), "it stands at the entrance");
    let flight = entrance.enter().await;
    let id = claim(&inbox, "k").await;
    inbox.end_later(Some(flight), id, End::NotKept { status: 200 });
    assert!(!inbox.is_without_keys_under_way(), "its end is still to be kept");
    // Whoever comes next finds it kept.
    drop(inbox.entrance(&key(&inbox, "k")).enter().await);
    assert_eq!(state(&inbox, "k").await, Some(KeyState::NotKept));
    while !inbox.is_without_keys_under_way() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_claim_that_the_disk_refused_is_taken_back_when_it_works() {
    let folder = Folder::new("keyed-refused");
    let inbox = folder.open();
    inbox
        .0
        .shared
        .queue
        .push(Job::Break(|connection| connection.pragma_update(None, "query_only", true).expect("set")))
        .expect("queued");
    assert_eq!(inbox.claim(&key(&inbox, "k"), b"body").await, Err(Unavailable::Failed));
    assert!(!inbox.is_without_keys_under_way(), "it may surface when the database is opened again");
    inbox.close();
    assert_eq!(inbox.claim(&key(&inbox, "l"), b"body").await, Err(Unavailable::Closed));
}
