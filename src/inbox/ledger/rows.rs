//! Writing a batch as one block, and forgetting the oldest blocks. Runs inside the writer's transaction.
//!
//! The id of a block is the number of bytes that all blocks before it took, and blocks go from the oldest on: so what is kept
//! in all is known from both ends of the table, without counting. It never touches a part of a block.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::block::{Block, Noted};
use super::{Batch, Bounds};
use crate::inbox::pages::on_disk;
use crate::inbox::shared::Shared;
use crate::inbox::store::{Store, number};
use crate::inbox::vault::{Tagged, Vault};

/// Most blocks that are forgotten in one transaction, and bytes of them after which it is enough: more than are written, so
/// that these never get ahead, and less than a millisecond of work.
const FORGET: usize = 64;
const FORGET_BYTES: u64 = 1 << 20;

/// What is noted beside a batch of the writer.
pub(in crate::inbox) struct Noting<'a> {
    pub(in crate::inbox) calls: &'a Batch,
    pub(in crate::inbox) shared: &'a Shared,
}

/// What noting did to the table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::inbox) struct Change {
    /// Bytes of the block that was written.
    pub(in crate::inbox) written: u64,
    /// Bytes of the blocks that were forgotten.
    pub(in crate::inbox) forgotten: u64,
    /// There is more to forget.
    pub(in crate::inbox) more: bool,
}

impl Noting<'_> {
    /// Writes the calls, and where it is time for that forgets those of before `until_ms`.
    pub(in crate::inbox) fn apply(&self, store: &mut Store, forgets: bool, until_ms: u64) -> rusqlite::Result<Change> {
        let mut change = Change::default();
        if let Some(vault) = self.shared.vault.get().filter(|_| !self.calls.is_empty()) {
            let block = block(store, vault, self.calls)?;
            change.written = insert(&store.connection, block)?;
        }
        // What was written may be too much at once, whenever it is time.
        if forgets || change.written > 0 {
            (change.forgotten, change.more) = forget(&store.connection, self.shared.ledger.bounds(), until_ms)?;
        }
        Ok(change)
    }
}

/// The calls as a block. Their tags are made here, in the writer's thread.
fn block(store: &mut Store, vault: &Vault, calls: &Batch) -> rusqlite::Result<Block> {
    let (mut block, mut kinds, mut tags) = (Block::default(), HashMap::new(), Vec::new());
    for call in calls.calls() {
        let kind = match kinds.get(call.names) {
            Some(kind) => *kind,
            None => {
                let mut rows = [0; 5];
                for (row, name) in rows.iter_mut().zip(call.names()) {
                    *row = store.name(name)?;
                }
                let kind = block.name(rows);
                kinds.insert(call.names, kind);
                kind
            }
        };
        tags.clear();
        tags.extend(call.ids().map(|(what, id)| vault.tag(what, &[id])));
        let noted = Noted {
            request: call.request,
            at_ms: call.at_ms,
            key: call.key.map(|key| vault.tag(Tagged::Key, &[key])),
            tags: &tags,
            status: call.status,
            code: call.code,
            replayed: call.replayed,
            micros: call.micros,
        };
        block.add(kind, &noted);
    }
    Ok(block)
}

/// Writes a block behind the others. The bytes that it takes.
fn insert(connection: &Connection, block: Block) -> rusqlite::Result<u64> {
    let newest_ms = block.newest_ms();
    let (ids, rest) = block.finish();
    let insert = "INSERT INTO ledger (id, newest, ids, calls) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute(params![end(connection)?, number(newest_ms), ids, rest])?;
    Ok(on_disk(ids.len() as u64 + rest.len() as u64))
}

/// Where the newest block ends, in bytes of all that were ever written; 0: there is none.
fn end(connection: &Connection) -> rusqlite::Result<i64> {
    let newest = "SELECT id, length(ids) + length(calls) FROM ledger ORDER BY id DESC LIMIT 1";
    let newest: Option<(i64, i64)> =
        connection.prepare_cached(newest)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(newest.map_or(0, |(id, bytes)| id.saturating_add(number(on_disk(bytes.unsigned_abs())))))
}

