//! The writer without a thread: what a batch does, and what is to be done next.
//! All of it happens in the thread of the test, so nothing has to be waited for.

use std::thread;

use tokio::sync::oneshot;

use super::*;
use crate::inbox::Inbox;
use crate::inbox::entry::Answer;
use crate::inbox::id::EntryId;
use crate::inbox::keyed::change::{Change, Work};
use crate::inbox::keyed::{self, KeyId};
use crate::inbox::ledger::{Named, Pushed};
use crate::inbox::opening::Opening;
use crate::inbox::queue::{Append, Purged, Quarantine};
use crate::inbox::tests::telling::told;
use crate::inbox::tests::{Folder, noted};
use crate::metrics::Metrics;

mod noting;

const HOUR: Duration = Duration::from_secs(3600);

/// A writer beside an inbox whose own threads have ended. The process before has its database until [`Alone::open`].
struct Alone {
    writer: Writer,
    shared: Arc<Shared>,
    _folder: Folder,
}

impl Alone {
    fn closed(name: &str) -> Self {
        let folder = Folder::new(name);
        let receivers = vec!["books".to_owned()];
        let metrics = Arc::new(Metrics::try_new().expect("metrics"));
        let inbox = Inbox::succeed(&folder.rules, &receivers, metrics).expect("an inbox");
        inbox.close();
        let shared = inbox.0.shared.clone();
        let home = Home::new(Opening { rules: folder.rules.clone(), receivers });
        let writer = Writer::new(shared.clone(), home, Err(Unavailable::Elsewhere), thread::spawn(|| ()));
        Self { writer, shared, _folder: folder }
    }

    fn open(name: &str) -> Self {
        let mut alone = Self::closed(name);
        alone.writer.open();
        assert_eq!(alone.shared.health.check(), Ok(()));
        alone
    }

    fn next_id(&self) -> EntryId {
        self.shared.vault.get().and_then(|vault| vault.next_id()).expect("an id")
    }

    fn store(&self) -> &Store {
        self.writer.store.as_ref().expect("it is open")
    }

    fn sql(&self, sql: &str) {
        self.store().connection.execute_batch(sql).expect("executed");
    }

    fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        self.store().connection.query_row(&count, [], |row| row.get(0)).expect("a count")
    }

    /// Writes one job and returns what whoever waits for it is told.
    fn ask<T>(&mut self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, Unavailable> {
        let (answer, mut answered) = oneshot::channel();
        self.writer.write(vec![job(answer)]);
        answered.try_recv().expect("it is answered")
    }

    /// Settles a key as not sent.
    fn settle(&mut self, number: u8) -> Result<bool, Unavailable> {
        let id: KeyId = format!("key_{number:016x}").parse().expect("an id");
        self.ask(|answer| Job::Keyed(Work { change: Change::Settle(id, None), answer }))
    }

    /// Purges these, whether they wait or not: as a whole, or for one receiver.
    fn purge_of(&mut self, ids: &[EntryId], receiver: Option<&str>) -> Result<u64, Unavailable> {
        let purged = Purged { receiver: receiver.map(Into::into), waiting_too: true };
        self.ask(|answer| Job::Purge(ids.to_vec(), purged, answer))
    }

    /// Appends so many callbacks of so many bytes; of before anything that is kept, if they are old.
    fn fill(&mut self, count: usize, bytes: usize, receivers: &[&str], is_old: bool) -> Vec<EntryId> {
        let received_ms = if is_old { 1 } else { clock::wall_millis() };
        let ids: Vec<_> = (0..count).map(|_| self.next_id()).collect();
        let appends = ids.iter().map(|id| Box::new(Append::of(*id, bytes, receivers, received_ms)));
        // Nobody waits for the answers.
        self.writer.write(appends.map(|append| Job::Append(append, oneshot::channel().0)).collect());
        ids
    }

    /// Remembered answers of so many bytes; of before anything that is kept, if they are old.
    fn remember(&mut self, count: usize, bytes: usize, is_old: bool) {
        let first = self.count("keyed") + 1;
        let ended = if is_old { 1 } else { clock::wall_millis() };
        self.sql(&format!(
            "INSERT INTO name (text) VALUES ('-') ON CONFLICT DO NOTHING; \
             WITH RECURSIVE next (id) AS (VALUES ({first}) UNION ALL SELECT id + 1 FROM next LIMIT {count}) \
             INSERT INTO keyed SELECT id, randomblob(16), x'', x'', 1, 1, 1, 2, 1, {ended}, 200, {bytes}, 0 FROM next; \
             INSERT INTO answer SELECT id, id, zeroblob({bytes}) FROM keyed WHERE id >= {first}"
        ));
        let store = self.writer.store.as_mut().expect("it is open");
        store.keyed = keyed::count(&store.connection).expect("counted");
    }

    fn used(&self) -> u64 {
        recovery::used_bytes(&self.store().connection).expect("counted")
    }

    /// There is room for so much.
    fn have(&mut self, max: u64) {
        self.writer.room = Room::new(max);
        self.writer.room.look(self.used());
    }

    /// Short of room, and no more when so much is gone as a large body takes.
    fn be_short(&mut self) {
        self.have(self.used() + 4096);
        assert!(self.writer.room.is_short());
    }

    /// An empty batch that purges; whether there may be more to purge after it.
    fn purge(&mut self) -> bool {
        self.writer.purging = true;
        self.writer.write(Vec::new());
        self.writer.purging
    }

    fn syncs(&self) -> u64 {
        self.shared.metrics.callbacks.sync_seconds.get_sample_count()
    }
}

