//! The ledger: calls are noted without anybody waiting, found with the callbacks that came of them, and forgotten in time.
//! No test waits for a fixed time.

use std::time::Duration;

use super::*;
use crate::inbox::ledger::{Call, Named, Trace};

/// What an answer names that created this task.
fn task(id: &str) -> Named {
    Named { calls: Vec::new(), tasks: vec![id.to_owned()] }
}

fn call<'a>(number: u128, named: &'a Named, key: Option<&'a str>) -> Call<'a> {
    Call { key: key.map(str::as_bytes), ..noted(number, named) }
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
    inbox.note(&call(1, &task("task-1"), Some("key-1")));
    inbox.note(&call(2, &task("task-2"), None));
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
    folder.assert_none_is_plain(&inbox, &["task-1", "key-1", "call-1"], "task.create");
    let again = folder.open();
    assert_eq!(requests(&trace(&again, "task-2").await), ["2"]);
}

#[tokio::test]
async fn an_answer_is_from_memory_where_its_key_was_shown_and_the_platform_not_asked() {
    let folder = Folder::new("ledger-memory");
    let inbox = folder.open();
    let named = task("task-1");
    let unasked = || {
        let mut phases = [Duration::from_micros(7); 7];
        phases[4] = Duration::ZERO;
        Call { phases, ..call(1, &named, Some("key-1")) }
    };
    for (number, (call, expected)) in [
        (unasked(), true),
        (Call { outcome: "client_gone", ..unasked() }, true),
        (Call { key: None, ..unasked() }, false),
        (Call { sent: "unknown", ..unasked() }, false),
        (Call { outcome: "timed_out", ..unasked() }, false),
        (Call { outcome: "client_gone", status: 0, ..unasked() }, false),
        (call(1, &named, Some("key-1")), false),
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!("{number:032x}");
        inbox.note(&Call { request: (number as u128).to_be_bytes(), ..call });
        until_noted(&inbox, number as u64 + 1).await;
        assert_eq!(trace(&inbox, &request).await.calls[0].is_from_memory(), expected, "{number}");
    }
}

#[tokio::test]
async fn what_was_noted_before_the_end_is_written() {
    let folder = Folder::new("ledger-end");
    let inbox = folder.open();
    (0..1000).for_each(|number| inbox.note(&call(number, &task("task"), None)));
    inbox.close();
    let again = folder.open();
    let found = trace(&again, &format!("{:032x}", 999)).await;
    assert_eq!(requests(&found), ["3e7"]);
    assert!(trace(&again, "task").await.more, "a thousand are more than are shown");
}

/// The ids and the rest of each block.
fn blocks(connection: &rusqlite::Connection) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = connection.prepare("SELECT ids, calls FROM ledger ORDER BY id").expect("sql");
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("blocks")
}

