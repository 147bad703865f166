//! Finding what belongs together: the requests that were sent and the callbacks that came of them, by any id of theirs.
//!
//! It reads the narrow rows in order, as every search by an id does, the ids of each block, and a bounded number of bodies. It
//! writes nothing.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::block::{self, Kind, Noted};
use super::{PHASES, RequestBytes};
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
    request: Option<RequestBytes>,
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
///
/// The ids of all blocks are looked at, sixteen bytes at a time; the rest of a block only where one of its ids is sought.
fn calls_with(
    connection: &Connection,
    sought: &Sought,
    tags: &[Tag],
    named: &mut Vec<Tag>,
) -> rusqlite::Result<Vec<Found>> {
    let mut wanted: Vec<_> = sought.request.iter().chain(&sought.keys).chain(tags).collect();
    wanted.sort_unstable();
    let mut names = Names { connection, texts: HashMap::new() };
    let mut blocks = connection.prepare_cached("SELECT id, ids FROM ledger ORDER BY id")?;
    let mut rest = connection.prepare_cached("SELECT calls FROM ledger WHERE id = ?1")?;
    let (mut rows, mut calls) = (blocks.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        let (id, ids) = (row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?);
        if !ids.as_chunks().0.iter().any(|id| wanted.binary_search(&id).is_ok()) {
            continue;
        }
        let rest: Vec<u8> = rest.query_row([id], |row| row.get(0))?;
        let Some(noted) = block::read(ids, &rest) else {
            tracing::warn!("calls of the ledger cannot be read and are left out of what is told: look at the disk");
            continue;
        };
        for (kind, call) in noted {
            let is_own = sought.request == Some(call.request) || call.key.is_some_and(|key| sought.keys.contains(&key));
            if !is_own && !call.tags.iter().any(|tag| tags.contains(tag)) {
                continue;
            }
            let Some(names) = names.of(kind)? else { continue };
            if is_own {
                add_tags(named, call.tags.as_flattened());
            }
            calls.push(found(names, &call));
            if calls.len() > MOST {
                return Ok(calls);
            }
        }
    }
    Ok(calls)
}

/// Names by their rows, each read once.
struct Names<'a> {
    connection: &'a Connection,
    texts: HashMap<i64, Option<String>>,
}

impl Names<'_> {
    /// `None` when one of them is not there, which only damage does.
    fn of(&mut self, kind: Kind) -> rusqlite::Result<Option<[String; 5]>> {
        let mut names = [const { String::new() }; 5];
        for (name, row) in names.iter_mut().zip(kind) {
            if !self.texts.contains_key(&row) {
                let find = "SELECT text FROM name WHERE id = ?1";
                let text = self.connection.prepare_cached(find)?.query_row([row], |row| row.get(0)).optional()?;
                self.texts.insert(row, text);
            }
            match &self.texts[&row] {
                Some(text) => name.clone_from(text),
                None => return Ok(None),
            }
        }
        Ok(Some(names))
    }
}

fn found([program, account, operation, sent, outcome]: [String; 5], call: &Noted<'_>) -> Found {
    let [micros @ .., key_micros, took_micros] = call.micros;
    Found {
        request: call.request.iter().map(|byte| format!("{byte:02x}")).collect(),
        at_ms: call.at_ms,
        program,
        account,
        operation,
        keyed: call.key.is_some(),
        named: call.tags.len(),
        sent,
        status: call.status,
        outcome,
        code: call.code,
        replayed: call.replayed,
        micros: micros.to_vec(),
        key_micros,
        took_micros,
    }
}

/// A request id as its bytes; `None` for what is none.
fn digits(request: &str) -> Option<RequestBytes> {
    let (pairs, []) = request.as_bytes().as_chunks() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_bounded_and_each_stands_there_once() {
        let tag = |number: usize| Tag::from([number as u8; TAG]);
        let mut tags = vec![tag(1)];
        add_tags(&mut tags, [tag(2), tag(1), tag(2), tag(3)].as_flattened());
        assert_eq!(tags, [tag(1), tag(2), tag(3)]);
        let many: Vec<Tag> = (0..2 * MOST_TAGS).map(tag).collect();
        add_tags(&mut tags, many.as_flattened());
        assert_eq!((tags.len(), tags[MOST_TAGS - 1]), (MOST_TAGS, tag(MOST_TAGS - 1)));
    }

    #[test]
    fn a_request_id_is_sixteen_bytes() {
        let id = "b150cfdaa62039790000000000000001";
        assert_eq!(digits(id).map(|bytes| (bytes[0], bytes[15])), Some((0xb1, 1)));
        for wrong in [
            "",
            "b150",
            "b150cfdaa6203979000000000000000g",
            "b150cfdaa6203979000000000000001",
            "b150cfdaa62039790000000000000001b1",
            "é150cfdaa6203979000000000000000",
        ] {
            assert_eq!(digits(wrong), None, "{wrong}");
        }
    }
}
