//! Writing calls, and forgetting the oldest. Runs inside the writer's transaction.
//!
//! Row ids grow with time and rows go from the oldest on, so the age and the number of rows are known from both ends of the
//! table, without counting.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Bounds, Call, STEP};
use crate::inbox::shared::Shared;
use crate::inbox::store::{Store, number};
use crate::inbox::vault::{TAG, Tagged, Vault};

/// Most rows that are forgotten in one transaction: twice as many as are written, so that they never get ahead.
const FORGET: usize = 2 * STEP;

/// What is noted beside a batch of the writer.
pub(in crate::inbox) struct Noting<'a> {
    pub(in crate::inbox) calls: &'a [Call],
    pub(in crate::inbox) shared: &'a Shared,
}

impl Noting<'_> {
    /// Writes the calls, and where it is time for that forgets those of before `until_ms`.
    pub(in crate::inbox) fn apply(&self, store: &mut Store, forgets: bool, until_ms: u64) -> rusqlite::Result<()> {
        if let Some(vault) = self.shared.vault.get().filter(|_| !self.calls.is_empty()) {
            insert(store, vault, self.calls)?;
        }
        if forgets {
            forget(&store.connection, self.shared.ledger.bounds(), until_ms)?;
        }
        Ok(())
    }
}

/// Writes calls. Their tags are made here, in the writer's thread.
fn insert(store: &mut Store, vault: &Vault, calls: &[Call]) -> rusqlite::Result<()> {
    let mut rows =
        |call: &Call| Ok((store.name(&call.program)?, store.name(&call.account)?, store.name(&call.operation)?));
    let names = calls.iter().map(&mut rows).collect::<rusqlite::Result<Vec<_>>>()?;
    let mut insert = store.connection.prepare_cached(
        "INSERT INTO ledger (request, at, program, account, operation, key, tags, sent, status, outcome, code, replayed, \
         phases) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for (call, (program, account, operation)) in calls.iter().zip(names) {
        let key = call.key.as_ref().map(|key| vault.tag(Tagged::Key, &[key]));
        insert.execute(params![
            digits(&call.request).unwrap_or_default(),
            number(call.at_ms),
            program,
            account,
            operation,
            key,
            tags(vault, call),
            call.sent,
            call.status,
            call.outcome,
            call.code,
            call.replayed,
            phases(call)
        ])?;
    }
    Ok(())
}

/// Forgets rows that are older than they may be, and those that are too many; at most a few hundred. Returns how many.
fn forget(connection: &Connection, bounds: Bounds, until_ms: u64) -> rusqlite::Result<u64> {
    let until = number(until_ms);
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(id) FROM ledger")?.query_row([], |row| row.get(0)).optional()?.flatten();
    let Some(newest) = newest else { return Ok(0) };
    let too_many = newest.saturating_sub(number(bounds.rows));
    let mut oldest = connection.prepare_cached("SELECT id, at FROM ledger ORDER BY id LIMIT ?1")?;
    let mut rows = oldest.query([number(FORGET as u64)])?;
    let (mut last, mut count) = (None, 0);
    while let Some(row) = rows.next()? {
        let (id, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if at >= until && id > too_many {
            break;
        }
        (last, count) = (Some(id), count + 1);
    }
    drop(rows);
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM ledger WHERE id <= ?1")?.execute([last])?;
    }
    Ok(count)
}

/// A request id as its 16 bytes; `None` for what is none.
pub(super) fn digits(request: &str) -> Option<Vec<u8>> {
    if request.len() != 32 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    request.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn tags(vault: &Vault, call: &Call) -> Vec<u8> {
    let mut tags = Vec::with_capacity((call.named.calls.len() + call.named.tasks.len()) * TAG);
    for (what, ids) in [(Tagged::Call, &call.named.calls), (Tagged::Task, &call.named.tasks)] {
        ids.iter().take(super::MOST_IDS).for_each(|id| tags.extend_from_slice(&vault.tag(what, &[id.as_bytes()])));
    }
    tags
}

/// Microseconds of each phase, of the key and of all, as four bytes each, least first. All is the last: former gateways wrote
/// nothing of the key.
fn phases(call: &Call) -> Vec<u8> {
    let micros = |time: std::time::Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX).to_le_bytes();
    call.phases.iter().copied().chain([call.keeping, call.took]).flat_map(micros).collect()
}

/// What [`phases`] wrote.
pub(super) fn micros(phases: &[u8]) -> Vec<u32> {
    phases.chunks_exact(4).map(|four| four.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_sixteen_bytes() {
        let id = "b150cfdaa62039790000000000000001";
        assert_eq!(digits(id).map(|bytes| (bytes.len(), bytes[0], bytes[15])), Some((16, 0xb1, 1)));
        for wrong in [
            "",
            "b150",
            "b150cfdaa6203979000000000000000g",
            "b150cfdaa62039790000000000000001b1",
            "é150cfdaa6203979000000000000000",
        ] {
            assert_eq!(digits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(micros(&[1, 0, 0, 0, 0, 1, 0, 0, 255, 255, 255, 255]), [1, 256, u32::MAX]);
    }
}
