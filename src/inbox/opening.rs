//! Opening the inbox for the first time: the lock, whose file it is, the key, the database, a new start. In this
//! order.
//!
//! Whatever stands in the way becomes one sentence that says what to do; nothing is made beside a database that exists.
//! It may be tried any number of times: a try that fails leaves nothing open.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::id::COUNTER_BITS;
use super::obstacle::Obstacle;
use super::place::Place;
use super::store::Store;
use super::vault::{Epoch, KeyId, Keys, SALT, Vault};
use super::{header, key, keyed, recovery, schema};
use crate::config;

/// The mode of what is made here: for its owner, and nobody else.
const PRIVATE: u32 = 0o600;

/// What is to be opened.
pub(super) struct Opening {
    pub(super) rules: config::Inbox,
    /// Names of those that are configured.
    pub(super) receivers: Vec<String>,
}

/// What was opened.
pub(super) struct Opened {
    pub(super) vault: Vault,
    pub(super) store: Store,
    pub(super) place: Place,
    /// Locked as long as this lives, so that no other gateway uses the same database.
    pub(super) lock: File,
}

impl Opening {
    /// Makes or opens the database, checks the key, migrates forward. Blocking.
    ///
    /// # Errors
    /// What stands in the way. Nothing stays open then.
    pub(super) fn attempt(&self) -> Result<Opened, Obstacle> {
        let path = &self.rules.path;
        let lock = lock(path)?;
        let log = beside(path, "-wal");
        // A database of ours has a log beside it from its first moment on.
        header::check(path, log.exists())?;
        let key = key::find(&self.rules.key, has_content(path) || has_content(&log))?;
        make_private(path).map_err(|error| unusable(path, &error))?;
        // Taken over before anything is written.
        let mut store = recovery::take_over(schema::open(path)?)?;
        let vault = begin(&store.connection, Keys::new(&key, &self.rules.old_keys))?;
        keyed::begin(&store.connection)?;
        store.keyed = keyed::count(&store.connection)?;
        // The database, its log and its key are files of this directory.
        key::sync_directory(path).map_err(|error| unusable(path, &error))?;
        let place = Place::of(path).map_err(|error| unusable(path, &error))?;
        tell_unclaimed(&mut store, &self.receivers)?;
        Ok(Opened { vault, store, place, lock })
    }

    /// Looks for mistakes, and makes and changes nothing, so also while another gateway uses the database.
    ///
    /// # Errors
    /// What would stand in the way. Not all of it is looked for: neither locks nor rights nor room.
    pub(super) fn look(&self) -> Result<(), Obstacle> {
        let path = &self.rules.path;
        let log = beside(path, "-wal");
        header::check(path, log.exists())?;
        let key = key::look(&self.rules.key, has_content(path) || has_content(&log))?;
        let Some(key) = key.filter(|_| log.exists()) else { return Ok(()) };
        let keys = Keys::new(&key, &self.rules.old_keys);
        let connection = schema::open_to_read(path)?;
        let (first, end) = (format!("epoch.id << {COUNTER_BITS}"), format!("(epoch.id + 1) << {COUNTER_BITS}"));
        // What a start would not drop as unused. A former gateway kept no keys of calls.
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let is_former = usize::try_from(version).is_ok_and(|version| version < schema::MIGRATIONS.len());
        let keyed = if is_former { "FALSE".to_owned() } else { keyed::epoch_is_used() };
        let mut used = connection.prepare(&format!(
            "SELECT key FROM epoch WHERE id = (SELECT max(id) FROM epoch) OR {keyed} \
             OR EXISTS (SELECT 1 FROM entry WHERE entry.id >= {first} AND entry.id < {end})"
        ))?;
        let used: Vec<KeyId> = used.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        if used.iter().all(|key| keys.has(*key)) { Ok(()) } else { Err(another_key()) }
    }
}

fn another_key() -> Obstacle {
    Obstacle::mistake(
        "the inbox holds callbacks that were sealed with a key which is not configured: put that key into \
         inbox.key or inbox.old_keys",
    )
}

/// Warns of what waits for receivers that are not among these.
pub(super) fn tell_unclaimed(store: &mut Store, receivers: &[String]) -> rusqlite::Result<()> {
    for (receiver, deliveries) in unclaimed(store, receivers)? {
        // The name stood in an earlier configuration of ours.
        tracing::warn!(
            receiver = &*receiver,
            deliveries,
            "deliveries wait for a receiver that is not configured: put it back, or purge them"
        );
    }
    Ok(())
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

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn unusable(path: &Path, error: &io::Error) -> Obstacle {
    let shown = path.display();
    let sentence =
        format!("the directory of inbox.path {shown} cannot be used ({}): let the gateway write it", error.kind());
    Obstacle::of_files(error, sentence)
}

/// Makes the directory and locks the file beside the database. The lock ends with the file, also after a crash.
fn lock(path: &Path) -> Result<File, Obstacle> {
    let open = || -> io::Result<File> {
        key::make_directory(key::directory(path))?;
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(beside(path, ".lock"))
    };
    let file = open().map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Obstacle::trouble(format!(
            "another gateway uses the inbox at {}: stop it, or give this one a path of its own",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

/// Makes the file of a database that is not there yet, empty and for nobody else: SQLite gives its log and its index the mode of
/// the database, and would give the database that of the process. One that is there keeps what its operator gave it.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Begins a new start: a number that was never used, and a salt of its own.
fn begin(connection: &Connection, keys: Keys) -> Result<Vault, Obstacle> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt)
        .map_err(|_| Obstacle::trouble("the system gives no random bytes: look at its kernel"))?;
    let read = || -> rusqlite::Result<Vec<Epoch>> {
        connection
            .prepare("SELECT id, key, salt FROM epoch ORDER BY id")?
            .query_map([], |row| {
                Ok(Epoch { id: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), key: row.get(1)?, salt: row.get(2)? })
            })?
            .collect()
    };
    // A start whose entries are all purged needs no key. The last one stays, so that no number comes twice.
    let unused = format!(
        "DELETE FROM epoch WHERE id < (SELECT max(id) FROM epoch) \
         AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id >= epoch.id << ?1 AND entry.id < (epoch.id + 1) << ?1) \
         AND NOT {}",
        keyed::epoch_is_used()
    );
    connection.execute(&unused, [COUNTER_BITS])?;
    let past = read()?;
    if past.iter().any(|epoch| !keys.has(epoch.key)) {
        return Err(another_key());
    }
    let id = past.last().map_or(1, |epoch| epoch.id + 1);
    let epoch = Epoch { id, key: keys.current(), salt };
    connection.execute(
        "INSERT INTO epoch (id, key, salt) VALUES (?1, ?2, ?3)",
        params![super::store::number(id), epoch.key, epoch.salt],
    )?;
    Ok(Vault::new(keys, epoch, past))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_for_the_database_is_made_once_or_it_is_told_why_not() {
        let folder = std::env::temp_dir().join(format!("opening-{}", std::process::id()));
        let path = folder.join("inbox.db");
        assert!(make_private(&path).is_err(), "its directory is not there");
        fs::create_dir_all(&folder).expect("a folder");
        assert!(make_private(&path).is_ok() && !has_content(&path));
        fs::write(&path, "something").expect("written");
        assert!(make_private(&path).is_ok() && has_content(&path), "what is there stays");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
