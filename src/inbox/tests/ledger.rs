//! The ledger: calls are noted without anybody waiting, found with the callbacks that came of them, and forgotten in time.
//! No test waits for a fixed time.

use std::time::Duration;

use super::*;
use crate::inbox::ledger::{Call, Named, Trace};

fn call(number: u64, task: &str, key: Option<&str>) -> Call {
    Call {
        request: format!("{number:032x}"),
        at_ms: clock::wall_millis(),
        program: "books".into(),
        account: "main".into(),
        operation: "task.create".into(),
        key: key.map(|key| key.as_bytes().to_vec()),
        named: Named { calls: Vec::new(), tasks: vec![task.to_owned()] },
        sent: "yes",
        status: 200,
        outcome: "answered",
        code: Some(200),
        replayed: false,
        phases: [Duration::from_micros(7); 7],
        keeping: Duration::from_micros(3),
        took: Duration::from_micros(52),
        parent: None,
    }
}

/// About one call of a task.
fn about(call: &str, task: &str) -> NewCallback {
    let ids = Ids { natural: true, calls: vec![call.to_owned()], tasks: vec![task.to_owned()], ..Ids::default() };
    NewCallback { ids, ..callback(&format!("{{\"call_id\":\"{call}\"}}")) }
}

async fn trace(inbox: &Inbox, id: &str) -> Trace {
    inbox.trace(id).await.expect("it can be read")
}

