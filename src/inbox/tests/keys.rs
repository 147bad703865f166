//! At rest: what opens a database, what does not, and that nothing of a callback is plain in any file.
//! Ids are never used twice.

use super::*;

const ONE: &str = "0123456789abcdef0123456789abcdef";
const TWO: &str = "fedcba9876543210fedcba9876543210";

fn refusal(folder: &Folder) -> String {
    folder.try_open().err().expect("refused").to_string()
}

#[tokio::test]
async fn a_database_opens_with_its_key_and_with_no_other() {
    let mut folder = Folder::new("keys").with_key(ONE, &[]);
    store(&folder.open(), callback("one")).await;
    folder.give_keys(TWO, &[]);
    assert!(refusal(&folder).contains("old_keys"));
    folder.give_keys(TWO, &[ONE]);
    let inbox = folder.open();
    store(&inbox, callback("two")).await;
    assert_eq!(bodies(&inbox, "books").await, ["one", "two"], "a former key opens what it sealed");
    drop(inbox);
    folder.give_keys(ONE, &[]);
    assert!(refusal(&folder).contains("old_keys"), "the newer key is missing now");
}

#[tokio::test]
async fn rules_are_looked_at_without_making_or_changing_anything() {
    let mut folder = Folder::new("rules").with_key(ONE, &[]);
    assert!(Inbox::check_rules(&folder.rules).is_ok() && !folder.path.exists(), "there is nothing yet");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    assert!(Inbox::check_rules(&folder.rules).is_ok(), "also while a gateway uses it");
    folder.give_keys(TWO, &[]);
    assert!(Inbox::check_rules(&folder.rules).is_err_and(|why| why.to_string().contains("old_keys")));
    folder.give_keys(TWO, &[ONE]);
    assert!(Inbox::check_rules(&folder.rules).is_ok());
    assert_eq!(bodies(&inbox, "books").await, ["one"]);
}

#[tokio::test]
async fn a_key_file_is_made_once_and_never_beside_a_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("key-file");
    store(&folder.open(), callback("one")).await;
    let key = folder.path.join("inbox.key");
    assert_eq!(std::fs::metadata(&key).expect("a key").permissions().mode() & 0o777, 0o600);
    assert_eq!(bodies(&folder.open(), "books").await, ["one"]);
    std::fs::rename(&key, folder.path.join("away")).expect("renamed");
    assert!(refusal(&folder).contains("is missing"));
    assert!(!key.exists());
    std::fs::rename(folder.path.join("away"), &key).expect("renamed");
    assert_eq!(bodies(&folder.open(), "books").await, ["one"]);
}

#[tokio::test]
async fn no_file_of_the_inbox_is_for_others_whatever_the_process_would_give() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("modes");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let modes = || {
        let files = std::fs::read_dir(&folder.path).expect("a folder").map(|file| file.expect("a file"));
        let mode = |file: &std::fs::DirEntry| file.metadata().expect("there").permissions().mode() & 0o777;
        files.map(|file| (file.file_name().into_string().expect("text"), mode(&file))).collect::<Vec<_>>()
    };
    let found = modes();
    assert!(found.iter().all(|(_, mode)| *mode == 0o600), "{found:?}");
    for ending in [".db", ".db-wal", ".db-shm", ".db.lock", ".key"] {
        assert!(found.iter().any(|(name, _)| name.ends_with(ending)), "{ending}: {found:?}");
    }
    drop(inbox);
    // An operator who lets a group read the database has his reasons.
    let database = folder.path.join("inbox.db");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o640)).expect("changed");
    assert_eq!(bodies(&folder.open(), "books").await, ["one"]);
    assert!(modes().contains(&("inbox.db".to_owned(), 0o640)));
}

