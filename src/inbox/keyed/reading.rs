//! What is read of keys: one by its tags, its answer, and lists for operators.
//!
//! Every question is bounded in its rows. Nothing is written here.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::answer::KeptAnswer;
use super::kinds::{KeyFilter, KeyId, KeyState, Known, ListedKey};
use super::rows::bound_to;
use crate::inbox::id::EntryId;
use crate::inbox::store::number;
use crate::inbox::vault::{Tag, Tagged, Vault};

/// The row of one of these tags, which stand for the same key under each key at rest.
pub(super) fn find(connection: &Connection, tags: &[Tag]) -> rusqlite::Result<Option<Known>> {
    let mut find = connection.prepare_cached("SELECT id, state, bytes, body FROM keyed WHERE tag = ?1")?;
    for (by, tag) in tags.iter().enumerate() {
        let found = find.query_row([tag], |row| {
            Ok(Known {
                id: KeyId(row.get(0)?),
                state: KeyState::of_row(row.get(1)?),
                bytes: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                body: row.get(3)?,
                by,
            })
        });
        if let Some(known) = found.optional()? {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// The remembered answer, opened.
pub(super) fn answer(connection: &Connection, vault: &Vault, id: KeyId) -> rusqlite::Result<Option<KeptAnswer>> {
    let find = "SELECT nonce, sealed FROM answer WHERE id = ?1";
    let found: Option<(i64, Vec<u8>)> =
        connection.prepare_cached(find)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let opened = found.and_then(|(nonce, sealed)| vault.open(EntryId::of_row(nonce), &bound_to(id), sealed).ok());
    Ok(opened.and_then(|opened| KeptAnswer::read(&Bytes::from(opened))))
}

/// At most `most` keys that fit, in the order of their ids.
pub(in crate::inbox) fn list(
    connection: &Connection,
    vault: &Vault,
    filter: &KeyFilter,
    after: Option<KeyId>,
    most: usize,
) -> rusqlite::Result<Vec<ListedKey>> {
    let (mut text, mut values) = ("1".to_owned(), Vec::new());
    let mut narrow = |condition: &str, value: Vec<Value>| {
        text += " AND ";
        text += condition;
        values.extend(value);
    };
    if let Some(after) = after {
        narrow("k.id > ?", vec![Value::from(after.0)]);
    }
    if let Some(id) = filter.id {
        narrow("k.id = ?", vec![Value::from(id.0)]);
    }
    match filter.state {
        // The partial index has them, and there are few.
        Some(state @ (KeyState::Sending | KeyState::Unknown)) => {
            narrow("k.state < 2 AND k.state = ?", vec![Value::from(state.row())]);
        }
        Some(state) => narrow("k.state = ?", vec![Value::from(state.row())]),
        None => {}
    }
    for (column, name) in [("program", &filter.program), ("account", &filter.account), ("operation", &filter.operation)]
    {
        if let Some(name) = name {
            let condition = format!("k.{column} = (SELECT id FROM name WHERE text = ?)");
            narrow(&condition, vec![Value::from(name.clone())]);
        }
    }
    if let Some(since) = filter.since_ms {
        narrow("k.claimed >= ?", vec![Value::from(number(since))]);
    }
    if let Some(until) = filter.until_ms {
        narrow("k.claimed < ?", vec![Value::from(number(until))]);
    }
    if let Some(key) = &filter.key {
        let tags = vault.tags(Tagged::Key, &[key.as_bytes()]);
        let any = vec!["k.alone = ?"; tags.len()].join(" OR ");
        narrow(&format!("({any})"), tags.into_iter().map(|tag| Value::from(tag.to_vec())).collect());
    }
    listed_where(connection, &text, values, most)
}

/// At most `most` keys with one of these tags, whatever they are bound to, in the order of their ids.
pub(in crate::inbox) fn alone(connection: &Connection, tags: &[Tag], most: usize) -> rusqlite::Result<Vec<ListedKey>> {
    let any = vec!["k.alone = ?"; tags.len()].join(" OR ");
    listed_where(connection, &any, tags.iter().map(|tag| Value::from(tag.to_vec())).collect(), most)
}

fn listed_where(
    connection: &Connection,
    condition: &str,
    mut values: Vec<Value>,
    most: usize,
) -> rusqlite::Result<Vec<ListedKey>> {
    values.push(Value::from(number(most as u64)));
    let mut keys = connection.prepare(&format!(
        "SELECT k.id, p.text, a.text, o.text, k.state, k.claimed, k.ended, k.status, k.bytes, k.operator \
         FROM keyed k JOIN name p ON p.id = k.program JOIN name a ON a.id = k.account \
         JOIN name o ON o.id = k.operation WHERE {condition} ORDER BY k.id LIMIT ?"
    ))?;
    keys.query_map(rusqlite::params_from_iter(values), listed)?.collect()
}

fn listed(row: &Row<'_>) -> rusqlite::Result<ListedKey> {
    let number = |column: usize| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0));
    Ok(ListedKey {
        id: KeyId(row.get(0)?),
        program: row.get(1)?,
        account: row.get(2)?,
        operation: row.get(3)?,
        state: KeyState::of_row(row.get(4)?),
        claimed_ms: number(5)?,
        ended_ms: row.get::<_, Option<i64>>(6)?.and_then(|ended| u64::try_from(ended).ok()),
        status: row.get(7)?,
        bytes: number(8)?,
        by_operator: row.get(9)?,
    })
}