/// Once so many are written.
async fn until_noted(inbox: &Inbox, calls: u64) {
    let written = || inbox.0.shared.metrics.callbacks.ledger.with_label_values(&["written"]).get();
    while written() < calls {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn requests(trace: &Trace) -> Vec<&str> {
    trace.calls.iter().map(|call| call.request.trim_start_matches('0')).collect()
}

#[tokio::test]
async fn a_request_and_its_callbacks_are_found_by_any_id_of_theirs() {
    let folder = Folder::new("ledger");
    let inbox = folder.open();
    inbox.note(call(1, "task-1", Some("key-1")));
    inbox.note(call(2, "task-2", None));
    let first = store(&inbox, about("call-1", "task-1")).await;
    store(&inbox, about("call-2", "task-1")).await;
    store(&inbox, about("call-3", "task-2")).await;
    until_noted(&inbox, 2).await;
    for (id, calls, callbacks) in [
        (format!("{:032x}", 1), &["1"][..], 2),
        (format!("{:032X}", 10), &[], 0),
        ("key-1".to_owned(), &["1"], 2),
        ("task-1".to_owned(), &["1"], 2),
        ("call-1".to_owned(), &["1"], 1),
        ("call-3".to_owned(), &["2"], 1),
        (first.to_string(), &["1"], 1),
        ("nobody".to_owned(), &[], 0),
        ("books".to_owned(), &[], 0),
    ] {
        let found = trace(&inbox, &id).await;
        assert_eq!((requests(&found).as_slice(), found.callbacks.len()), (calls, callbacks), "{id}");
    }
    let found = trace(&inbox, "call-1").await;
    assert_eq!(found.callbacks[0].body.as_deref(), Some(&b"{\"call_id\":\"call-1\"}"[..]));
    let noted = &found.calls[0];
    assert_eq!(
        (noted.program.as_str(), noted.operation.as_str(), noted.keyed, noted.named),
        ("books", "task.create", true, 1)
    );
    assert_eq!(
        (noted.micros.as_slice(), noted.key_micros, noted.took_micros, noted.sent.as_str(), noted.code),
        (&[7; 7][..], 3, 52, "yes", Some(200))
    );
    // It is on disk, and no id or key can be read there.
    inbox.close();
    let disk = std::fs::read(&folder.rules.path).expect("the database");
    for plain in ["task-1", "key-1", "call-1"] {
        assert!(!disk.windows(plain.len()).any(|window| window == plain.as_bytes()), "{plain}");
    }
    let again = folder.open();
    assert_eq!(requests(&trace(&again, "task-2").await), ["2"]);
}

#[tokio::test]
async fn an_answer_is_from_memory_where_its_key_was_shown_and_the_platform_not_asked() {
    let folder = Folder::new("ledger-memory");
    let inbox = folder.open();
    let unasked = || {
        let mut phases = [Duration::from_micros(7); 7];
        phases[4] = Duration::ZERO;
        Call { phases, ..call(1, "task-1", Some("key-1")) }
    };
    for (number, (call, expected)) in [
        (unasked(), true),
        (Call { outcome: "client_gone", ..unasked() }, true),
        (Call { key: None, ..unasked() }, false),
        (Call { sent: "unknown", ..unasked() }, false),
        (Call { outcome: "timed_out", ..unasked() }, false),
        (Call { outcome: "client_gone", status: 0, ..unasked() }, false),
        (call(1, "task-1", Some("key-1")), false),
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!("{number:032x}");
        inbox.note(Call { request: request.clone(), ..call });
        until_noted(&inbox, number as u64 + 1).await;
        assert_eq!(trace(&inbox, &request).await.calls[0].is_from_memory(), expected, "{number}");
    }
}

#[tokio::test]
async fn what_was_noted_before_the_end_is_written() {
    let folder = Folder::new("ledger-end");
    let inbox = folder.open();
    (0..1000).for_each(|number| inbox.note(call(number, "task", None)));
    inbox.close();
    let again = folder.open();
    let found = trace(&again, &format!("{:032x}", 999)).await;
    assert_eq!(requests(&found), ["3e7"]);
    assert!(trace(&again, "task").await.more, "a thousand are more than are shown");
}

#[tokio::test]
async fn the_oldest_go_by_age_and_by_number() {
    let mut folder = Folder::new("ledger-bounds");
    folder.rules.ledger = Duration::from_secs(3600);
    folder.rules.ledger_max_bytes = 100 * 512;
    let inbox = folder.open();
    let old = Call { at_ms: clock::wall_millis() - 3_600_001, ..call(1, "old", None) };
    inbox.note(old);
    (2..302).for_each(|number| inbox.note(call(number, "new", None)));
    until_noted(&inbox, 301).await;
    // Upkeep forgets some each second, so it is asked until they are gone.
    loop {
        let (old, new) = (trace(&inbox, "old").await, trace(&inbox, "new").await);
        if old.calls.is_empty() && new.calls.len() == 100 && !new.more {
            assert_eq!(requests(&new)[0], format!("{:x}", 202));
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn more_than_there_is_room_for_is_dropped_and_counted() {
    let folder = Folder::new("ledger-full");
    let inbox = folder.open();
    // The disk is away, so nothing is taken from the queue.
    inbox
        .0
        .shared
        .queue
        .push(Job::Break(|connection| drop(connection.execute_batch("DROP TABLE entry"))))
        .expect("taken");
    assert!(inbox.append(callback("{}")).await.is_err());
    (0..5000).for_each(|number| inbox.note(call(number, "task", None)));
    let dropped = inbox.0.shared.metrics.callbacks.ledger.with_label_values(&["dropped"]).get();
    assert!(dropped >= 5000 - 4096 - 128, "{dropped}");
}

#[tokio::test]
async fn nothing_is_noted_where_it_is_not_wanted() {
    let mut folder = Folder::new("ledger-off");
    folder.rules.ledger = Duration::ZERO;
    let inbox = folder.open();
    assert!(!inbox.keeps_ledger());
    inbox.note(call(1, "task", None));
    inbox.close();
    assert!(trace(&folder.open(), "task").await.calls.is_empty());
}

#[tokio::test]
async fn callbacks_that_came_before_a_change_of_the_key_are_found_after_it() {
    let mut folder = Folder::new("ledger-keys").with_key("a first key of thirty-two bytes!", &[]);
    let inbox = folder.open();
    inbox.note(call(1, "task-1", Some("key-1")));
    inbox.close();
    folder.give_keys("a second key of thirty-two bytes", &["a first key of thirty-two bytes!"]);
    let inbox = folder.open();
    for id in ["task-1", "key-1"] {
        assert_eq!(requests(&trace(&inbox, id).await), ["1"], "{id}");
    }
}
