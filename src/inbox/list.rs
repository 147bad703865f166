//! What is read: deliveries to lease, entries to list and to show, deliveries to redrive, entries to purge.
//!
//! Every question is bounded in its rows. Nothing is written here.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::entry::Kind;
use super::filter::{Filter, Listed, ListedDelivery, State};
use super::id::EntryId;
use super::lease::{Counter, Hold, Taken};
use super::store::{delivery, entry, number};
use super::vault::{Tag, Tagged, Vault};
use crate::trace::TraceParent;

/// A leased delivery whose body is still sealed.
pub(super) struct Candidate {
    pub(super) id: EntryId,
    pub(super) source: Arc<str>,
    pub(super) kind: Kind,
    pub(super) attempts: u32,
    pub(super) received_ms: u64,
    pub(super) redriven: bool,
    pub(super) parent: Option<TraceParent>,
    pub(super) sealed: Vec<u8>,
    pub(super) hold: Hold,
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Leases what is due and tells the counter what is left.
pub(super) fn lease(
    connection: &Connection,
    counter: &Arc<Counter>,
    most: usize,
    now_ms: u64,
) -> rusqlite::Result<Vec<Candidate>> {
    counter.ask();
    let look = most.saturating_add(counter.leased()).saturating_add(1);
    let mut waiting = connection.prepare_cached(
        "SELECT entry, due FROM delivery \
         WHERE receiver = (SELECT id FROM name WHERE text = ?1) AND state = 0 ORDER BY due, entry LIMIT ?2",
    )?;
    let mut size = connection.prepare_cached("SELECT bytes FROM entry WHERE id = ?1")?;
    let mut rows = waiting.query(params![&**counter.name(), number(look as u64)])?;
    let (mut holds, mut more, mut next_ms) = (Vec::new(), false, None);
    while let Some(row) = rows.next()? {
        let (id, due) = (EntryId::of_row(row.get(0)?), time(row, 1)?);
        if counter.holds(id) {
            continue;
        }
        if due > now_ms {
            next_ms = Some(due);
            break;
        }
        if holds.len() == most {
            more = true;
            break;
        }
        let bytes = size.query_row([id.row()], |row| time(row, 0)).optional()?.unwrap_or(0);
        match counter.take(id, bytes) {
            Taken::Leased(hold) => holds.push((id, hold)),
            Taken::Held => {}
            // Asked again when something is given back.
            Taken::NoRoom => break,
        }
    }
    // An open statement would keep showing the database of its own beginning, where a delivery that was settled and let go
    // of a moment ago still waits; it would be made twice.
    drop(rows);
    let mut found = Vec::with_capacity(holds.len());
    let mut read = connection.prepare_cached(
        "SELECT n.text, e.kind, e.received, d.attempts, d.redriven, e.parent FROM entry e \
         JOIN name n ON n.id = e.source JOIN delivery d ON d.entry = e.id \
         WHERE e.id = ?1 AND d.receiver = (SELECT id FROM name WHERE text = ?2) AND d.state = 0 AND d.due <= ?3",
    )?;
    let mut body = connection.prepare_cached("SELECT sealed FROM body WHERE id = ?1")?;
    for (id, hold) in holds {
        let candidate = read
            .query_row(params![id.row(), &**counter.name(), number(now_ms)], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get(1)?,
                    time(row, 2)?,
                    row.get(3)?,
                    row.get(4)?,
                    parent(row.get(5)?),
                ))
            })
            .optional()?;
        // Settled or tried between the two questions: it is not due any more.
        let Some((source, kind, received_ms, attempts, redriven, parent)) = candidate else { continue };
        let sealed = match body.query_row([id.row()], |row| row.get(0)).optional() {
            Ok(sealed) => sealed.unwrap_or_default(),
            // Its pages are damaged. Nothing opens like the empty text, so it is set aside and the rest goes on.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => Vec::new(),
            Err(error) => return Err(error),
        };
        let (source, kind) = (source.into(), Kind::of_row(kind));
        found.push(Candidate { id, source, kind, attempts, received_ms, redriven, parent, sealed, hold });
    }
    counter.answered(more, next_ms);
    Ok(found)
}

/// As the database has it.
fn parent(written: Option<String>) -> Option<TraceParent> {
    TraceParent::parse(written?.as_bytes())
}

