//! Doors for fuzz targets: rows as they may stand in a database, read in every way that the inbox reads them.
//!
//! Compiled with the feature `fuzzing` only. The database is in memory; nothing here reads or writes a file.

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::census::Census;
use super::entry::Kind;
use super::filter::{Filter, Shown};
use super::id::EntryId;
use super::keyed::{self, KeptAnswer, KeyFilter};
use super::lease::Desk;
use super::ledger::{self, Sought};
use super::vault::{Epoch, Keys, SALT, Vault};
use super::{header, list, recovery, schema};
use crate::secret::Secret;
use crate::trace::TraceParent;

/// The receiver of what is written.
const RECEIVER: &str = "books";

/// The only way to be of no start of this vault, nor of its past.
const FORMER: u64 = 1;

/// A database with a vault.
pub struct Rows {
    connection: Connection,
    vault: Vault,
    /// Of the start before, whose key is not the one that seals now.
    former: Vault,
}

/// The rows of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub id: i64,
    /// Name of its source.
    pub source: String,
    /// The number that stands for its kind.
    pub kind: i64,
    /// Milliseconds since 1970.
    pub received: i64,
    /// Size of its body.
    pub bytes: i64,
    /// The number of its state.
    pub state: i64,
    /// The digest of its body.
    pub digest: Vec<u8>,
    /// Tags of its ids.
    pub tags: Vec<u8>,
    /// Its trace; need not be text.
    pub parent: Vec<u8>,
    /// Its sealed body.
    pub sealed: Vec<u8>,
    /// The number of the state of its delivery.
    pub delivery: i64,
    /// How often that was tried.
    pub attempts: i64,
}

/// What was read of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Each body that came open, and the number of its entry.
    pub opened: Vec<(i64, Vec<u8>)>,
    /// How many entries were listed.
    pub listed: usize,
    /// How many deliveries were leased, whether their bodies came open or not.
    pub leased: usize,
    /// How many questions the database refused to answer, because a column is not what it has to be.
    pub refused: usize,
}

impl Rows {
    /// An empty one, under keys that are always the same.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn try_new() -> Result<Self, String> {
        let connection = Connection::open_in_memory().map_err(|error| error.to_string())?;
        connection.execute_batch(&schema::MIGRATIONS.concat()).map_err(|error| error.to_string())?;
        let vault = |current: &str, old: &[Secret], epochs: &[u64]| {
            let keys = || Keys::new(&Secret::new(current), old);
            let of = |id: u64, key| Epoch { id, key, salt: [id as u8; SALT] };
            let former = Keys::new(&Secret::new("former"), &[]).current();
            let past = epochs.iter().map(|&id| of(id, former)).collect();
            let present = if epochs.is_empty() { FORMER } else { FORMER + 1 };
            Vault::new(keys(), of(present, keys().current()), past)
        };
        let former = vault("former", &[], &[]);
        Ok(Self { connection, vault: vault("present", &[Secret::new("former")], &[FORMER]), former })
    }

    /// Seals a body for a new entry, in this start or the one before. Its number, and the text.
    pub fn seal(&self, in_former: bool, source: &str, body: &[u8]) -> (i64, Vec<u8>) {
        let vault = if in_former { &self.former } else { &self.vault };
        // There are as many ids as nobody can use up.
        let id = vault.next_id().unwrap_or(EntryId::of_row(0));
        (id.row(), vault.seal(id, source, body))
    }

    /// Puts these rows in the place of all others.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn put(&self, written: &Written) -> Result<(), String> {
        let put = || {
            let clear = "DELETE FROM name; DELETE FROM entry; DELETE FROM body; DELETE FROM delivery";
            self.connection.execute_batch(clear)?;
            let name = "INSERT INTO name (id, text) VALUES (?1, ?2)";
            self.connection.prepare_cached(name)?.execute(params![1, RECEIVER])?;
            if written.source != RECEIVER {
                self.connection.prepare_cached(name)?.execute(params![2, written.source])?;
            }
            let entry = "INSERT INTO entry (id, source, kind, received, bytes, state, repeat, digest, tags, parent) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, CAST(?9 AS TEXT))";
            self.connection.prepare_cached(entry)?.execute(params![
                written.id,
                if written.source == RECEIVER { 1 } else { 2 },
                written.kind,
                written.received,
                written.bytes,
                written.state,
                written.digest,
                written.tags,
                written.parent
            ])?;
            let body = "INSERT INTO body (id, sealed) VALUES (?1, ?2)";
            self.connection.prepare_cached(body)?.execute(params![written.id, written.sealed])?;
            let delivery = "INSERT INTO delivery (entry, receiver, state, due, attempts, redriven) \
                            VALUES (?1, 1, ?2, 0, ?3, 0)";
            self.connection.prepare_cached(delivery)?.execute(params![
                written.id,
                written.delivery,
                written.attempts
            ])?;
            Ok(())
        };
        put().map_err(|error: rusqlite::Error| error.to_string())
    }

    /// Puts this block in the place of all others, and finds what belongs to a request. The times of the calls that are found;
    /// `None` when the database refuses to answer.
    pub fn noted(&self, ids: &[u8], rest: &[u8], request: [u8; 16]) -> Option<Vec<u64>> {
        // Nothing of an input before: an odd entry that has one of these tags is refused, and with it the answer.
        let clear = "DELETE FROM entry; DELETE FROM body; DELETE FROM delivery; DELETE FROM name; DELETE FROM ledger; \
                     INSERT INTO name VALUES (1, 'books')";
        self.connection.execute_batch(clear).ok()?;
        let put = "INSERT INTO ledger (id, newest, ids, calls) VALUES (0, 0, ?1, ?2)";
        self.connection.prepare_cached(put).ok()?.execute(params![ids, rest]).ok()?;
        let request: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
        let trace = ledger::trace(&self.connection, &self.vault, &Sought::new(&self.vault, &request)).ok()?;
        self.connection.execute_batch("DELETE FROM ledger").ok()?;
        Some(trace.calls.iter().map(|call| call.at_ms).collect())
    }

    /// Reads them in every way: as a lease, as a list, as one entry, by an id of theirs, and as a start does.
    pub fn read(&self, id: i64) -> Read {
        let (connection, vault, mut read) = (&self.connection, &self.vault, Read::default());
        let id = EntryId::of_row(id);
        let counter = Desk::new(&[RECEIVER.to_owned()]).counter(RECEIVER);
        match list::lease(connection, &counter, 10, u64::MAX) {
            Ok(candidates) => {
                read.leased = candidates.len();
                for candidate in candidates {
                    let row = candidate.id.row();
                    let body = vault.open(candidate.id, &candidate.source, candidate.sealed);
                    read.opened.extend(body.ok().map(|body| (row, body)));
                }
            }
            Err(_) => read.refused += 1,
        }
        match list::list(connection, vault, &Filter::default(), None, 10) {
            Ok(listed) => {
                read.listed = listed.len();
                // As the pages print it and as they are asked for it.
                let again = |id: EntryId| id.to_string().parse::<EntryId>().is_ok_and(|read| read == id);
                debug_assert!(listed.iter().all(|listed| listed.id.row() < 0 || again(listed.id)));
            }
            Err(_) => read.refused += 1,
        }
        match list::show(connection, vault, id) {
            Ok(shown) => {
                let sealed = shown.and_then(|(listed, sealed)| Some((listed, sealed?)));
                let body = sealed.and_then(|(listed, sealed)| vault.open(id, &listed.source, sealed).ok());
                read.opened.extend(body.map(|body| (id.row(), body)));
            }
            Err(_) => read.refused += 1,
        }
        match ledger::trace(connection, vault, &Sought::new(vault, &id.to_string())) {
            Ok(trace) => {
                let opened = |Shown { listed, body }: Shown| Some((listed.id.row(), body?.to_vec()));
                read.opened.extend(trace.callbacks.into_iter().filter_map(opened));
            }
            Err(_) => read.refused += 1,
        }
        read.refused += usize::from(recovery::read_marks(connection).is_err());
        read.refused += usize::from(Census::take(connection).is_err());
        read.refused += usize::from(keyed::reading::list(connection, vault, &KeyFilter::default(), None, 10).is_err());
        read
    }

    /// The word for a number of the column `kind`.
    pub fn kind(number: i64) -> &'static str {
        Kind::of_row(number).as_str()
    }
}

