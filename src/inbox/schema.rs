//! The tables, how a connection to them is set up, and how an older database is brought forward.
//!
//! Migrations go forward only, each once, in one transaction. It never reads or writes an entry.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Marks the file as ours: "AIRU".
pub(super) const APPLICATION_ID: i32 = 0x4149_5255;

/// Another process may hold the lock for a moment (an operator's shell); longer than this is a failure.
const BUSY: Duration = Duration::from_millis(500);

/// Bytes of a page: a body of 1 KiB leaves little of it unused, and a commit touches few of them.
pub(super) const PAGE: u32 = 8192;

/// Each brings the database from the version of its index to the next. Never change one that was released.
///
/// * Ids grow with time, so entries, bodies and deliveries are appended at the end of their trees, and a range of ids is
///   a range of time. Bodies stand apart, so that a listing never reads them.
/// * There is no index on tags and digests: they are random, so each append would touch a page of its own. A search reads
///   the narrow entries in order; digests of the last ten minutes are in memory.
/// * `delivery_due` holds what may be leased and nothing else, so leasing is one range. A delivery that waits for the one
///   before it (state 1) is not in it.
/// * `entry_delivered` holds what may be purged and nothing else.
/// * `keyed` holds one row for each idempotency key. Its tag is indexed although it is random: each call with a key has to
///   find its row, and such calls are as many as a platform takes, not as many as callbacks come. `keyed_ended` is what
///   may be forgotten, in the order of time; `keyed_open` what nobody knows the end of.
/// * `ledger` grows at its end and shrinks at its beginning, and is searched in order like the entries: no index costs an
///   append anything. A row is a block of calls, because a row for each call cost more than all the rest of it; its id is the
///   number of bytes that the blocks before it took. Its ids stand before the rest, so that a search reads no further.
pub(super) const MIGRATIONS: [&str; 5] = [
    "
    CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE epoch (id INTEGER PRIMARY KEY, key BLOB NOT NULL, salt BLOB NOT NULL) STRICT;
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        source INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        received INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        state INTEGER NOT NULL,
        repeat INTEGER NOT NULL,
        digest BLOB NOT NULL,
        tags BLOB NOT NULL,
        reason TEXT
    ) STRICT;
    CREATE INDEX entry_quarantined ON entry (source, id) WHERE state = 1;
    CREATE INDEX entry_delivered ON entry (id) WHERE state = 3;
    CREATE TABLE body (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
    CREATE TABLE delivery (
        entry INTEGER NOT NULL,
        receiver INTEGER NOT NULL,
        state INTEGER NOT NULL,
        due INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        redriven INTEGER NOT NULL,
        chain BLOB,
        last TEXT,
        settled INTEGER,
        PRIMARY KEY (entry, receiver)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX delivery_due ON delivery (receiver, due, entry) WHERE state = 0;
    CREATE INDEX delivery_chain ON delivery (receiver, chain, state, entry) WHERE chain IS NOT NULL AND state < 2;
    CREATE INDEX delivery_dead ON delivery (receiver, entry) WHERE state = 3;
",
    "
    CREATE TABLE keyed (
        id INTEGER PRIMARY KEY,
        tag BLOB NOT NULL UNIQUE,
        alone BLOB NOT NULL,
        body BLOB NOT NULL,
        program INTEGER NOT NULL,
        account INTEGER NOT NULL,
        operation INTEGER NOT NULL,
        state INTEGER NOT NULL,
        claimed INTEGER NOT NULL,
        ended INTEGER,
        status INTEGER,
        bytes INTEGER NOT NULL,
        operator INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX keyed_open ON keyed (id) WHERE state < 2;
    CREATE INDEX keyed_ended ON keyed (ended) WHERE ended IS NOT NULL;
    CREATE TABLE answer (id INTEGER PRIMARY KEY, nonce INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
    CREATE INDEX answer_nonce ON answer (nonce);
",
    "
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        request BLOB NOT NULL,
        at INTEGER NOT NULL,
        program INTEGER NOT NULL,
        account INTEGER NOT NULL,
        operation INTEGER NOT NULL,
        key BLOB,
        tags BLOB NOT NULL,
        sent TEXT NOT NULL,
        status INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        code INTEGER,
        replayed INTEGER NOT NULL,
        phases BLOB NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE entry ADD COLUMN parent TEXT;
",
    "
    -- What was noted before goes: no version that wrote it so was released.
    DROP TABLE ledger;
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        newest INTEGER NOT NULL,
        ids BLOB NOT NULL,
        calls BLOB NOT NULL
    ) STRICT;
",
];

/// Why a file is not used.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another program's database.
    Foreign,
    /// Made by a later version of the gateway.
    Newer(i32),
    /// SQLite says so.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Writes one page and syncs it, to find out whether the disk takes anything.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))
}

/// A connection that writes, to a database of the newest version; the file is made when it is missing.
///
/// # Errors
/// When the file is not ours, newer, corrupt, or cannot be opened.
pub(super) fn open(path: &Path) -> Result<Connection, Refused> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let owner: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let is_new = version == 0 && owner == 0 && tables == 0;
    if !is_new && owner != APPLICATION_ID {
        return Err(Refused::Foreign);
    }
    let known = MIGRATIONS.len();
    let Some(rest) = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) else {
        return Err(Refused::Newer(version));
    };
    // The page size is fixed with the first page, the mode of the journal once and for all.
    if is_new {
        connection.pragma_update(None, "page_size", PAGE)?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    if !rest.is_empty() {
        let steps = rest.concat();
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known}; COMMIT"
        ))?;
    }
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A connection that only moves the log into the database.
pub(super) fn open_to_checkpoint(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // One thread has it at a time, so it needs no lock of its own.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    // The last connection would otherwise checkpoint as it closes, and sync a handle whose sync has just failed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // An acknowledged callback survives a loss of power: each commit syncs the log.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The log is moved by a thread of its own.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> Vec<String> {
        let mut all =
            connection.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").expect("sql");
        all.query_map([], |row| row.get(0)).expect("rows").collect::<rusqlite::Result<_>>().expect("texts")
    }

    #[test]
    fn a_database_of_each_earlier_version_is_brought_forward_with_what_it_holds() {
        let folder = std::env::temp_dir().join(format!("schema-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let new = open(&folder.join("new.db")).expect("a new one");
        for version in 1..MIGRATIONS.len() {
            let path = folder.join(format!("{version}.db"));
            let old =
                connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).expect("a file");
            old.execute_batch(&format!(
                "{} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; \
                 INSERT INTO name (text) VALUES ('kept')",
                MIGRATIONS[..version].concat()
            ))
            .expect("an old database");
            drop(old);
            let opened = open(&path).expect("brought forward");
            assert_eq!(tables(&opened), tables(&new), "version {version}");
            let kept: String = opened.query_row("SELECT text FROM name", [], |row| row.get(0)).expect("a row");
            assert_eq!(kept, "kept");
            drop(opened);
            open(&path).expect("and opened again");
        }
        drop(new);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