#[tokio::test]
async fn nothing_of_a_callback_is_plain_on_disk() {
    let folder = Folder::new("plain");
    let inbox = folder.open();
    let ids = Ids {
        natural: true,
        order: Some("order-4e1b".to_owned()),
        calls: vec!["call-93ac".to_owned()],
        tasks: vec!["task-77d0".to_owned()],
    };
    let id = store(&inbox, NewCallback { ids, ..callback("payload-0c55") }).await;
    inbox.quarantine("calls", Bytes::from_static(b"stranger-b81f"), "digest", 10).await.expect("kept");
    let secrets = ["order-4e1b", "call-93ac", "task-77d0", "payload-0c55", "stranger-b81f"];
    folder.assert_none_is_plain(&inbox, &secrets, "calls");
    drop(inbox);
    let inbox = folder.open();
    let found = |call: Option<&str>, task: Option<&str>| Filter {
        call: call.map(str::to_owned),
        task: task.map(str::to_owned),
        ..Filter::default()
    };
    for (filter, expected) in [
        (found(Some("call-93ac"), None), 1),
        (found(None, Some("task-77d0")), 1),
        (found(Some("call-93ac"), Some("task-77d0")), 1),
        (found(Some("task-77d0"), None), 0),
        (found(Some("call-93ad"), None), 0),
    ] {
        let listed = listed(&inbox, filter).await;
        assert_eq!(listed.len(), expected);
        assert!(listed.iter().all(|listed| listed.id == id));
    }
}

#[tokio::test]
async fn ids_are_never_used_twice() {
    let folder = Folder::new("ids");
    let mut seen = Vec::new();
    for round in 0..3 {
        let inbox = folder.open();
        for number in 0..3 {
            let receivers = Vec::new();
            seen.push(store(&inbox, NewCallback { receivers, ..callback(&format!("{round} {number}")) }).await);
        }
        let purged = inbox.purge(Filter::default(), None, 100, false).await.expect("purged");
        assert_eq!((purged.matched, purged.next), (3, None));
    }
    assert!(seen.is_sorted_by(|one, other| one < other), "{seen:?}");
}

#[test]
fn a_file_that_is_not_ours_is_refused_with_what_to_do() {
    let folder = Folder::new("foreign").with_key(ONE, &[]);
    folder.open();
    let change = |sql: &str| {
        rusqlite::Connection::open(&folder.rules.path).expect("a database").execute_batch(sql).expect("changed");
    };
    change("PRAGMA user_version = 99");
    assert!(refusal(&folder).contains("version 99"));
    change("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(refusal(&folder).contains("not a database of the gateway"));
    for file in ["inbox.db", "inbox.db-wal", "inbox.db-shm"] {
        let _ = std::fs::remove_file(folder.path.join(file));
    }
    std::fs::write(
        &folder.rules.path,
        "a letter to my aunt, longer than the header of a database has to be; it is not one, is it? No.",
    )
    .expect("written");
    assert!(refusal(&folder).contains("not a database"));
    // A database that says nothing of whose it is, and holds something.
    std::fs::remove_file(&folder.rules.path).expect("removed");
    change("CREATE TABLE recipes (text TEXT)");
    assert!(refusal(&folder).contains("not a database of the gateway"));
    let tables: i64 = rusqlite::Connection::open(&folder.rules.path)
        .expect("a database")
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(tables, 1, "nothing was made beside it");
}

#[tokio::test]
async fn a_key_file_is_looked_for_wherever_something_may_have_been_sealed() {
    let mut folder = Folder::new("key-copy");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    // As a gateway that was killed leaves it: most of it is in the log.
    let copy = Folder::new("key-copied");
    std::fs::create_dir_all(&copy.path).expect("a folder");
    for file in ["inbox.db", "inbox.db-wal"] {
        std::fs::copy(folder.path.join(file), copy.path.join(file)).expect("copied");
    }
    assert!(refusal(&copy).contains("is missing") && Inbox::check_rules(&copy.rules).is_err());
    assert!(!copy.path.join("inbox.key").exists());
    drop(inbox);
    // As one leaves it that has ended: all of it is in the database.
    folder.rules.key = InboxKey::File(folder.path.join("another.key"));
    let log = std::fs::metadata(folder.path.join("inbox.db-wal")).expect("a log");
    assert!(
        log.len() == 0 && Inbox::check_rules(&folder.rules).is_err_and(|why| why.to_string().contains("is missing"))
    );
    // And an empty file is the beginning of one.
    let empty = Folder::new("key-empty");
    std::fs::create_dir_all(&empty.path).expect("a folder");
    std::fs::write(&empty.rules.path, "").expect("written");
    assert_eq!(Inbox::check_rules(&empty.rules), Ok(()));
    assert_eq!(empty.open().check(), Ok(()));
}

#[tokio::test]
async fn a_key_at_rest_is_asked_for_as_long_as_any_row_needs_it() {
    let mut folder = Folder::new("keys-keyed").with_key(ONE, &[]);
    let inbox = folder.open();
    let scope = Scope {
        program: "-",
        account: "main",
        operation: "task.create",
        method: "POST",
        path: "/",
        query: None,
        key: b"k",
    };
    let id = inbox.claim(&inbox.key(&scope).expect("open"), b"body").await.expect("claimed");
    drop(inbox);
    folder.give_keys(TWO, &[ONE]);
    drop(folder.open());
    folder.give_keys(TWO, &[]);
    assert!(Inbox::check_rules(&folder.rules).is_err_and(|why| why.to_string().contains("old_keys")));
    assert!(refusal(&folder).contains("old_keys"));
    folder.give_keys(TWO, &[ONE]);
    assert!(folder.open().settle_key(id, Verdict::NotSent).await.expect("settled"));
    folder.give_keys(TWO, &[]);
    assert_eq!(Inbox::check_rules(&folder.rules), Ok(()), "nothing needs it any more");
    assert_eq!(folder.open().check(), Ok(()));
}

#[test]
fn a_database_of_a_former_gateway_is_looked_at_like_one_of_ours() {
    let folder = Folder::new("keys-former").with_key(ONE, &[]);
    std::fs::create_dir_all(&folder.path).expect("a folder");
    let former = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    former.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).expect("a log");
    let (first, id) = (schema::MIGRATIONS[0], schema::APPLICATION_ID);
    former
        .execute_batch(&format!("{first} PRAGMA application_id = {id}; PRAGMA user_version = 1;"))
        .expect("of version 1");
    assert_eq!(Inbox::check_rules(&folder.rules), Ok(()));
    former.execute_batch("INSERT INTO epoch VALUES (1, zeroblob(8), zeroblob(32))").expect("begun with another key");
    assert!(Inbox::check_rules(&folder.rules).is_err_and(|why| why.to_string().contains("old_keys")));
}

