//! What a change does to the rows of keys. Everything here runs inside the writer's transaction, or before there is one.
//!
//! It never begins or commits anything, so what it counts is true only after the commit.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::change::{Change, Claim, Kept};
use super::counts::Counts;
use super::kinds::{KeyId, KeyState};
use crate::inbox::id::COUNTER_BITS;
use crate::inbox::store::{Store, number};

/// What binds an answer to its row.
pub(super) fn bound_to(id: KeyId) -> String {
    // No source has a name with a space.
    format!("answer of {id}")
}

/// Whether anything was sealed in a start, or has its tags from it: its key is still needed. For the SQL of an epoch.
pub(in crate::inbox) fn epoch_is_used() -> String {
    let within = |column: &str| {
        format!("{column} >= epoch.id << {COUNTER_BITS} AND {column} < (epoch.id + 1) << {COUNTER_BITS}")
    };
    format!(
        "(EXISTS (SELECT 1 FROM keyed WHERE {}) OR EXISTS (SELECT 1 FROM answer WHERE {}))",
        within("keyed.id"),
        within("answer.nonce")
    )
}

/// Counts the rows.
pub(in crate::inbox) fn count(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    let mut states = connection.prepare("SELECT state, count(*) FROM keyed GROUP BY state")?;
    let mut rows = states.query([])?;
    while let Some(row) = rows.next()? {
        *counts.of(KeyState::of_row(row.get(0)?)) += row.get::<_, i64>(1)?;
    }
    Ok(counts)
}

/// At a start nothing is under way: what still says so ended with the process before, and nobody knows how. How many.
pub(in crate::inbox) fn begin(connection: &Connection) -> rusqlite::Result<usize> {
    let doubt = "UPDATE keyed SET state = ?1 WHERE state = ?2 AND state < 2";
    connection.execute(doubt, [KeyState::Unknown.row(), KeyState::Sending.row()])
}

/// Makes a change. Whether it could be made: its row was there and stood where it has to.
pub(in crate::inbox) fn apply(
    store: &mut Store,
    change: &Change,
    now_ms: u64,
    counts: &mut Counts,
) -> rusqlite::Result<bool> {
    match change {
        Change::Claim(claim) => insert(store, claim, now_ms, counts),
        Change::Free(id) => delete(&store.connection, *id, &OPEN, counts),
        Change::Doubt(id) => {
            let doubt = "UPDATE keyed SET state = ?2 WHERE id = ?1 AND state = ?3";
            let (from, to) = (KeyState::Sending, KeyState::Unknown);
            let done = store.connection.prepare_cached(doubt)?.execute(params![id.0, to.row(), from.row()])? > 0;
            *counts.of(from) -= i64::from(done);
            *counts.of(to) += i64::from(done);
            Ok(done)
        }
        Change::Kept(id, kept) => keep(&store.connection, *id, &OPEN, kept, false, now_ms, counts),
        Change::Settle(id, None) => delete(&store.connection, *id, &[KeyState::Unknown], counts),
        Change::Settle(id, Some(kept)) => {
            keep(&store.connection, *id, &[KeyState::Unknown], kept, true, now_ms, counts)
        }
    }
}

/// Where the row of a call may stand that has just ended: the database may have been opened anew meanwhile.
const OPEN: [KeyState; 2] = [KeyState::Sending, KeyState::Unknown];

/// Where a key stands, if it is one of these places.
fn standing(connection: &Connection, id: KeyId, among: &[KeyState]) -> rusqlite::Result<Option<KeyState>> {
    let find = "SELECT state FROM keyed WHERE id = ?1";
    let found: Option<i64> = connection.prepare_cached(find)?.query_row([id.0], |row| row.get(0)).optional()?;
    Ok(found.map(KeyState::of_row).filter(|state| among.contains(state)))
}

fn insert(store: &mut Store, claim: &Claim, now_ms: u64, counts: &mut Counts) -> rusqlite::Result<bool> {
    let names = [store.name(&claim.program)?, store.name(&claim.account)?, store.name(&claim.operation)?];
    // It was found free by who holds its entrance, so there is no such tag; if there were one, nothing may leave.
    let insert = "INSERT INTO keyed (id, tag, alone, body, program, account, operation, state, claimed, bytes, operator) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0) ON CONFLICT (tag) DO NOTHING";
    let done = store.connection.prepare_cached(insert)?.execute(params![
        claim.id.0,
        claim.tag,
        claim.alone,
        claim.body,
        names[0],
        names[1],
        names[2],
        KeyState::Sending.row(),
        number(now_ms)
    ])? > 0;
    counts.sending += i64::from(done);
    Ok(done)
}

fn keep(
    connection: &Connection,
    id: KeyId,
    among: &[KeyState],
    kept: &Kept,
    by_operator: bool,
    now_ms: u64,
    counts: &mut Counts,
) -> rusqlite::Result<bool> {
    let Some(from) = standing(connection, id, among)? else { return Ok(false) };
    let to = match (&kept.sealed, kept.status) {
        (Some(_), _) => KeyState::Answered,
        (None, 0) => KeyState::Settled,
        (None, _) => KeyState::NotKept,
    };
    let update = "UPDATE keyed SET state = ?2, ended = ?3, status = ?4, bytes = ?5, operator = ?6 WHERE id = ?1";
    let status = (kept.status > 0).then_some(kept.status);
    let bytes = number(kept.bytes as u64);
    connection.prepare_cached(update)?.execute(params![id.0, to.row(), number(now_ms), status, bytes, by_operator])?;
    if let Some((nonce, sealed)) = &kept.sealed {
        let insert = "INSERT INTO answer (id, nonce, sealed) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(insert)?.execute(params![id.0, nonce.row(), sealed])?;
    }
    *counts.of(from) -= 1;
    *counts.of(to) += 1;
    Ok(true)
}