/// More than the room that is left may differ by.
const LARGE: usize = 200_000;

fn note(alone: &Alone, number: u128) -> Pushed {
    alone.shared.ledger.push(&noted(number, &Named::default()))
}

#[test]
fn a_writer_that_has_nothing_to_do_waits_and_one_without_its_database_tries_soon() {
    let mut alone = Alone::closed("writer-elsewhere");
    alone.writer.upkeep_at = clock::now() + HOUR;
    assert!(alone.writer.patience() > HOUR / 2, "the process before has it");
    alone.writer.open();
    assert!(alone.writer.patience() > HOUR / 2, "it is open");
    for flags in [(true, false), (false, true)] {
        (alone.writer.purging, alone.writer.noting) = flags;
        assert_eq!(alone.writer.patience(), Duration::ZERO, "there may be more to purge or to note");
    }
    alone.writer.noting = false;
    alone.writer.fail(Unavailable::Failed);
    assert!(alone.writer.patience() < HOUR / 2, "it is tried again");
}

#[test]
fn upkeep_is_due_again_later_and_notes_what_there_is() {
    let mut alone = Alone::open("writer-upkeep");
    let before = clock::now();
    alone.writer.keep_up();
    assert!(alone.writer.upkeep_at >= before + UPKEEP);
    assert!(alone.writer.purging && !alone.writer.noting);
    assert_eq!(note(&alone, 1), Pushed::Waits);
    alone.writer.keep_up();
    assert!(alone.writer.noting);
    alone.writer.fail(Unavailable::Failed);
    alone.writer.keep_up();
    assert!(!alone.writer.purging && !alone.writer.noting, "there is nothing to purge in");
}

#[test]
fn what_was_synced_is_observed_and_what_changed_nothing_is_not() {
    let mut alone = Alone::open("writer-syncs");
    alone.writer.write(Vec::new());
    assert_eq!(alone.syncs(), 0);
    alone.fill(1, 10, &[], true);
    assert_eq!(alone.syncs(), 1, "a job");
    alone.purge();
    assert_eq!((alone.syncs(), alone.count("entry")), (2, 0), "what is purged");
    alone.purge();
    assert_eq!(alone.syncs(), 2);
    alone.remember(1, 10, true);
    alone.purge();
    assert_eq!((alone.syncs(), alone.count("keyed")), (3, 0), "what is forgotten");
    alone.remember(1, 10, false);
    alone.have(1);
    alone.purge();
    assert_eq!((alone.syncs(), alone.count("keyed"), alone.count("answer")), (4, 1, 0), "an answer that is dropped");
    alone.writer.room = Room::new(1 << 30);
    assert_eq!(note(&alone, 1), Pushed::Waits);
    alone.writer.noting = true;
    alone.writer.write(Vec::new());
    assert_eq!((alone.syncs(), alone.count("ledger")), (5, 1), "a call that is noted");
}

#[test]
fn purging_goes_on_while_there_may_be_more_and_no_longer() {
    let mut alone = Alone::open("writer-purging");
    alone.fill(PURGE + 1, 10, &[], true);
    assert!(alone.purge());
    assert_eq!(alone.count("entry"), 1);
    assert!(!alone.purge(), "that was the last one");
    assert_eq!(alone.count("entry"), 0);
    alone.remember(PURGE + 1, 10, true);
    assert!(alone.purge());
    assert!(!alone.purge());
    assert_eq!(alone.count("keyed"), 0);
}

#[test]
fn while_room_is_short_purging_goes_on_as_long_as_it_finds_something() {
    let mut alone = Alone::open("writer-short");
    alone.fill(1, 10, &["books"], false);
    alone.fill(1, 10, &[], false);
    alone.remember(2, 10, false);
    alone.remember(1, 10, true);
    alone.have(1);
    assert!(alone.purge(), "the delivered one and the key whose time is over have gone");
    assert_eq!((alone.count("entry"), alone.count("keyed"), alone.count("answer")), (1, 2, 2));
    assert!(alone.purge(), "the answers have gone");
    assert_eq!((alone.count("entry"), alone.count("keyed"), alone.count("answer")), (1, 2, 0));
    assert!(!alone.purge(), "what waits never goes, and nothing else is left");
    alone.fill(1, 10, &[], false);
    assert_eq!(alone.count("entry"), 1, "there is no room");
}

