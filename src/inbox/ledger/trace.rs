//! Finding what belongs together: the requests that were sent and the callbacks that came of them, by any id of theirs.
//!
//! It reads the narrow rows in order, as every search by an id does, and a bounded number of bodies. It writes nothing.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::PHASES;
use super::rows::{digits, micros};
use crate::inbox::filter::{Filter, Shown};
use crate::inbox::id::EntryId;
use crate::inbox::keyed::{self, KeyState, ListedKey};
use crate::inbox::list;
use crate::inbox::vault::{TAG, Tag, Tagged, Vault};

/// Most requests, and most callbacks, of one answer.
const MOST: usize = 100;

/// Most callbacks whose body is opened.
const MOST_BODIES: usize = 20;

/// Most tags that are looked for.
const MOST_TAGS: usize = 64;

/// A call of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its request id.
    pub request: String,
    /// When it began: milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Name of the program.
    pub program: String,
    /// Name of the account.
    pub account: String,
    /// Name of the operation.
    pub operation: String,
    /// It showed an idempotency key.
    pub keyed: bool,
    /// How many ids its answer named.
    pub named: usize,
    /// Whether it may have reached the platform.
    pub sent: String,
    /// The status that the program was told; 0: none.
    pub status: u16,
    /// How it ended.
    pub outcome: String,
    /// The code in the platform's answer.
    pub code: Option<i64>,
    /// It was sent again with a fresh token.
    pub replayed: bool,
    /// Microseconds of each of [`PHASES`].
    pub micros: Vec<u32>,
    /// Microseconds that its key took.
    pub key_micros: u32,
    /// Microseconds of all.
    pub took_micros: u32,
}

impl Found {
    /// Whether its answer was one that was kept for its key: a program was told what the platform had said, and the platform was
    /// not asked.
    pub fn is_from_memory(&self) -> bool {
        let asked = PHASES.iter().zip(&self.micros).any(|(phase, micros)| *phase == "platform" && *micros > 0);
        let is_answer = matches!(self.outcome.as_str(), "answered" | "client_gone") && self.status > 0;
        self.keyed && self.sent == "yes" && is_answer && !asked
    }
}

/// What belongs to an id.
#[derive(Default)]
pub struct Trace {
    /// The requests, oldest first.
    pub calls: Vec<Found>,
    /// Keys of this text that are on disk, where the ledger does not tell how their calls ended, oldest first.
    pub keys: Vec<ListedKey>,
    /// The callbacks, oldest first; the first of them with their bodies.
    pub callbacks: Vec<Shown>,
    /// There are more than are shown.
    pub more: bool,
}

/// An id that somebody has: of a task, a call, a request, a callback, or an idempotency key.
pub(in crate::inbox) struct Sought {
    /// Tags of a call and of a task of this id.
    tags: Vec<Tag>,
    /// Tags of a key of this text.
    keys: Vec<Tag>,
    request: Option<Vec<u8>>,
    entry: Option<EntryId>,
}

impl Sought {
    pub(in crate::inbox) fn new(vault: &Vault, id: &str) -> Self {
        let tags = |what| vault.tags(what, &[id.as_bytes()]);
        Self {
            tags: [tags(Tagged::Call), tags(Tagged::Task)].concat(),
            keys: tags(Tagged::Key),
            request: digits(id),
            entry: id.parse().ok(),
        }
    }
}

/// What belongs to it.
///
/// A callback leads to the request that created its task. A request leads to the callbacks of its task only where the request
/// itself, or its key, was asked for: who asks for one call of a task does not mean the others.
pub(in crate::inbox) fn trace(connection: &Connection, vault: &Vault, sought: &Sought) -> rusqlite::Result<Trace> {
    let mut entries = match sought.entry {
        Some(id) if vault.is_ours(id) => vec![id],
        Some(_) => Vec::new(),
        None => entries_with(connection, &sought.tags)?,
    };
    let mut tags = sought.tags.clone();
    for id in &entries {
        let find = "SELECT tags FROM entry WHERE id = ?1";
        let found: Option<Vec<u8>> =
            connection.prepare_cached(find)?.query_row([id.row()], |row| row.get(0)).optional()?;
        add_tags(&mut tags, &found.unwrap_or_default());
    }
    let mut named = Vec::new();
    let mut calls = calls_with(connection, sought, &tags, &mut named)?;
    if entries.is_empty() {
        entries = entries_with(connection, &named)?;
    }
    let more = calls.len() > MOST || entries.len() > MOST;
    let mut keys = keyed::reading::alone(connection, &sought.keys, MOST)?;
    keys.retain(|key| key.state == KeyState::Sending || calls.is_empty());
    calls.truncate(MOST);
    entries.truncate(MOST);
    let mut callbacks = Vec::with_capacity(entries.len());
    for id in entries {
        let found = if callbacks.len() < MOST_BODIES {
            list::show(connection, vault, id)?
        } else {
            let filter = Filter { id: Some(id), ..Filter::default() };
            list::list(connection, vault, &filter, None, 1)?.pop().map(|listed| (listed, None))
        };
        // Purged between two questions, it is not there any more.
        callbacks.extend(found.map(|(listed, sealed)| {
            let body = sealed.and_then(|sealed| vault.open(listed.id, &listed.source, sealed).ok());
            Shown { body: body.map(Bytes::from), listed }
        }));
    }
    Ok(Trace { calls, keys, callbacks, more })
}

