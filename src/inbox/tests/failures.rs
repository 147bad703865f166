//! What a disk, a neighbour or the end of the process does to the inbox, and that nothing is acknowledged in vain.
//! It recovers without a restart.

use super::*;

fn damage(inbox: &Inbox, how: fn(&rusqlite::Connection)) {
    inbox.0.shared.queue.push(Job::Break(how)).expect("queued");
}

#[tokio::test]
async fn a_disk_that_fails_refuses_and_is_used_again_when_it_works() {
    let folder = Folder::new("fails");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let held = inbox.lease("books", 1).await.expect("leases").pop().expect("one");
    damage(&inbox, |connection| connection.pragma_update(None, "query_only", true).expect("set"));
    assert_eq!(inbox.append(callback("two")).await, Err(Unavailable::Failed));
    let settled = inbox.settle(&held, Settlement::Delivered).await;
    drop(held);
    assert!(matches!(settled, Ok(()) | Err(Unavailable::Failed)));
    append_until_taken(&inbox, "two").await;
    assert_eq!(inbox.check(), Ok(()));
    let waiting = bodies(&inbox, "books").await;
    assert_eq!(
        waiting,
        if settled.is_ok() { vec!["two"] } else { vec!["one", "two"] },
        "nothing is lost, nothing twice"
    );
}

#[tokio::test]
async fn due_ends_when_the_store_is_back() {
    let folder = Folder::new("back");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    damage(&inbox, |connection| connection.pragma_update(None, "query_only", true).expect("set"));
    assert_eq!(inbox.append(callback("two")).await, Err(Unavailable::Failed));
    inbox.due("books").await;
    assert_eq!(bodies(&inbox, "books").await, ["one"]);
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_used_again_when_there_is_space() {
    let folder = Folder::new("full-disk");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    damage(&inbox, |connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a count");
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).expect("set");
    });
    let large = "x".repeat(100_000);
    assert_eq!(inbox.append(callback(&large)).await, Err(Unavailable::Full));
    assert_eq!(inbox.check(), Err(Unavailable::Full));
    settle_next(&inbox, "books", Settlement::Delivered).await;
    damage(&inbox, |connection| {
        connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).expect("set");
    });
    let Appended::Stored(id) = inbox.append(callback(&large)).await.expect("taken") else {
        panic!("it was never stored")
    };
    assert_eq!(listed(&inbox, Filter::default()).await.last().map(|listed| listed.id), Some(id));
}