#[test]
fn what_is_done_with_makes_room_before_any_answer_does() {
    for (is_delivered, is_forgotten) in [(true, false), (false, true), (true, true)] {
        let mut alone = Alone::open("writer-order");
        alone.remember(1, 10, false);
        if is_delivered {
            alone.fill(1, LARGE, &[], false);
        }
        if is_forgotten {
            alone.remember(1, LARGE, true);
        }
        alone.be_short();
        assert!(!alone.purge(), "it is room enough");
        assert_eq!((alone.count("entry"), alone.count("keyed"), alone.count("answer")), (0, 1, 1));
    }
    let mut alone = Alone::open("writer-answers");
    alone.remember(1, LARGE, false);
    alone.be_short();
    assert!(!alone.purge(), "it is room enough");
    assert_eq!((alone.count("keyed"), alone.count("answer")), (1, 0));
}

#[test]
fn no_more_goes_than_room_needs() {
    let mut alone = Alone::open("writer-enough");
    alone.fill(PURGE + 10, 1000, &[], false);
    alone.be_short();
    alone.writer.purging = true;
    while alone.writer.purging {
        alone.writer.write(Vec::new());
    }
    assert_eq!(alone.count("entry"), 10);
}

#[test]
fn a_key_whose_answer_finds_no_room_has_some_looked_for() {
    let mut alone = Alone::open("writer-refused");
    assert_eq!((alone.settle(1), alone.writer.purging), (Ok(false), false), "there is no such key");
    alone.have(1);
    let claimed = alone.ask(|answer| Job::Keyed(Work { change: Change::claim(1), answer }));
    assert_eq!((claimed, alone.writer.purging), (Err(Unavailable::Full), true));
    assert_eq!(alone.shared.health.check(), Ok(()), "a callback may still find its own");
}

#[test]
fn a_batch_that_leaves_little_room_has_some_made_at_once() {
    let mut alone = Alone::open("writer-soon");
    let used = alone.used();
    alone.have(2 * used);
    alone.fill(1, usize::try_from(used).expect("small") - 10_000, &["books"], false);
    assert!(alone.writer.purging && alone.shared.health.check().is_ok());
    alone.fill(1, 10_000, &["books"], false);
    assert_eq!(alone.shared.health.check(), Err(Unavailable::Full));
    assert!(alone.writer.purging, "whoever was refused comes again");
}

#[test]
fn what_stands_where_is_shown_when_it_changes() {
    let mut alone = Alone::open("writer-shown");
    alone.remember(1, 10, false);
    alone.sql("UPDATE keyed SET state = 1; DELETE FROM answer");
    let store = alone.writer.store.as_mut().expect("it is open");
    store.keyed = keyed::count(&store.connection).expect("counted");
    alone.writer.look().expect("looked");
    let shown = |alone: &Alone| (alone.shared.metrics.keyed.unknown.get(), alone.shared.metrics.keyed.remembered.get());
    assert_eq!(shown(&alone), (1, 0));
    assert_eq!((alone.settle(1), shown(&alone)), (Ok(true), (0, 0)));
}

#[test]
fn a_receiver_that_is_gone_is_shown_while_something_is_for_it() {
    let mut alone = Alone::open("writer-former");
    let former = alone.fill(2, 10, &["former"], false);
    let known = alone.fill(1, 10, &["books"], false);
    let is_shown = |alone: &mut Alone, receiver: &str, waiting: u64| {
        alone.writer.look().expect("looked");
        let line = format!("inbox_entries{{receiver=\"{receiver}\",state=\"waiting\"}} {waiting}\n");
        String::from_utf8(alone.shared.metrics.encode()).expect("text").contains(&line)
    };
    assert!(is_shown(&mut alone, "former", 2) && is_shown(&mut alone, "books", 1));
    assert_eq!(alone.purge_of(&former[..1], None), Ok(1));
    assert_eq!(alone.purge_of(&former[..1], None), Ok(0), "it is gone");
    assert!(is_shown(&mut alone, "former", 1));
    assert_eq!(alone.purge_of(&[former[1], known[0]], None), Ok(2));
    assert!(is_shown(&mut alone, "books", 0), "it is configured");
    assert!(!is_shown(&mut alone, "former", 0), "nothing is for it");
}

