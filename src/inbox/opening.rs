//! Opening the inbox: the lock, the key, the database, a new start, the threads. In this order.
//!
//! Whatever stands in the way becomes one sentence that says what to do; nothing is made beside a database that exists.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;

use rusqlite::{Connection, params};

use super::filter::State;
use super::health::Health;
use super::id::COUNTER_BITS;
use super::lease::Desk;
use super::place::Place;
use super::progress::Progress;
use super::queue::Queue;
use super::reading::Reader;
use super::shared::Shared;
use super::store::Store;
use super::vault::{Epoch, Keys, SALT, Vault};
use super::writer::Writer;
use super::{Open, checkpoint, key, recovery, schema};
use crate::config;
use crate::metrics::Metrics;

/// Why the inbox cannot be opened, and what to do: one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError(String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

pub(super) fn open(rules: &config::Inbox, receivers: &[String], metrics: Arc<Metrics>) -> Result<Open, OpenError> {
    let path = &rules.path;
    let lock = lock(path).map_err(OpenError)?;
    let exists = has_content(path) || has_content(&beside(path, "-wal"));
    let key = key::find(&rules.key, exists).map_err(OpenError)?;
    let connection = schema::open(path).map_err(recovery::sentence).map_err(OpenError)?;
    // Before anything is written.
    let mut store = recovery::take_over(connection).map_err(OpenError)?;
    let vault = Arc::new(begin(&store.connection, Keys::new(&key, &rules.old_keys)).map_err(OpenError)?);
    // The database, its log and its key are files of this directory.
    key::sync_directory(path).map_err(|error| OpenError(unusable(path, &error)))?;
    let place = Place::of(path).map_err(|error| OpenError(unusable(path, &error)))?;

    let shared = Arc::new(Shared {
        path: path.clone(),
        place,
        retain: rules.retain,
        max_bytes: rules.max_bytes,
        queue: Queue::default(),
        desk: Desk::new(receivers),
        health: Health::default(),
        progress: Progress::default(),
        generation: AtomicU64::new(0),
        metrics,
    });
    declare(receivers, &shared.metrics);
    for (receiver, deliveries) in
        unclaimed(&mut store, receivers).map_err(|error| OpenError(recovery::sentence(error.into())))?
    {
        // The name stood in an earlier configuration of ours.
        tracing::warn!(
            receiver = &*receiver,
            deliveries,
            "deliveries wait for a receiver that is not configured: put it back, or purge them"
        );
    }
    let no_thread = |_| OpenError("the system starts no thread for the inbox: raise its limit of threads".to_owned());
    let deliveries = Reader::start("inbox-lease", shared.clone()).map_err(no_thread)?;
    let operators = Reader::start("inbox-list", shared.clone()).map_err(no_thread)?;
    let thread = |name: &str| thread::Builder::new().name(name.to_owned());
    let moving = shared.clone();
    let mover = thread("inbox-move").spawn(move || checkpoint::run(&moving)).map_err(no_thread)?;
    let writer = Writer::new(shared.clone(), store, mover);
    let writer = thread("inbox-write").spawn(move || writer.run()).map_err(no_thread)?;
    Ok(Open { vault, shared, deliveries, operators, writer: Mutex::new(Some(writer)), _lock: lock })
}

/// The receivers that are not configured any more and for whom deliveries wait, and how many.
pub(super) fn unclaimed(store: &mut Store, receivers: &[String]) -> rusqlite::Result<Vec<(Arc<str>, u64)>> {
    let mut found = Vec::new();
    for (receiver, count) in store.census.waiting() {
        let name = store.text(receiver)?;
        if !receivers.iter().any(|configured| **configured == *name) {
            found.push((name, count));
        }
    }
    Ok(found)
}

/// Series that stand at zero are there from the start, so that an alert can rely on them.
fn declare(receivers: &[String], metrics: &Metrics) {
    let callbacks = &metrics.callbacks;
    callbacks.inbox_up.set(1);
    for receiver in receivers {
        for state in [State::Waiting, State::Delivered, State::Dead] {
            callbacks.entries.with_label_values(&[receiver.as_str(), state.as_str()]).set(0);
        }
        for state in [State::Waiting, State::Dead] {
            callbacks.oldest_seconds.with_label_values(&[receiver.as_str(), state.as_str()]).set(0);
        }
    }
}

fn beside(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn unusable(path: &Path, error: &std::io::Error) -> String {
    let shown = path.display();
    format!("the directory of inbox.path {shown} cannot be used ({}): let the gateway write it", error.kind())
}

/// Makes the directory and locks the file beside the database. The lock ends with the file, also after a crash.
fn lock(path: &Path) -> Result<File, String> {
    let open = || -> std::io::Result<File> {
        key::make_directory(key::directory(path))?;
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, ".lock"))
    };
    let file = open().map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another gateway uses the inbox at {}: stop it, or give this one a path of its own",
            path.display()
        )),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

/// Begins a new start: a number that was never used, and a salt of its own.
fn begin(connection: &Connection, keys: Keys) -> Result<Vault, String> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| "the system gives no random bytes".to_owned())?;
    let read = || -> rusqlite::Result<Vec<Epoch>> {
        connection
            .prepare("SELECT id, key, salt FROM epoch ORDER BY id")?
            .query_map([], |row| {
                Ok(Epoch { id: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), key: row.get(1)?, salt: row.get(2)? })
            })?
            .collect()
    };
    // A start whose entries are all purged needs no key. The last one stays, so that no number comes twice.
    let unused = "DELETE FROM epoch WHERE id < (SELECT max(id) FROM epoch) \
                  AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id >= epoch.id << ?1 AND entry.id < (epoch.id + 1) << ?1)";
    let past = connection
        .execute(unused, [COUNTER_BITS])
        .and_then(|_| read())
        .map_err(|error| recovery::sentence(error.into()))?;
    if past.iter().any(|epoch| !keys.has(epoch.key)) {
        return Err(
            "the inbox holds callbacks that were sealed with a key which is not configured: put that key into \
                    inbox.key or inbox.old_keys"
                .to_owned(),
        );
    }
    let id = past.last().map_or(1, |epoch| epoch.id + 1);
    let epoch = Epoch { id, key: keys.current(), salt };
    connection
        .execute(
            "INSERT INTO epoch (id, key, salt) VALUES (?1, ?2, ?3)",
            params![super::store::number(id), epoch.key, epoch.salt],
        )
        .map_err(|error| recovery::sentence(error.into()))?;
    Ok(Vault::new(keys, epoch, past))
}