/// A call of the ledger, as it stands in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedCall {
    /// Rows of `name`: its program, account, operation, whether it was sent, its outcome.
    pub kind: [i64; 5],
    /// Its request id.
    pub request: [u8; 16],
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The tag of its key.
    pub key: Option<[u8; 16]>,
    /// Tags of what its answer named.
    pub tags: Vec<[u8; 16]>,
    /// The status that was told.
    pub status: u16,
    /// The platform's code.
    pub code: Option<i64>,
    /// It was sent again.
    pub replayed: bool,
    /// Microseconds of each phase, of the key, of all.
    pub micros: [u32; 9],
}

/// The ids and the rest of a block of these.
pub fn written_block(calls: &[NotedCall]) -> (Vec<u8>, Vec<u8>) {
    let (mut block, mut kinds) = (ledger::Block::default(), Vec::new());
    for call in calls {
        let known = kinds.iter().find_map(|(kind, number)| (*kind == call.kind).then_some(*number));
        let number = known.unwrap_or_else(|| {
            let number = block.name(call.kind);
            kinds.push((call.kind, number));
            number
        });
        let NotedCall { request, at_ms, key, ref tags, status, code, replayed, micros, .. } = *call;
        block.add(number, &ledger::Noted { request, at_ms, key, tags, status, code, replayed, micros });
    }
    block.finish()
}

/// The calls of a block, if it is whole.
pub fn read_block(ids: &[u8], rest: &[u8]) -> Option<Vec<NotedCall>> {
    let owned = |(kind, call): ([i64; 5], ledger::Noted<'_>)| {
        let ledger::Noted { request, at_ms, key, tags, status, code, replayed, micros } = call;
        NotedCall { kind, request, at_ms, key, tags: tags.to_vec(), status, code, replayed, micros }
    };
    Some(ledger::read(ids, rest)?.into_iter().map(owned).collect())
}

/// What is decided of a file by its first bytes.
///
/// # Errors
/// The sentence for the operator.
pub fn header_verdict(first: &[u8], was_ours: bool) -> Result<(), String> {
    header::judge(first, was_ours).map_err(|obstacle| obstacle.sentence)
}

/// Status, lines and body of an answer as it was sealed, and the same answer written again.
pub fn kept_answer(text: &[u8]) -> Option<(KeptAnswer, Vec<u8>)> {
    let answer = KeptAnswer::read(&Bytes::copy_from_slice(text))?;
    let written = answer.write();
    Some((answer, written))
}

/// A trace as a row has it, and as it is passed on.
pub fn written_parent(text: &[u8]) -> Option<String> {
    TraceParent::parse(text).map(|parent| parent.to_string())
}