#[tokio::test]
async fn a_database_that_another_program_locks_refuses_until_it_is_free() {
    let folder = Folder::new("locked");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let other = rusqlite::Connection::open(&folder.rules.path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(inbox.append(callback("two")).await, Err(Unavailable::Failed));
    assert_eq!(inbox.check(), Err(Unavailable::Failed));
    assert!(matches!(inbox.lease("books", 1).await, Err(Unavailable::Failed)), "what cannot be settled is not leased");
    other.execute_batch("COMMIT").expect("free");
    append_until_taken(&inbox, "two").await;
    assert_eq!(bodies(&inbox, "books").await, ["one", "two"]);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let folder = Folder::new("corrupt");
    let inbox = folder.open();
    let ids = || Ids { order: Some("a".to_owned()), ..Ids::default() };
    let broken = store(&inbox, NewCallback { ids: ids(), ..callback("one") }).await;
    store(&inbox, NewCallback { ids: ids(), ..callback("two") }).await;
    drop(inbox);
    rusqlite::Connection::open(&folder.rules.path)
        .expect("a database")
        .execute("UPDATE body SET sealed = substr(sealed, 2) WHERE id = ?1", [broken.row()])
        .expect("damaged");
    let inbox = folder.open();
    assert!(bodies(&inbox, "books").await.is_empty(), "the second waits for the first");
    inbox.due("books").await;
    assert_eq!(bodies(&inbox, "books").await, ["two"]);
    assert_eq!(inbox.0.shared.metrics.callbacks.corrupt.get(), 1);
    let corrupt = listed(&inbox, Filter { state: Some(State::Corrupt), ..Filter::default() }).await;
    assert_eq!(corrupt.iter().map(|listed| (listed.id, listed.state)).collect::<Vec<_>>(), [(broken, State::Corrupt)]);
    assert_eq!(corrupt[0].deliveries[0].last.as_deref(), Some("unreadable"));
    assert!(inbox.show(broken).await.expect("shown").expect("there").body.is_none());
}

#[tokio::test]
async fn a_body_on_pages_that_are_damaged_is_set_aside_and_the_rest_goes_on() {
    let folder = Folder::new("pages");
    let inbox = folder.open();
    let broken = store(&inbox, callback(&"x".repeat(100_000))).await;
    store(&inbox, callback("two")).await;
    drop(inbox);
    // A long body is a chain of pages, each of which begins with the number of the next. Other pages begin with their kind.
    let mut disk = std::fs::read(&folder.rules.path).expect("a database");
    let mut chained = 0;
    for page in disk.chunks_mut(schema::PAGE as usize).filter(|page| page[0] == 0 && page[..4] != [0; 4]) {
        page[0] = 0xff;
        chained += 1;
    }
    assert!(chained > 5, "{chained}");
    std::fs::write(&folder.rules.path, disk).expect("damaged");
    let inbox = folder.open();
    assert_eq!(bodies(&inbox, "books").await, ["two"]);
    // What is set aside is written before what comes later.
    store(&inbox, callback("three")).await;
    let corrupt = listed(&inbox, Filter { state: Some(State::Corrupt), ..Filter::default() }).await;
    assert_eq!(corrupt.iter().map(|listed| listed.id).collect::<Vec<_>>(), [broken]);
}

#[tokio::test]
async fn closing_writes_what_was_queued_and_refuses_the_rest() {
    let folder = Folder::new("close");
    let inbox = folder.open();
    let appends: Vec<_> = (0..200)
        .map(|number| {
            let inbox = inbox.clone();
            tokio::spawn(async move { inbox.append(callback(&number.to_string())).await })
        })
        .collect();
    tokio::task::yield_now().await;
    inbox.close();
    let mut stored = 0;
    for append in appends {
        match append.await.expect("a task") {
            Ok(_) => stored += 1,
            Err(why) => assert_eq!(why, Unavailable::Closed),
        }
    }
    assert_eq!(inbox.check(), Err(Unavailable::Closed));
    drop(inbox);
    assert_eq!(listed(&folder.open(), Filter::default()).await.len(), stored);
}

#[tokio::test]
async fn a_bug_in_the_writer_costs_what_was_at_hand_and_needs_no_restart() {
    let folder = Folder::new("bug");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let held = inbox.lease("books", 1).await.expect("leases").pop().expect("one");
    // In the middle of a commit: what it has begun is undone. Until its file has its name again it is not opened again, so
    // that this test sees it closed however late it looks.
    damage(&inbox, |connection| {
        connection.execute_batch("DELETE FROM delivery").expect("begun");
        let path = connection.path().expect("a path");
        std::fs::rename(path, format!("{path}.away")).expect("renamed");
        panic!("a bug")
    });
    while inbox.check().is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(inbox.check(), Err(Unavailable::Failed));
    assert_eq!(inbox.0.shared.metrics.callbacks.inbox_up.get(), 0);
    assert_eq!(inbox.append(callback("two")).await, Err(Unavailable::Failed));
    assert_eq!(inbox.settle(&held, Settlement::Delivered).await, Err(Unavailable::Failed));
    let away = folder.rules.path.with_extension("db.away");
    std::fs::rename(away, &folder.rules.path).expect("renamed");
    append_until_taken(&inbox, "two").await;
    assert_eq!((inbox.check(), inbox.0.shared.metrics.callbacks.inbox_up.get()), (Ok(()), 1));
    assert_eq!(bodies(&inbox, "books").await, ["two"], "the lease is kept");
    inbox.settle(&held, Settlement::Delivered).await.expect("settled");
    drop((held, inbox));
    assert_eq!(bodies(&folder.open(), "books").await, ["two"]);
}

#[tokio::test]
async fn a_bug_that_comes_again_is_survived_again() {
    let folder = Folder::new("bugs");
    let inbox = folder.open();
    for body in ["one", "two", "three"] {
        damage(&inbox, |_| panic!("a bug"));
        append_until_taken(&inbox, body).await;
    }
    assert_eq!(bodies(&inbox, "books").await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_bug_in_a_question_costs_its_answer_and_nothing_else() {
    let folder = Folder::new("bug-read");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let asked = inbox.0.deliveries.ask(|_| -> rusqlite::Result<()> { panic!("a bug") }).await;
    assert_eq!(asked, Err(Unavailable::Failed));
    assert_eq!(bodies(&inbox, "books").await, ["one"]);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_written_to_a_file_without_its_name() {
    let folder = Folder::new("displaced");
    let inbox = folder.open();
    store(&inbox, callback("one")).await;
    let away = folder.rules.path.with_extension("db.away");
    std::fs::rename(&folder.rules.path, &away).expect("renamed");
    assert_eq!(inbox.append(callback("two")).await, Err(Unavailable::Failed));
    assert!(inbox.advice().is_some_and(|advice| advice.contains("is not the one that was opened")));
    assert!(!folder.rules.path.exists(), "no empty one is made in its place");
    std::fs::rename(&away, &folder.rules.path).expect("renamed");
    append_until_taken(&inbox, "two").await;
    assert_eq!(listed(&inbox, Filter::default()).await.len(), 2);
}

#[tokio::test]
async fn whoever_reads_keeps_the_database_open_until_it_has_failed() {
    let folder = Folder::new("reader");
    let inbox = folder.open();
    let ask = async |sql: &'static str| inbox.0.operators.ask(move |connection| connection.execute_batch(sql)).await;
    // Only the connection that made it knows it.
    ask("CREATE TEMP TABLE mine (a)").await.expect("made");
    let knows = "SELECT * FROM mine";
    assert_eq!(ask(knows).await, Ok(()));
    inbox.0.shared.generation.fetch_add(1, Ordering::AcqRel);
    assert_eq!(ask(knows).await, Err(Unavailable::Failed), "the database is opened again");
    ask("CREATE TEMP TABLE mine (a)").await.expect("made");
    assert_eq!(ask("SELECT * FROM nobodys").await, Err(Unavailable::Failed));
    assert_eq!(ask(knows).await, Err(Unavailable::Failed), "after a question that failed, too");
}

#[tokio::test]
async fn a_log_that_has_grown_is_moved_whole_between_two_commits() {
    let folder = Folder::new("long-log");
    folder.open().close();
    let grow = |bytes: u64| {
        let writer = schema::open(&folder.rules.path).expect("a database");
        let grow = "CREATE TABLE IF NOT EXISTS large (a); DELETE FROM large; INSERT INTO large VALUES (zeroblob";
        writer.execute_batch(&format!("{grow}({bytes}))")).expect("written");
    };
    // Its writer waits for the process before, so nobody but the thread that moves touches the log.
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::succeed(&folder.rules, &[], metrics).expect("an inbox");
    let progress = &inbox.0.shared.progress;
    grow(60 << 20);
    while !progress.wants_the_rest_moved() {
        progress.wrote(8 << 20);
        tokio::task::yield_now().await;
    }
    assert!(!progress.has_failed());
}