fn hexadecimal(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn each_call_of_a_block_of_many_is_found_by_each_id_of_its_own() {
    let folder = Folder::new("ledger-block");
    let inbox = folder.open();
    for number in 0..1000 {
        let named = Named { calls: vec![format!("call-{number}")], tasks: vec![format!("task-{number}")] };
        let key = format!("key-{number}");
        inbox.note(&Call {
            program: ["books", "crm"][number % 2],
            status: 200 + number as u16,
            code: Some(-(number as i64)),
            replayed: number % 3 == 0,
            ..call(number as u128, &named, (number % 5 != 0).then_some(&key))
        });
    }
    until_noted(&inbox, 1000).await;
    let connection = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    assert!(blocks(&connection).len() <= 2, "a row for each would cost more than the call");
    for number in [0, 1, 499, 500, 999] {
        let request = format!("{number:032x}");
        for id in [request.clone(), request.to_uppercase(), format!("call-{number}"), format!("task-{number}")] {
            let found = trace(&inbox, &id).await;
            assert_eq!(found.calls.len(), 1, "{id}");
            let noted = &found.calls[0];
            assert_eq!((&*noted.request, &*noted.program), (&*request, ["books", "crm"][number % 2]));
            assert_eq!((noted.status, noted.code), (200 + number as u16, Some(-(number as i64))));
            assert_eq!((noted.named, noted.keyed, noted.replayed), (2, number % 5 != 0, number % 3 == 0));
            assert!(noted.at_ms.abs_diff(clock::wall_millis()) < 600_000);
        }
        let by_key = trace(&inbox, &format!("key-{number}")).await;
        assert_eq!(by_key.calls.len(), usize::from(number % 5 != 0), "{number}");
    }
    // Nothing that is asked for in words is there in words.
    folder.assert_none_is_plain(&inbox, &["task-", "key-", "call-"], "task.create");
}

#[tokio::test]
async fn an_id_is_found_where_one_stands_and_as_what_it_is() {
    let folder = Folder::new("ledger-aligned");
    let inbox = folder.open();
    inbox.note(&call(1 << 100, &task("task-1"), Some("key-1")));
    inbox.note(&call(2 << 100, &task("task-2"), None));
    until_noted(&inbox, 2).await;
    let connection = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    let ids = blocks(&connection).into_iter().map(|(ids, _)| ids).collect::<Vec<_>>().concat();
    assert_eq!(ids.len(), 5 * 16, "two requests, two tasks, a key");
    for at in 0..=ids.len() - 16 {
        let found = trace(&inbox, &hexadecimal(&ids[at..at + 16])).await;
        let expected = match at {
            0 => &["100000"][..],
            48 => &["200000"],
            _ => &[],
        };
        let begins: Vec<_> = requests(&found).iter().map(|request| &request[..6]).collect();
        assert_eq!(begins, expected, "the bytes from {at} on");
    }
}

#[tokio::test]
async fn calls_of_several_blocks_are_told_oldest_first_up_to_a_bound() {
    let folder = Folder::new("ledger-blocks");
    let inbox = folder.open();
    for number in 0..3000 {
        let named = task(if number % 30 == 7 { "often" } else { "else" });
        let key = if number % 1000 == 3 { "key-often" } else { "key-else" };
        inbox.note(&call(number, &named, Some(key)));
    }
    until_noted(&inbox, 3000).await;
    let connection = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    assert!((3..=5).contains(&blocks(&connection).len()), "1024 in each, and what upkeep has taken");
    let found = trace(&inbox, "often").await;
    let expected: Vec<_> = (0..100).map(|number| format!("{:x}", number * 30 + 7)).collect();
    assert_eq!((requests(&found), found.more), (expected.iter().map(String::as_str).collect(), false));
    let found = trace(&inbox, "key-often").await;
    assert_eq!((requests(&found), found.more), (vec!["3", "3eb", "7d3"], false));
    inbox.note(&call(3000, &task("often"), None));
    until_noted(&inbox, 3001).await;
    let found = trace(&inbox, "often").await;
    assert_eq!((found.calls.len(), found.more), (100, true));
}

#[tokio::test]
async fn a_request_leads_to_the_callbacks_of_its_task_and_of_no_other_in_its_block() {
    let folder = Folder::new("ledger-own");
    let inbox = folder.open();
    inbox.note(&call(1, &task("task-1"), Some("key-1")));
    inbox.note(&call(2, &task("task-2"), Some("key-2")));
    store(&inbox, about("call-1", "task-1")).await;
    store(&inbox, about("call-2", "task-2")).await;
    until_noted(&inbox, 2).await;
    for (id, call) in [(format!("{:032x}", 2), "call-2"), ("key-1".to_owned(), "call-1")] {
        let found = trace(&inbox, &id).await;
        let bodies: Vec<_> = found.callbacks.iter().filter_map(|shown| shown.body.as_deref()).collect();
        assert_eq!(bodies, [format!("{{\"call_id\":\"{call}\"}}").as_bytes()], "{id}");
    }
}

#[tokio::test]
async fn callbacks_are_told_up_to_a_bound_and_the_first_of_them_with_their_bodies() {
    let folder = Folder::new("ledger-many");
    let inbox = folder.open();
    let mut stored = Vec::new();
    for number in 0..100 {
        stored.push(store(&inbox, about(&format!("call-{number}"), "task")).await);
    }
    for more in [false, true] {
        let found = trace(&inbox, "task").await;
        let told: Vec<_> = found.callbacks.iter().map(|shown| shown.listed.id).collect();
        assert_eq!((told, found.more), (stored.clone(), more));
        let opened = found.callbacks.iter().take_while(|shown| shown.body.is_some()).count();
        assert_eq!((opened, found.callbacks.iter().filter(|shown| shown.body.is_some()).count()), (20, 20));
        if !more {
            store(&inbox, about("call-100", "task")).await;
        }
    }
}

#[tokio::test]
async fn a_key_is_told_beside_its_calls_only_while_one_of_them_is_under_way() {
    let folder = Folder::new("ledger-keys");
    let inbox = folder.open();
    let told = async || trace(&inbox, "k").await.keys.into_iter().map(|key| key.state).collect::<Vec<_>>();
    let first = keyed::claim(&inbox, "k").await;
    inbox.end(first, &keyed::answered("an answer")).await.expect("ended");
    assert_eq!(told().await, [KeyState::Answered], "no call of it was noted");
    inbox.note(&call(1, &Named::default(), Some("k")));
    until_noted(&inbox, 1).await;
    assert_eq!(told().await, [], "its call tells more");
    keyed::claim_of(&inbox, "another program", "k").await;
    assert_eq!(told().await, [KeyState::Sending]);
}

#[tokio::test]
async fn a_block_that_is_damaged_is_left_out_and_the_others_are_told() {
    let folder = Folder::new("ledger-damaged");
    let inbox = folder.open();
    for number in 1..=5 {
        inbox.note(&call(number, &task("task"), None));
        until_noted(&inbox, number as u64).await;
    }
    inbox.close();
    let connection = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    assert_eq!(blocks(&connection).len(), 5);
    let nth = |nth| format!("(SELECT id FROM ledger ORDER BY id LIMIT 1 OFFSET {nth})");
    let damage = [
        format!("UPDATE ledger SET calls = substr(calls, 1, length(calls) - 1) WHERE id = {}", nth(0)),
        format!("UPDATE ledger SET ids = substr(ids, 1, 31) WHERE id = {}", nth(1)),
        format!("UPDATE ledger SET calls = x'' WHERE id = {}", nth(3)),
    ];
    connection.execute_batch(&damage.join(";")).expect("damaged");
    let again = folder.open();
    assert_eq!(requests(&trace(&again, "task").await), ["3", "5"]);
    assert!(trace(&again, &format!("{:032x}", 2)).await.calls.is_empty());
    connection.execute_batch("DELETE FROM name WHERE text = 'answered'").expect("damaged");
    assert!(trace(&again, "task").await.calls.is_empty(), "nobody knows how they ended");
}

#[tokio::test]
async fn a_block_goes_by_the_age_of_its_newest_call() {
    let mut folder = Folder::new("ledger-age");
    folder.rules.ledger = Duration::from_secs(3600);
    let inbox = folder.open();
    let at_ms = clock::wall_millis() - 3_600_001;
    inbox.note(&Call { at_ms, ..call(1, &task("old"), None) });
    until_noted(&inbox, 1).await;
    // Held meanwhile, so that no upkeep comes between the two.
    static HELD: std::sync::Barrier = std::sync::Barrier::new(2);
    inbox.0.shared.queue.push(Job::Break(|_| _ = (HELD.wait(), HELD.wait()))).expect("queued");
    HELD.wait();
    inbox.note(&Call { at_ms, ..call(2, &task("old"), None) });
    inbox.note(&call(3, &task("new"), None));
    HELD.wait();
    // Upkeep forgets each second, so it is asked until they are gone.
    while requests(&trace(&inbox, "old").await) != ["2"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(requests(&trace(&inbox, "new").await), ["3"], "and with it the other one of its block");
}

#[tokio::test]
async fn the_oldest_blocks_go_with_the_one_that_makes_them_too_many() {
    let mut folder = Folder::new("ledger-size");
    folder.rules.ledger_max_bytes = 200 << 10;
    let inbox = folder.open();
    for number in 0..8 * 1024 {
        inbox.note(&call(number, &task(&format!("task-{}", number / 1024)), None));
    }
    until_noted(&inbox, 8 * 1024).await;
    let connection = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    let kept: usize = blocks(&connection).iter().map(|(ids, rest)| ids.len() + rest.len()).sum();
    assert!((100 << 10..200 << 10).contains(&kept), "{kept}");
    assert!(trace(&inbox, "task-0").await.calls.is_empty());
    assert!(trace(&inbox, "task-7").await.more);
}

#[tokio::test]
async fn more_than_there_is_room_for_is_dropped_and_counted() {
    let folder = Folder::new("ledger-full");
    let inbox = folder.open();
    // Until its file has its name again the database is not opened again, so nothing is taken from the queue.
    let away = |connection: &rusqlite::Connection| {
        let path = connection.path().expect("a path");
        std::fs::rename(path, format!("{path}.away")).expect("renamed");
        panic!("a bug")
    };
    inbox.0.shared.queue.push(Job::Break(away)).expect("queued");
    while inbox.check().is_ok() {
        tokio::task::yield_now().await;
    }
    let named = task("task");
    (0..132_000).for_each(|number| inbox.note(&call(number, &named, None)));
    let dropped = || inbox.0.shared.metrics.callbacks.ledger.with_label_values(&["dropped"]).get();
    assert_eq!((dropped(), inbox.unlisted()), (132_000 - 131_072, 131_072));
    inbox.close();
    assert_eq!(inbox.unlisted(), 131_072, "nobody has them");
}

#[tokio::test]
async fn a_block_is_written_as_soon_as_it_is_whole() {
    let folder = Folder::new("ledger-whole");
    let inbox = folder.open();
    let (began, named) = (clock::now(), task("task"));
    for round in 1..=8 {
        (0..1024).for_each(|number| inbox.note(&call(number, &named, None)));
        until_noted(&inbox, round * 1024).await;
    }
    // With upkeep alone each would take a second.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// Who writes waits here twice in the middle of a transaction: until it is seen, and until it may go on.
static GATE: std::sync::Barrier = std::sync::Barrier::new(2);

#[tokio::test]
async fn a_crash_before_a_commit_loses_what_waited_and_nothing_else() {
    let folder = Folder::new("ledger-crash");
    let inbox = folder.open();
    let hold = || inbox.0.shared.queue.push(Job::Break(|_| _ = (GATE.wait(), GATE.wait()))).expect("queued");
    inbox.note(&call(1, &task("before"), None));
    until_noted(&inbox, 1).await;
    hold();
    GATE.wait();
    let named = task("after");
    (2..2 + 1024).for_each(|number| inbox.note(&call(number, &named, None)));
    hold();
    // The next transaction has both: the block, and who holds it before its end.
    GATE.wait();
    GATE.wait();
    assert_eq!(inbox.unlisted(), 0, "the block was taken");
    let left = Folder::new("ledger-crashed");
    std::fs::create_dir_all(&left.path).expect("a folder");
    for name in ["inbox.db", "inbox.db-wal", "inbox.key"] {
        std::fs::copy(folder.path.join(name), left.path.join(name)).expect("copied");
    }
    GATE.wait();
    until_noted(&inbox, 1025).await;
    let after = left.open();
    assert_eq!(requests(&trace(&after, "before").await), ["1"]);
    assert!(trace(&after, "after").await.calls.is_empty());
    assert_eq!(requests(&trace(&inbox, &format!("{:032x}", 1025)).await), ["401"]);
}

#[tokio::test]
async fn nothing_is_noted_where_it_is_not_wanted() {
    let mut folder = Folder::new("ledger-off");
    folder.rules.ledger = Duration::ZERO;
    let inbox = folder.open();
    assert!(!inbox.keeps_ledger());
    inbox.note(&call(1, &task("task"), None));
    inbox.close();
    assert!(trace(&folder.open(), "task").await.calls.is_empty());
}

#[tokio::test]
async fn callbacks_that_came_before_a_change_of_the_key_are_found_after_it() {
    let mut folder = Folder::new("ledger-keys").with_key("a first key of thirty-two bytes!", &[]);
    let inbox = folder.open();
    inbox.note(&call(1, &task("task-1"), Some("key-1")));
    inbox.close();
    folder.give_keys("a second key of thirty-two bytes", &["a first key of thirty-two bytes!"]);
    let inbox = folder.open();
    for id in ["task-1", "key-1"] {
        assert_eq!(requests(&trace(&inbox, id).await), ["1"], "{id}");
    }
}