/// Of a key without an answer.
fn delete(connection: &Connection, id: KeyId, among: &[KeyState], counts: &mut Counts) -> rusqlite::Result<bool> {
    let Some(from) = standing(connection, id, among)? else { return Ok(false) };
    connection.prepare_cached("DELETE FROM keyed WHERE id = ?1")?.execute([id.0])?;
    *counts.of(from) -= 1;
    Ok(true)
}

/// Forgets the oldest of the keys whose end was known before `until_ms`, at most this many. How many.
pub(in crate::inbox) fn forget(
    connection: &Connection,
    most: usize,
    until_ms: u64,
    counts: &mut Counts,
) -> rusqlite::Result<u64> {
    let oldest: Vec<i64> = connection
        .prepare_cached("SELECT id FROM keyed WHERE ended IS NOT NULL AND ended < ?1 ORDER BY ended LIMIT ?2")?
        .query_map([number(until_ms), number(most as u64)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &oldest {
        connection.prepare_cached("DELETE FROM answer WHERE id = ?1")?.execute([id])?;
        let delete = "DELETE FROM keyed WHERE id = ?1 RETURNING state";
        let state: Option<i64> = connection.prepare_cached(delete)?.query_row([id], |row| row.get(0)).optional()?;
        if let Some(state) = state {
            *counts.of(KeyState::of_row(state)) -= 1;
        }
    }
    Ok(oldest.len() as u64)
}

/// Drops the oldest remembered answers, at most this many; their keys stay used. How many.
pub(in crate::inbox) fn drop_answers(connection: &Connection, most: usize) -> rusqlite::Result<u64> {
    let oldest: Vec<i64> = connection
        .prepare_cached("SELECT id FROM answer ORDER BY id LIMIT ?1")?
        .query_map([number(most as u64)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let (from, to) = (KeyState::Answered.row(), KeyState::NotKept.row());
    for id in &oldest {
        connection.prepare_cached("DELETE FROM answer WHERE id = ?1")?.execute([id])?;
        let update = "UPDATE keyed SET state = ?3, bytes = 0 WHERE id = ?1 AND state = ?2";
        connection.prepare_cached(update)?.execute([*id, from, to])?;
    }
    Ok(oldest.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::id::EntryId;
    use crate::inbox::{recovery, schema};

    fn kept(status: u16) -> Kept {
        Kept { status, bytes: 0, sealed: None }
    }

    #[test]
    fn what_is_counted_follows_the_rows_with_every_change() {
        let folder = std::env::temp_dir().join(format!("keyed-rows-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let connection = schema::open(&folder.join("inbox.db")).expect("a database");
        let mut store = recovery::take_over(connection).expect("taken over");
        let nonce = EntryId::try_new(0, 9).expect("it fits");
        for (step, (change, is_made, counted)) in [
            (Change::claim(1), true, (1, 0, 0)),
            (Change::claim(1), false, (1, 0, 0)),
            (Change::claim(2), true, (2, 0, 0)),
            (Change::claim(3), true, (3, 0, 0)),
            (Change::claim(4), true, (4, 0, 0)),
            (Change::Doubt(KeyId(1)), true, (3, 1, 0)),
            (Change::Doubt(KeyId(1)), false, (3, 1, 0)),
            (Change::Doubt(KeyId(2)), true, (2, 2, 0)),
            (Change::Settle(KeyId(3), None), false, (2, 2, 0)),
            (Change::Settle(KeyId(1), Some(kept(0))), true, (2, 1, 1)),
            (Change::Settle(KeyId(2), None), true, (2, 0, 1)),
            (Change::Free(KeyId(3)), true, (1, 0, 1)),
            (Change::Free(KeyId(3)), false, (1, 0, 1)),
            (Change::claim(3), true, (2, 0, 1)),
            (Change::Kept(KeyId(3), kept(200)), true, (1, 0, 2)),
            (Change::answered(nonce, vec![1]), false, (1, 0, 2)),
            (Change::Kept(KeyId(4), Kept { sealed: Some((nonce, vec![1])), ..kept(200) }), true, (0, 0, 3)),
            (Change::Kept(KeyId(4), kept(200)), false, (0, 0, 3)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut changed = Counts::default();
            assert_eq!(apply(&mut store, &change, 10, &mut changed), Ok(is_made), "step {step}");
            store.keyed.add(changed);
            let Counts { sending, unknown, remembered } = store.keyed;
            assert_eq!((sending, unknown, remembered), counted, "step {step}");
            assert!(count(&store.connection) == Ok(store.keyed), "step {step}");
        }
        let states = "SELECT group_concat(state || ' ' || coalesce(status, '-'), ', ' ORDER BY id) FROM keyed";
        let states: String = store.connection.query_row(states, [], |row| row.get(0)).expect("rows");
        assert_eq!(states, "4 -, 3 200, 2 200", "settled without an answer, not kept, answered");
        assert_eq!(drop_answers(&store.connection, 9), Ok(1));
        assert!(count(&store.connection) == Ok(store.keyed));
        let mut gone = Counts::default();
        assert_eq!((forget(&store.connection, 9, 10, &mut gone), gone), (Ok(0), Counts::default()), "it is not time");
        assert_eq!(forget(&store.connection, 9, 11, &mut gone), Ok(3));
        store.keyed.add(gone);
        assert_eq!(store.keyed, Counts::default());
        drop(store);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
