//! The thread that moves what was committed from the log into the database, so that the one that commits does not.
//!
//! A log that is written all the time is never moved whole from outside; when it has grown, the writer is asked to move the
//! small rest itself, between two commits, and the log begins anew. It never writes an entry.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, ErrorCode};

use super::schema;
use super::shared::{Shared, code};

/// Bytes of log after which the writer moves the rest. The log stays somewhat larger than this at most.
const LONGEST_LOG: u64 = 48 * 1024 * 1024;

/// Until the end of the inbox's [`Progress`](super::progress::Progress).
pub(super) fn run(shared: &Arc<Shared>) {
    let mut connection: Option<Connected> = None;
    while shared.progress.wait() {
        // A bug costs this connection and has the database opened again, not the thread without which the log grows for ever.
        let moved = catch_unwind(AssertUnwindSafe(|| bite(shared, connection.take())));
        match moved {
            Ok(Ok((left, opened))) => {
                if left > LONGEST_LOG {
                    shared.progress.rest.store(true, Ordering::Release);
                }
                connection = Some(opened);
            }
            failed => {
                let code = failed.ok().and_then(Result::err).map_or(-1, |error| code(&error));
                tracing::error!(code, "the log of the inbox cannot be moved: look at its disk");
                shared.progress.failed.store(true, Ordering::Release);
            }
        }
    }
}

/// A connection, and the generation of the database that it was opened in.
type Connected = (u64, Connection);

/// One move. Returns the bytes of the log.
fn bite(shared: &Shared, connection: Option<Connected>) -> rusqlite::Result<(u64, Connected)> {
    // After a failure everybody opens the database again.
    let generation = shared.generation();
    let connection = match connection.filter(|(of, _)| *of == generation) {
        Some((_, opened)) => opened,
        None => schema::open_to_checkpoint(&shared.path)?,
    };
    Ok((move_some(&connection)?, (generation, connection)))
}

/// Moves what no reader needs any more, without making anybody wait. Returns the bytes of the log.
///
/// # Errors
/// When the disk fails. What was not moved stays in the log and is written again by the next move, so nothing is lost by
/// a sync that failed.
pub(super) fn move_some(connection: &Connection) -> rusqlite::Result<u64> {
    let passive = "PRAGMA wal_checkpoint(PASSIVE)";
    let moved = connection.prepare_cached(passive)?.query_row([], |row| row.get::<_, i64>(1));
    let pages = match moved {
        // The writer moves at this moment.
        Err(error)
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) =>
        {
            0
        }
        moved => moved?,
    };
    Ok(u64::try_from(pages).unwrap_or(0) * u64::from(schema::PAGE))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::inbox::Inbox;
    use crate::inbox::tests::Folder;
    use crate::metrics::Metrics;

    #[test]
    fn a_connection_is_kept_until_the_database_is_opened_again() {
        let folder = Folder::new("bite");
        let metrics = Arc::new(Metrics::try_new().expect("metrics"));
        let inbox = Inbox::open(&folder.rules, &[], metrics).expect("an inbox");
        let shared = &inbox.0.shared;
        let bite = |connection| bite(shared, connection).expect("moved").1;
        let size = |(_, connection): &Connected| {
            connection.query_row("PRAGMA cache_size", [], |row| row.get::<_, i64>(0)).expect("a size")
        };
        let first = bite(None);
        first.1.pragma_update(None, "cache_size", 77).expect("marked");
        let second = bite(Some(first));
        assert_eq!(size(&second), 77, "the same");
        shared.generation.fetch_add(1, Ordering::AcqRel);
        let third = bite(Some(second));
        assert_ne!(size(&third), 77, "pages whose sync failed may look clean in a former one");
    }

    #[test]
    fn what_is_moved_is_told_in_bytes_of_log() {
        let folder = std::env::temp_dir().join(format!("checkpoint-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("inbox.db");
        let writer = schema::open(&path).expect("a database");
        let reader = schema::open_to_checkpoint(&path).expect("the same");
        writer.execute_batch("CREATE TABLE x (a); INSERT INTO x VALUES (zeroblob(1000000))").expect("written");
        let log = std::fs::metadata(path.with_extension("db-wal")).expect("a log").len();
        let told = move_some(&reader).expect("moved");
        assert!(1_000_000 < told && told <= log, "{told} of {log}");
        let database = std::fs::metadata(&path).expect("a database").len();
        assert!(database > 1_000_000, "it is in the database: {database}");
        writer.execute_batch("BEGIN; INSERT INTO x VALUES (1)").expect("begun");
        assert_eq!(move_some(&writer), Ok(0), "whoever is in a transaction is no failure");
        writer.execute_batch("COMMIT").expect("written");
        let unable = schema::open_to_read(&path).expect("the same");
        assert!(move_some(&unable).is_err(), "what cannot be moved is told");
        drop((writer, reader, unable));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
