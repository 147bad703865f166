//! Taking a database over: at the start, and after the disk has failed.
//!
//! Nothing is appended before the log is checkpointed whole. It never makes a database.

use rusqlite::{Connection, params};

use super::census::Census;
use super::keyed;
use super::marks::{self, Marks};
use super::shared::code;
use super::store::Store;
use crate::clock;

/// Makes everything that can be read durable, then reads back what is kept in memory.
///
/// Pages of the log whose sync failed may be marked clean in the page cache, so they are not on disk although they can be
/// read. A checkpoint that truncates writes them anew, into the database, and syncs that.
///
/// # Errors
/// What SQLite says.
pub(super) fn take_over(connection: Connection) -> rusqlite::Result<Store> {
    let blocked: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if blocked != 0 {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None));
    }
    let (marks, census) = (read_marks(&connection)?, Census::take(&connection)?);
    let keyed = keyed::count(&connection)?;
    Ok(Store::new(connection, marks, census, keyed))
}

pub(super) fn read_marks(connection: &Connection) -> rusqlite::Result<Marks> {
    let now_ms = clock::wall_millis();
    let since = now_ms.saturating_sub(marks::WINDOW_MS);
    let mut newest =
        connection.prepare("SELECT received, digest FROM entry WHERE state <> 1 ORDER BY id DESC LIMIT ?1")?;
    let mut rows = newest.query(params![super::store::number(Marks::most() as u64)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let received = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
        // Ids follow time closely, not exactly; a minute covers what was queued.
        if received.saturating_add(60_000) < since {
            break;
        }
        found.push((received, row.get(1)?));
    }
    let mut marks = Marks::default();
    for (received, digest) in found.into_iter().rev() {
        marks.insert(digest, received);
    }
    marks.keep(now_ms);
    Ok(marks)
}

/// The time of the newest thing in it: a callback, the claim or the end of a key, a call. `None`: it is empty.
pub(super) fn newest_ms(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // Each is an end of a tree, so nothing is searched.
    let newest = "SELECT max(coalesce((SELECT received FROM entry ORDER BY id DESC LIMIT 1), 0), \
                             coalesce((SELECT claimed FROM keyed ORDER BY id DESC LIMIT 1), 0), \
                             coalesce((SELECT ended FROM keyed WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT 1), 0), \
                             coalesce((SELECT newest FROM ledger ORDER BY id DESC LIMIT 1), 0))";
    let newest: i64 = connection.query_row(newest, [], |row| row.get(0))?;
    Ok(u64::try_from(newest).ok().filter(|newest| *newest > 0))
}

/// Bytes in use: pages that hold something.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| connection.prepare_cached(name)?.query_row([], |row| row.get::<_, i64>(0));
    let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
    Ok(u64::try_from(pages * pragma("PRAGMA page_size")?).unwrap_or(0))
}

/// Moves what it can from the log into the database.
pub(super) fn move_all(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        // Nothing is lost: the log is read at the next start.
        tracing::warn!(code = code(&error), "the log of the inbox was not moved into its database");
    }
}