/// Forgets blocks all of whose calls are older than they may be, and those that are too much; some at a time. The bytes that
/// are free now, and whether there are more such blocks.
fn forget(connection: &Connection, bounds: Bounds, until_ms: u64) -> rusqlite::Result<(u64, bool)> {
    let until = number(until_ms);
    let too_much = end(connection)?.saturating_sub(number(bounds.bytes));
    let oldest = "SELECT id, newest, length(ids) + length(calls) FROM ledger ORDER BY id";
    let mut oldest = connection.prepare_cached(oldest)?;
    let mut rows = oldest.query([])?;
    let (mut last, mut count, mut bytes, mut more) = (None, 0, 0, false);
    while let Some(row) = rows.next()? {
        let (id, newest): (i64, i64) = (row.get(0)?, row.get(1)?);
        if newest >= until && id >= too_much {
            break;
        }
        more = count == FORGET || bytes >= FORGET_BYTES;
        if more {
            break;
        }
        (last, count) = (Some(id), count + 1);
        bytes += on_disk(row.get::<_, i64>(2)?.unsigned_abs());
    }
    drop(rows);
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM ledger WHERE id <= ?1")?.execute([last])?;
    }
    Ok((bytes, more))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inbox::schema::{MIGRATIONS, PAGE};

    const KIB: u64 = 1024;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.pragma_update(None, "page_size", PAGE).expect("set");
        connection.execute_batch(&MIGRATIONS.concat()).expect("tables");
        connection
    }

    /// A block of so many bytes whose newest call is of this time.
    fn put(connection: &Connection, newest_ms: u64, bytes: u64) {
        let (ids, rest) = (bytes / 16 * 11, bytes - bytes / 16 * 11);
        connection
            .execute(
                "INSERT INTO ledger VALUES (?1, ?2, zeroblob(?3), zeroblob(?4))",
                params![end(connection).expect("an end"), number(newest_ms), number(ids), number(rest)],
            )
            .expect("a row");
    }

    /// A block of so many calls with the same id.
    fn block_of(calls: u128) -> Block {
        let mut block = Block::default();
        let kind = block.name([1, 2, 3, 4, 5]);
        for number in 0..calls {
            let call = Noted {
                request: number.to_be_bytes(),
                at_ms: 1_790_000_000_000,
                key: None,
                tags: &[[7; 16]],
                status: 200,
                code: Some(200),
                replayed: false,
                micros: [3; 9],
            };
            block.add(kind, &call);
        }
        block
    }

    /// When the newest calls of the blocks that are left were.
    fn left(connection: &Connection) -> Vec<i64> {
        let mut rows = connection.prepare("SELECT newest FROM ledger ORDER BY id").expect("sql");
        rows.query_map([], |row| row.get(0)).expect("rows").collect::<rusqlite::Result<_>>().expect("numbers")
    }

    fn bounds(bytes: u64) -> Bounds {
        Bounds::new(Duration::from_secs(1), bytes)
    }

    #[test]
    fn what_is_told_to_be_written_is_what_the_table_grows_by() {
        let connection = database();
        let mut before = 0;
        for calls in [1, 10, 1_000, 3, 10_000] {
            let written = insert(&connection, block_of(calls)).expect("inserted");
            let after = end(&connection).expect("an end");
            assert_eq!(written, (after - before).unsigned_abs(), "{calls}");
            before = after;
        }
    }

    #[test]
    fn a_block_goes_when_its_newest_call_is_over() {
        let connection = database();
        [10, 20, 15, 30].iter().for_each(|newest| put(&connection, *newest, KIB));
        let forget = |until_ms| {
            let freed = forget(&connection, bounds(u64::MAX), until_ms).expect("forgotten");
            (freed, left(&connection))
        };
        let one = on_disk(KIB);
        assert_eq!(forget(10), ((0, false), vec![10, 20, 15, 30]));
        assert_eq!(forget(11), ((one, false), vec![20, 15, 30]));
        assert_eq!(forget(20), ((0, false), vec![20, 15, 30]), "the oldest holds the others up");
        assert_eq!(forget(21), ((2 * one, false), vec![30]));
        assert_eq!(forget(u64::MAX), ((one, false), vec![]));
        assert_eq!(forget(u64::MAX), ((0, false), vec![]));
    }

    #[test]
    fn the_oldest_blocks_go_when_all_are_more_than_the_bound() {
        let connection = database();
        let sizes = [KIB, 20 * KIB, 300 * KIB, KIB];
        for (number, bytes) in sizes.iter().enumerate() {
            put(&connection, number as u64, *bytes);
        }
        let all: u64 = sizes.iter().map(|bytes| on_disk(*bytes)).sum();
        assert_eq!(end(&connection), Ok(number(all)));
        let forget = |bytes| {
            let freed = forget(&connection, bounds(bytes), 0).expect("forgotten");
            (freed, left(&connection))
        };
        assert_eq!(forget(all), ((0, false), vec![0, 1, 2, 3]), "exactly the bound");
        assert_eq!(forget(all - 1), ((on_disk(KIB), false), vec![1, 2, 3]));
        assert_eq!(forget(all - on_disk(KIB)), ((0, false), vec![1, 2, 3]), "what is gone counts no more");
        assert_eq!(forget(on_disk(KIB)), ((on_disk(20 * KIB) + on_disk(300 * KIB), false), vec![3]));
        // The next one goes on where the last began.
        put(&connection, 4, KIB);
        assert_eq!(end(&connection), Ok(number(all + on_disk(KIB))));
        assert_eq!(forget(0), ((2 * on_disk(KIB), false), vec![]));
    }

    #[test]
    fn some_are_forgotten_at_a_time_and_it_is_told_that_there_are_more() {
        let connection = database();
        (0..2 * FORGET).for_each(|_| put(&connection, 1, KIB));
        let forget = || forget(&connection, bounds(u64::MAX), 2).expect("forgotten");
        assert_eq!(forget(), (FORGET as u64 * on_disk(KIB), true));
        assert_eq!(forget(), (FORGET as u64 * on_disk(KIB), false), "exactly as many as go at a time");
        (0..4).for_each(|_| put(&connection, 1, 512 * KIB));
        assert_eq!(forget(), (2 * on_disk(512 * KIB), true));
        assert_eq!(forget(), (2 * on_disk(512 * KIB), false));
    }
}