#[tokio::test]
async fn an_id_that_leaves_is_of_one_database_only_and_stays_the_same() {
    let folder = Folder::new("mark").with_key(ONE, &[]);
    let inbox = folder.open();
    let first = store(&inbox, callback("one")).await.to_string();
    let leased = async |inbox: &Inbox| inbox.lease("books", 1).await.expect("leases")[0].id.to_string();
    assert_eq!(leased(&inbox).await, first);
    assert_eq!(listed(&inbox, Filter::default()).await[0].id.to_string(), first);
    drop(inbox);
    // A backup that is started twice gives the numbers of its original again, each time.
    let mut all = vec![first.clone()];
    for _ in 0..2 {
        let copy = Folder::new("mark-copy").with_key(ONE, &[]);
        std::fs::create_dir_all(&copy.path).expect("a folder");
        std::fs::copy(&folder.rules.path, &copy.rules.path).expect("copied");
        let inbox = copy.open();
        assert_eq!(leased(&inbox).await, first, "an entry keeps its id, also after a restart");
        all.push(store(&inbox, callback("after the backup")).await.to_string());
    }
    let other = Folder::new("mark-other").with_key(ONE, &[]);
    let inbox = other.open();
    all.push(store(&inbox, callback("elsewhere")).await.to_string());
    let number = |id: &str| id.rsplit_once('_').map(|(number, _)| number.to_owned());
    assert_eq!((number(&all[1]), number(&all[0])), (number(&all[2]), number(&all[3])), "only the marks differ");
    let unlike: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(unlike.len(), all.len(), "{all:?}");
    // Asked for with the mark of another database it is not found; without a mark it is.
    let found = async |id: &str| inbox.show(id.parse().expect("an id")).await.expect("shown").is_some();
    let own = &all[3];
    assert!(found(own).await && found(&number(own).expect("a number")).await && !found(&first).await);
}