/// The conditions of a filter on an entry `e`, and their values.
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &Filter, after: Option<EntryId>, vault: &Vault) -> Self {
        let mut all = Self { text: "1".to_owned(), values: Vec::new() };
        if let Some(after) = after {
            all.push("e.id > ?", [Value::from(after.row())]);
        }
        if let Some(id) = filter.id {
            // An id of another gateway, or of a copy, may have the number of one of ours.
            match vault.is_ours(id) {
                true => all.push("e.id = ?", [Value::from(id.row())]),
                false => all.push("0", []),
            }
        }
        if let Some(source) = &filter.source {
            all.push("e.source = (SELECT id FROM name WHERE text = ?)", [Value::from(source.clone())]);
        }
        if let Some(kind) = filter.kind {
            all.push("e.kind = ?", [Value::from(kind.row())]);
        }
        if let Some(since) = filter.since_ms {
            all.push("e.received >= ?", [Value::from(number(since))]);
        }
        if let Some(until) = filter.until_ms {
            all.push("e.received < ?", [Value::from(number(until))]);
        }
        for (what, id) in [(Tagged::Call, &filter.call), (Tagged::Task, &filter.task)] {
            if let Some(id) = id {
                let tags = vault.tags(what, &[id.as_bytes()]);
                let any = vec!["instr(e.tags, ?)"; tags.len()].join(" OR ");
                all.push(&format!("({any})"), tags.into_iter().map(|tag: Tag| Value::from(tag.to_vec())));
            }
        }
        match (filter.state, &filter.receiver) {
            (None, None) => {}
            // It has no deliveries, so with a receiver nothing fits.
            (Some(State::Quarantined), None) => all.push("e.state = 1", []),
            (Some(State::Corrupt), None) => all.push("e.state = 2", []),
            (state, receiver) => {
                // Dead ones have an index; the others are looked for where the entry is.
                let mut inner = match state {
                    Some(State::Dead) => "e.id IN (SELECT d.entry FROM delivery d WHERE d.state = 3".to_owned(),
                    _ => "EXISTS (SELECT 1 FROM delivery d WHERE d.entry = e.id".to_owned(),
                };
                if let Some(state) = state {
                    let (first, last) = state.rows();
                    inner += &format!(" AND d.state BETWEEN {first} AND {last}");
                }
                if receiver.is_some() {
                    inner += " AND d.receiver = (SELECT id FROM name WHERE text = ?)";
                }
                all.push(&(inner + ")"), receiver.iter().cloned().map(Value::from));
            }
        }
        all
    }

    fn push(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.text += " AND ";
        self.text += condition;
        self.values.extend(values);
    }
}

/// At most `most` entries that fit, in the order of their ids.
pub(super) fn list(
    connection: &Connection,
    vault: &Vault,
    filter: &Filter,
    after: Option<EntryId>,
    most: usize,
) -> rusqlite::Result<Vec<Listed>> {
    let Conditions { text, mut values } = Conditions::of(filter, after, vault);
    values.push(Value::from(number(most as u64)));
    let mut entries = connection.prepare(&format!(
        "SELECT e.id, n.text, e.kind, e.received, e.bytes, e.repeat, e.state, e.reason \
         FROM entry e JOIN name n ON n.id = e.source WHERE {text} ORDER BY e.id LIMIT ?"
    ))?;
    let mut deliveries = connection.prepare_cached(
        "SELECT n.text, d.state, d.attempts, d.due, d.last, d.settled FROM delivery d JOIN name n ON n.id = d.receiver \
         WHERE d.entry = ?1 ORDER BY d.receiver",
    )?;
    let mut rows = entries.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = vault.mark(EntryId::of_row(row.get(0)?));
        let deliveries: Vec<_> = deliveries
            .query_map([id.row()], |row| {
                let state: i64 = row.get(1)?;
                Ok(ListedDelivery {
                    receiver: row.get(0)?,
                    state: State::of_row(state),
                    attempts: row.get(2)?,
                    due_ms: if state == delivery::WAITING { Some(time(row, 3)?) } else { None },
                    last: row.get(4)?,
                    settled_ms: row.get::<_, Option<i64>>(5)?.and_then(|settled| u64::try_from(settled).ok()),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let has = |state| deliveries.iter().any(|delivery: &ListedDelivery| delivery.state == state);
        let state = match row.get::<_, i64>(6)? {
            entry::QUARANTINED => State::Quarantined,
            entry::CORRUPT => State::Corrupt,
            _ => [State::Waiting, State::Dead, State::Corrupt]
                .into_iter()
                .find(|state| has(*state))
                .unwrap_or(State::Delivered),
        };
        found.push(Listed {
            id,
            source: row.get(1)?,
            kind: Kind::of_row(row.get(2)?),
            received_ms: time(row, 3)?,
            bytes: time(row, 4)?,
            repeat: row.get(5)?,
            state,
            reason: row.get(7)?,
            deliveries,
        });
    }
    Ok(found)
}

/// An entry and its sealed body.
pub(super) fn show(
    connection: &Connection,
    vault: &Vault,
    id: EntryId,
) -> rusqlite::Result<Option<(Listed, Option<Vec<u8>>)>> {
    let filter = Filter { id: Some(id), ..Filter::default() };
    let Some(listed) = list(connection, vault, &filter, None, 1)?.pop() else { return Ok(None) };
    let find = "SELECT sealed FROM body WHERE id = ?1";
    let sealed = connection.prepare_cached(find)?.query_row([id.row()], |row| row.get(0)).optional()?;
    Ok(Some((listed, sealed)))
}

/// The deliveries of listed entries that a redrive means: those to the filter's receiver that stand where it says; without
/// a state, the dead ones.
pub(super) fn deliveries_of(
    connection: &Connection,
    filter: &Filter,
    ids: &[EntryId],
) -> rusqlite::Result<Vec<(EntryId, i64)>> {
    let (first, last) = filter.state.unwrap_or(State::Dead).rows();
    let mut find = connection.prepare_cached(&format!(
        "SELECT d.receiver, n.text FROM delivery d JOIN name n ON n.id = d.receiver \
         WHERE d.entry = ?1 AND d.state BETWEEN {first} AND {last} AND d.state <> 1"
    ))?;
    let mut found = Vec::new();
    for id in ids {
        let mut rows = find.query([id.row()])?;
        while let Some(row) = rows.next()? {
            let receiver: String = row.get(1)?;
            if filter.receiver.as_ref().is_none_or(|wanted| *wanted == receiver) {
                found.push((*id, row.get(0)?));
            }
        }
    }
    Ok(found)
}
