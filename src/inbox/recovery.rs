//! Taking a database over: at the start, and after the disk has failed.
//!
//! Nothing is appended before the log is checkpointed whole, and no refusal leaves without a sentence that says what to do.

use rusqlite::{Connection, ErrorCode, params};

use super::census::Census;
use super::marks::{self, Marks};
use super::schema::Refused;
use super::shared::code;
use super::store::Store;
use crate::clock;

/// What a refusal means, and what to do.
pub(super) fn sentence(refused: Refused) -> String {
    match refused {
        Refused::Foreign => "the file at inbox.path is not a database of the gateway: choose another path".to_owned(),
        Refused::Newer(version) => format!(
            "the database at inbox.path has version {version}, which a later gateway made: start that one, or move the database away"
        ),
        Refused::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                "the file at inbox.path is not a database: choose another path, or restore it from a backup".to_owned()
            }
            Some(ErrorCode::DatabaseCorrupt) => {
                "the database at inbox.path is corrupt: move it away with its -wal and -shm files, \
                and restore it from a backup or begin an empty one"
                    .to_owned()
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "the database at inbox.path is locked by another program: end that one".to_owned()
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                "the database at inbox.path cannot be opened for writing: let the gateway write it and its directory"
                    .to_owned()
            }
            Some(ErrorCode::DiskFull) => "the disk of inbox.path is full: free space on it".to_owned(),
            _ => format!(
                "the database at inbox.path cannot be used (code {} of SQLite): look at its disk and its rights",
                code(&error)
            ),
        },
    }
}

/// Makes everything that can be read durable, then reads back what is kept in memory.
///
/// Pages of the log whose sync failed may be marked clean in the page cache, so they are not on disk although they can be
/// read. A checkpoint that truncates writes them anew, into the database, and syncs that.
///
/// # Errors
/// One sentence that says what to do.
pub(super) fn take_over(connection: Connection) -> Result<Store, String> {
    let take = || -> rusqlite::Result<(Marks, Census)> {
        let blocked: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if blocked != 0 {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None));
        }
        Ok((read_marks(&connection)?, Census::take(&connection)?))
    };
    let (marks, census) = take().map_err(|error| sentence(error.into()))?;
    Ok(Store::new(connection, marks, census))
}

fn read_marks(connection: &Connection) -> rusqlite::Result<Marks> {
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