/// One after another, each once, up to a bound.
fn add_tags(tags: &mut Vec<Tag>, written: &[u8]) {
    for tag in written.chunks_exact(TAG).filter_map(|tag| Tag::try_from(tag).ok()) {
        if tags.len() < MOST_TAGS && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// A condition that one of these tags is in a column, for values that are bound in their order.
fn any_of(column: &str, tags: &[Tag]) -> String {
    if tags.is_empty() { "0".to_owned() } else { vec![format!("instr({column}, ?)"); tags.len()].join(" OR ") }
}

fn values(tags: &[Tag]) -> impl Iterator<Item = Value> + '_ {
    tags.iter().map(|tag| Value::from(tag.to_vec()))
}

fn entries_with(connection: &Connection, tags: &[Tag]) -> rusqlite::Result<Vec<EntryId>> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let any = any_of("tags", tags);
    let mut find = connection.prepare(&format!("SELECT id FROM entry WHERE {any} ORDER BY id LIMIT {}", MOST + 1))?;
    find.query_map(params_from_iter(values(tags)), |row| Ok(EntryId::of_row(row.get(0)?)))?.collect()
}

/// `named`: the tags of what the answers named, of the requests that were asked for by themselves or by their key.
fn calls_with(
    connection: &Connection,
    sought: &Sought,
    tags: &[Tag],
    named: &mut Vec<Tag>,
) -> rusqlite::Result<Vec<Found>> {
    let keys = any_of("l.key", &sought.keys);
    let own = format!("(l.request = ? OR coalesce({keys}, 0))");
    let text = format!(
        "SELECT l.request, l.at, p.text, a.text, o.text, l.key, l.tags, l.sent, l.status, l.outcome, l.code, l.replayed, \
         l.phases, {own} FROM ledger l JOIN name p ON p.id = l.program JOIN name a ON a.id = l.account \
         JOIN name o ON o.id = l.operation WHERE {own} OR {} ORDER BY l.id LIMIT {}",
        any_of("l.tags", tags),
        MOST + 1
    );
    let request = || std::iter::once(Value::from(sought.request.clone().unwrap_or_default()));
    let own = || request().chain(values(&sought.keys));
    let bound: Vec<_> = own().chain(own()).chain(values(tags)).collect();
    let mut find = connection.prepare(&text)?;
    let mut rows = find.query(params_from_iter(bound))?;
    let mut calls = Vec::new();
    while let Some(row) = rows.next()? {
        let tags: Vec<u8> = row.get(6)?;
        if row.get::<_, bool>(13)? {
            add_tags(named, &tags);
        }
        calls.push(found(row, &tags)?);
    }
    Ok(calls)
}

/// Of each phase, of the key, and of all, which is the last: a former gateway wrote nothing of the key.
fn times(written: &[u8]) -> (Vec<u32>, u32, u32) {
    let mut times = micros(written);
    let took = times.pop().unwrap_or(0);
    let key = times.get(PHASES.len()).copied().unwrap_or(0);
    times.resize(PHASES.len(), 0);
    (times, key, took)
}

fn found(row: &Row<'_>, tags: &[u8]) -> rusqlite::Result<Found> {
    let request: Vec<u8> = row.get(0)?;
    let (micros, key_micros, took_micros) = times(&row.get::<_, Vec<u8>>(12)?);
    Ok(Found {
        request: request.iter().map(|byte| format!("{byte:02x}")).collect(),
        at_ms: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        program: row.get(2)?,
        account: row.get(3)?,
        operation: row.get(4)?,
        keyed: row.get::<_, Option<Vec<u8>>>(5)?.is_some(),
        named: tags.len() / TAG,
        sent: row.get(7)?,
        status: row.get(8)?,
        outcome: row.get(9)?,
        code: row.get(10)?,
        replayed: row.get(11)?,
        micros,
        key_micros,
        took_micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(times: &[u32]) -> Vec<u8> {
        times.iter().flat_map(|time| time.to_le_bytes()).collect()
    }

    #[test]
    fn times_of_a_former_gateway_are_read_as_well() {
        assert_eq!(times(&written(&[1, 2, 3, 4, 5, 6, 7, 9, 40])), (vec![1, 2, 3, 4, 5, 6, 7], 9, 40));
        assert_eq!(times(&written(&[1, 2, 3, 4, 5, 6, 7, 40])), (vec![1, 2, 3, 4, 5, 6, 7], 0, 40));
        assert_eq!(times(&[]), (vec![0; PHASES.len()], 0, 0));
    }
}