#[test]
fn a_source_whose_quarantine_was_emptied_is_shown_as_empty() {
    let mut alone = Alone::open("writer-quarantine");
    let shown = |alone: &mut Alone, source: &str| {
        alone.writer.look().expect("looked");
        alone.shared.metrics.callbacks.quarantined.with_label_values(&[source]).get()
    };
    let mut ids = Vec::new();
    for source in ["calls", "agents"] {
        let id = alone.next_id();
        let (source, sealed, received_ms) = (source.into(), vec![0], clock::wall_millis());
        let quarantine = Quarantine { id, source, received_ms, bytes: 1, reason: "digest", most: 10, sealed };
        assert_eq!(alone.ask(|answer| Job::Quarantine(Box::new(quarantine), answer)), Ok(()));
        ids.push(id);
    }
    for _ in 0..2 {
        assert_eq!((shown(&mut alone, "calls"), shown(&mut alone, "agents")), (1, 1));
    }
    assert_eq!(alone.purge_of(&ids[..1], Some("books")), Ok(0), "it is nobody's");
    assert_eq!(alone.purge_of(&ids[..1], None), Ok(1));
    assert_eq!((shown(&mut alone, "calls"), shown(&mut alone, "agents")), (0, 1));
}

#[test]
fn a_full_inbox_takes_callbacks_again_when_there_is_room_and_the_disk_takes_something() {
    let mut alone = Alone::open("writer-full");
    let state = |alone: &Alone| alone.shared.health.check();
    alone.writer.is_full(FULL);
    alone.sql("PRAGMA query_only = true");
    assert!(alone.writer.look().is_err() && state(&alone) == Err(Unavailable::Full), "the disk takes nothing");
    alone.sql("PRAGMA query_only = false");
    alone.writer.room = Room::new(alone.used());
    assert!(alone.writer.look().is_ok() && state(&alone) == Err(Unavailable::Full), "it is full");
    alone.writer.room = Room::new(1 << 30);
    assert!(alone.writer.look().is_ok() && state(&alone) == Ok(()));
    assert!(alone.shared.health.sentence().is_none());
    alone.shared.health.set(Err(Unavailable::Failed));
    assert!(alone.writer.look().is_ok() && state(&alone) == Err(Unavailable::Failed), "room does not mend a disk");
}

#[test]
fn a_full_disk_undoes_what_was_begun_and_keeps_the_database_open() {
    let mut alone = Alone::open("writer-disk");
    let full = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
    for begun in ["", "BEGIN"] {
        alone.sql(begun);
        alone.writer.purging = true;
        assert_eq!(alone.writer.recover(&full()), Unavailable::Full);
        assert!(alone.store().connection.is_autocommit() && !alone.writer.purging);
    }
    let other = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None);
    assert_eq!(alone.writer.recover(&other), Unavailable::Failed);
    assert!(alone.writer.store.is_none(), "a handle that failed is not used again");
}

#[test]
fn the_rest_of_the_log_is_moved_when_that_is_asked_for() {
    let mut alone = Alone::open("writer-rest");
    alone.fill(1, LARGE, &["books"], false);
    let size = |alone: &Alone| std::fs::metadata(&alone.shared.path).expect("a database").len();
    let before = size(&alone);
    alone.writer.move_the_rest();
    assert_eq!(size(&alone), before, "nobody has asked");
    alone.shared.progress.rest.store(true, Ordering::Release);
    alone.writer.move_the_rest();
    assert!(size(&alone) > before + LARGE as u64 / 2);
}

#[test]
fn a_log_that_could_not_be_moved_has_the_database_opened_again() {
    let mut alone = Alone::open("writer-failed");
    let generation = alone.shared.generation();
    alone.shared.progress.failed.store(true, Ordering::Release);
    alone.writer.move_the_rest();
    assert!(alone.writer.store.is_none() && alone.shared.generation() > generation);
    assert_eq!(alone.shared.health.check(), Err(Unavailable::Failed));
    let ((), lines) = told(|| alone.writer.open());
    assert!(matches!(&lines[..], [line] if line.contains("takes callbacks again")), "{lines:?}");
    assert_eq!(alone.shared.health.check(), Ok(()));
}

#[test]
fn an_inbox_that_comes_over_was_in_good_hands_and_the_log_says_so() {
    let mut alone = Alone::closed("writer-over");
    let ((), lines) = told(|| alone.writer.open());
    assert!(matches!(&lines[..], [line] if line.contains("has come over")), "{lines:?}");
}

#[test]
fn after_a_bug_that_nothing_helped_against_nobody_waits() {
    let Alone { writer, shared, _folder } = Alone::open("writer-bug");
    let ended = thread::spawn(move || {
        let _writer = writer;
        panic!("a bug");
    });
    assert!(ended.join().is_err() && shared.health.check() == Err(Unavailable::Failed));
    let Alone { writer, shared, _folder } = Alone::open("writer-no-bug");
    drop(writer);
    assert_eq!(shared.health.check(), Ok(()), "whoever ends it says so");
}
