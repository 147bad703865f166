//! What one job does to the tables. Everything here runs inside the writer's transaction.
//!
//! It never begins or commits anything, so what it reports is true only after the commit.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::census::{Census, Moved};
use super::entry::{Appended, Settlement};
use super::filter::{Pace, State};
use super::id::EntryId;
use super::keyed::counts::Counts;
use super::ledger;
use super::marks::Marks;
use super::pace::Spread;
use super::queue::{Append, Purged, Quarantine};
use super::vault::Tag;

/// States of a row of `delivery`.
pub(super) mod delivery {
    /// In `delivery_due`.
    pub(in crate::inbox) const WAITING: i64 = 0;
    /// Waits for the one before it.
    pub(in crate::inbox) const BLOCKED: i64 = 1;
    /// The receiver has it.
    pub(in crate::inbox) const DELIVERED: i64 = 2;
    /// Given up.
    pub(in crate::inbox) const DEAD: i64 = 3;
    /// Its body cannot be read.
    pub(in crate::inbox) const CORRUPT: i64 = 4;
}

/// States of a row of `entry`.
pub(super) mod entry {
    /// See its deliveries.
    pub(in crate::inbox) const KEPT: i64 = 0;
    /// Its body could not be opened.
    pub(in crate::inbox) const QUARANTINED: i64 = 1;
    /// Its body cannot be read.
    pub(in crate::inbox) const CORRUPT: i64 = 2;
    /// Every receiver has it: it may be purged.
    pub(in crate::inbox) const DELIVERED: i64 = 3;
}

/// What is to be told when the commit has succeeded.
#[derive(Default)]
pub(super) struct Effects {
    /// These receivers may have something due now.
    pub(super) ready: Vec<Arc<str>>,
    /// These at that wall time.
    pub(super) ready_at: Vec<(Arc<str>, u64)>,
    /// Deliveries that left a state or entered one.
    pub(super) moved: Vec<Moved>,
    /// Deliveries whose body cannot be read, by receiver.
    pub(super) unreadable: Vec<Arc<str>>,
    /// Entries that were set aside.
    pub(super) corrupt: u64,
    /// Delivered entries that were purged.
    pub(super) purged: u64,
    /// Keys that left a state or entered one.
    pub(super) keyed: Counts,
    /// Keys whose time was over.
    pub(super) forgotten: u64,
    /// Answers that were dropped to make room; their keys stay.
    pub(super) dropped: u64,
    /// Of the ledger.
    pub(super) noted: ledger::Change,
}

/// The writing side of the database.
pub(super) struct Store {
    pub(super) connection: Connection,
    /// Names and their rows. Bounded by the configuration.
    names: HashMap<Arc<str>, i64>,
    texts: HashMap<i64, Arc<str>>,
    pub(super) marks: Marks,
    pub(super) census: Census,
    pub(super) keyed: Counts,
    /// How far the redriven deliveries of each receiver are spread already.
    spread: HashMap<i64, Spread>,
}

impl Effects {
    fn moved(&mut self, id: EntryId, receiver: i64, from: Option<i64>, to: Option<i64>) {
        self.moved.push(Moved { id, receiver, from: from.map(State::of_row), to: to.map(State::of_row) });
    }
}

/// A time or a count as the database keeps it.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Store {
    pub(super) fn new(connection: Connection, marks: Marks, census: Census, keyed: Counts) -> Self {
        Self { connection, names: HashMap::new(), texts: HashMap::new(), marks, census, keyed, spread: HashMap::new() }
    }

    /// After a rollback: names that were made in the transaction are not there.
    pub(super) fn forget(&mut self) {
        self.names.clear();
        self.texts.clear();
        self.marks.undo();
    }

    /// The row of a name.
    pub(super) fn name(&mut self, text: &str) -> rusqlite::Result<i64> {
        if let Some(row) = self.names.get(text) {
            return Ok(*row);
        }
        let find = "SELECT id FROM name WHERE text = ?1";
        let found = self.connection.prepare_cached(find)?.query_row([text], |row| row.get(0)).optional()?;
        let row = match found {
            Some(row) => row,
            None => self.connection.prepare_cached("INSERT INTO name (text) VALUES (?1)")?.insert([text])?,
        };
        let text: Arc<str> = text.into();
        self.names.insert(text.clone(), row);
        self.texts.insert(row, text);
        Ok(row)
    }

    /// The name of a row.
    pub(super) fn text(&mut self, row: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(text) = self.texts.get(&row) {
            return Ok(text.clone());
        }
        let find = "SELECT text FROM name WHERE id = ?1";
        let text: String = self.connection.prepare_cached(find)?.query_row([row], |row| row.get(0))?;
        let text: Arc<str> = text.into();
        self.names.insert(text.clone(), row);
        self.texts.insert(row, text.clone());
        Ok(text)
    }

    pub(super) fn append(&mut self, append: &Append, effects: &mut Effects) -> rusqlite::Result<Appended> {
        let repeat = self.marks.contains(&append.digest, append.received_ms);
        if repeat && append.natural {
            return Ok(Appended::Duplicate);
        }
        self.marks.insert(append.digest, append.received_ms);
        let source = self.name(&append.source)?;
        // What nobody is to have is delivered already.
        let state = if append.receivers.is_empty() { entry::DELIVERED } else { entry::KEPT };
        self.connection
            .prepare_cached(
                "INSERT INTO entry (id, source, kind, received, bytes, state, repeat, digest, tags, parent) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                append.id.row(),
                source,
                append.kind,
                number(append.received_ms),
                number(append.bytes as u64),
                state,
                repeat,
                append.digest,
                append.tags,
                append.parent.map(|parent| parent.to_string())
            ])?;
        self.insert_body(append.id, &append.sealed)?;
        for text in &append.receivers {
            let receiver = self.name(text)?;
            let state = match append.chain {
                Some(chain) if self.is_followed(receiver, chain)? => delivery::BLOCKED,
                _ => delivery::WAITING,
            };
            self.connection
                .prepare_cached(
                    "INSERT INTO delivery (entry, receiver, state, due, attempts, redriven, chain) \
                     VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)",
                )?
                .execute(params![append.id.row(), receiver, state, number(append.received_ms), append.chain])?;
            effects.moved(append.id, receiver, None, Some(state));
            if state == delivery::WAITING {
                effects.ready.push(text.clone());
            }
        }
        Ok(Appended::Stored(append.id))
    }

    fn insert_body(&self, id: EntryId, sealed: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO body (id, sealed) VALUES (?1, ?2)")?
            .execute(params![id.row(), sealed])?;
        Ok(())
    }

    /// Whether a delivery of this order key is unsettled. At most one of them is not blocked.
    fn is_followed(&self, receiver: i64, chain: Tag) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM delivery \
                 WHERE receiver = ?1 AND chain = ?2 AND chain IS NOT NULL AND state < 2)",
            )?
            .query_row(params![receiver, chain], |row| row.get(0))
    }

    /// The delivery after a settled one may go.
    fn unblock(&self, receiver: i64, chain: Tag) -> rusqlite::Result<bool> {
        let next = "SELECT entry FROM delivery WHERE receiver = ?1 AND chain = ?2 AND chain IS NOT NULL AND state < 2 \
                    AND state = 1 ORDER BY entry LIMIT 1";
        let next: Option<i64> =
            self.connection.prepare_cached(next)?.query_row(params![receiver, chain], |row| row.get(0)).optional()?;
        let Some(next) = next else { return Ok(false) };
        let unblock = "UPDATE delivery SET state = 0 WHERE entry = ?1 AND receiver = ?2";
        self.connection.prepare_cached(unblock)?.execute(params![next, receiver])?;
        Ok(true)
    }

    pub(super) fn settle(
        &mut self,
        id: EntryId,
        text: &Arc<str>,
        settlement: Settlement,
        now_ms: u64,
        effects: &mut Effects,
    ) -> rusqlite::Result<()> {
        let receiver = self.name(text)?;
        let (state, last) = match settlement {
            Settlement::Retry { wait, outcome } => {
                let due = now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                let retry = "UPDATE delivery SET due = ?3, attempts = attempts + 1, last = ?4 \
                             WHERE entry = ?1 AND receiver = ?2 AND state = 0";
                self.connection.prepare_cached(retry)?.execute(params![id.row(), receiver, number(due), outcome])?;
                effects.ready_at.push((text.clone(), due));
                return Ok(());
            }
            Settlement::Delivered => (delivery::DELIVERED, "delivered"),
            Settlement::Bury { reason } => (delivery::DEAD, reason),
        };
        let settle = "UPDATE delivery SET state = ?3, attempts = attempts + 1, last = ?4, settled = ?5 \
                      WHERE entry = ?1 AND receiver = ?2 AND state = 0 RETURNING chain";
        let chain: Option<Option<Tag>> = self
            .connection
            .prepare_cached(settle)?
            .query_row(params![id.row(), receiver, state, last, number(now_ms)], |row| row.get(0))
            .optional()?;
        let Some(chain) = chain else {
            // Purged or settled by hand in between: nothing is left to settle.
            return Ok(());
        };
        effects.moved(id, receiver, Some(delivery::WAITING), Some(state));
        if state == delivery::DELIVERED {
            self.finish(id)?;
        }
        if let Some(chain) = chain
            && self.unblock(receiver, chain)?
        {
            effects.ready.push(text.clone());
        }
        Ok(())
    }

    /// The entry may be purged when every receiver has it.
    fn finish(&self, id: EntryId) -> rusqlite::Result<()> {
        let finish = "UPDATE entry SET state = 3 WHERE id = ?1 AND state = 0 \
                      AND NOT EXISTS (SELECT 1 FROM delivery WHERE entry = ?1 AND state <> 2)";
        self.connection.prepare_cached(finish)?.execute([id.row()])?;
        Ok(())
    }

    pub(super) fn quarantine(&mut self, quarantine: &Quarantine) -> rusqlite::Result<()> {
        let source = self.name(&quarantine.source)?;
        self.connection
            .prepare_cached(
                "INSERT INTO entry (id, source, kind, received, bytes, state, repeat, digest, tags, reason) \
                 VALUES (?1, ?2, 0, ?3, ?4, 1, 0, x'', x'', ?5)",
            )?
            .execute(params![
                quarantine.id.row(),
                source,
                number(quarantine.received_ms),
                number(quarantine.bytes as u64),
                quarantine.reason
            ])?;
        self.insert_body(quarantine.id, &quarantine.sealed)?;
        let beyond = "SELECT id FROM entry WHERE source = ?1 AND state = 1 ORDER BY id DESC LIMIT -1 OFFSET ?2";
        let beyond: Vec<i64> = self
            .connection
            .prepare_cached(beyond)?
            .query_map(params![source, number(quarantine.most as u64)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for row in beyond {
            self.delete(EntryId::of_row(row))?;
        }
        Ok(())
    }

    /// Whether it was there.
    fn delete(&self, id: EntryId) -> rusqlite::Result<bool> {
        let delete = |sql: &str| self.connection.prepare_cached(sql)?.execute([id.row()]);
        delete("DELETE FROM delivery WHERE entry = ?1")?;
        delete("DELETE FROM body WHERE id = ?1")?;
        Ok(delete("DELETE FROM entry WHERE id = ?1")? > 0)
    }

    /// How many bodies of each source are in quarantine.
    pub(super) fn quarantined(&mut self) -> rusqlite::Result<Vec<(Arc<str>, i64)>> {
        let count = "SELECT source, count(*) FROM entry WHERE state = 1 GROUP BY source";
        let counts: Vec<(i64, i64)> = self
            .connection
            .prepare_cached(count)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        counts.into_iter().map(|(source, count)| Ok((self.text(source)?, count))).collect()
    }

    /// Sets an entry aside whose body cannot be read.
    pub(super) fn set_aside(&mut self, id: EntryId, now_ms: u64, effects: &mut Effects) -> rusqlite::Result<()> {
        let set_aside = "UPDATE entry SET state = ?2 WHERE id = ?1 AND state <> ?2";
        effects.corrupt +=
            self.connection.prepare_cached(set_aside)?.execute(params![id.row(), entry::CORRUPT])? as u64;
        let waiting: Vec<(i64, i64, Option<Tag>)> = self
            .connection
            .prepare_cached("SELECT receiver, state, chain FROM delivery WHERE entry = ?1 AND state < 2")?
            .query_map([id.row()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (receiver, state, chain) in waiting {
            self.connection
                .prepare_cached(
                    "UPDATE delivery SET state = 4, last = 'unreadable', settled = ?3 WHERE entry = ?1 AND receiver = ?2",
                )?
                .execute(params![id.row(), receiver, number(now_ms)])?;
            effects.moved(id, receiver, Some(state), Some(delivery::CORRUPT));
            let text = self.text(receiver)?;
            effects.unreadable.push(text.clone());
            if let Some(chain) = chain
                && state == delivery::WAITING
                && self.unblock(receiver, chain)?
            {
                effects.ready.push(text);
            }
        }
        Ok(())
    }

    pub(super) fn redrive(
        &mut self,
        deliveries: &[(EntryId, i64)],
        pace: Pace,
        now_ms: u64,
        effects: &mut Effects,
    ) -> rusqlite::Result<u64> {
        let mut count = 0;
        for (id, receiver) in deliveries {
            let find = "SELECT state, chain FROM delivery WHERE entry = ?1 AND receiver = ?2 AND state IN (0, 2, 3)";
            let found: Option<(i64, Option<Tag>)> = self
                .connection
                .prepare_cached(find)?
                .query_row(params![id.row(), receiver], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((from, chain)) = found else { continue };
            let blocked = from != delivery::WAITING
                && match chain {
                    Some(chain) => self.is_followed(*receiver, chain)?,
                    None => false,
                };
            let due = self.spread.entry(*receiver).or_default().next(pace, now_ms);
            let to = if blocked { delivery::BLOCKED } else { delivery::WAITING };
            self.connection
                .prepare_cached(
                    "UPDATE delivery SET state = ?3, due = ?4, attempts = 0, redriven = 1, settled = NULL \
                     WHERE entry = ?1 AND receiver = ?2",
                )?
                .execute(params![id.row(), receiver, to, number(due)])?;
            if from == delivery::DELIVERED {
                let reopen = "UPDATE entry SET state = 0 WHERE id = ?1 AND state = 3";
                self.connection.prepare_cached(reopen)?.execute([id.row()])?;
            }
            effects.moved(*id, *receiver, Some(from), Some(to));
            effects.ready_at.push((self.text(*receiver)?, due));
            count += 1;
        }
        Ok(count)
    }

    /// Purges the oldest delivered entries, at most this many; those that are received before `until_ms`, or all.
    pub(super) fn purge_delivered(
        &mut self,
        most: usize,
        until_ms: Option<u64>,
        effects: &mut Effects,
    ) -> rusqlite::Result<u64> {
        let until = until_ms.map_or(i64::MAX, number);
        let oldest: Vec<EntryId> = self
            .connection
            .prepare_cached("SELECT id, received FROM entry WHERE state = 3 ORDER BY id LIMIT ?1")?
            .query_map([number(most as u64)], |row| Ok((EntryId::of_row(row.get(0)?), row.get::<_, i64>(1)?)))?
            .take_while(|row| row.as_ref().map_or(true, |(_, received)| *received < until))
            .map(|row| row.map(|(id, _)| id))
            .collect::<rusqlite::Result<_>>()?;
        let purged = self.purge(&oldest, &Purged::default(), effects)?;
        effects.purged += purged;
        Ok(purged)
    }

    /// Purges what is meant of these entries. What it held up goes on. Returns how many entries; with a receiver, deliveries.
    pub(super) fn purge(&mut self, ids: &[EntryId], purged: &Purged, effects: &mut Effects) -> rusqlite::Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let receiver = match &purged.receiver {
            Some(text) => Some(self.name(text)?),
            None => None,
        };
        let mut count = 0;
        for id in ids {
            let mut gone: Vec<(i64, i64, Option<Tag>)> = self
                .connection
                .prepare_cached("SELECT receiver, state, chain FROM delivery WHERE entry = ?1")?
                .query_map([id.row()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let all = gone.len();
            gone.retain(|(of, _, _)| receiver.is_none_or(|receiver| receiver == *of));
            if !purged.waiting_too && gone.iter().any(|(_, state, _)| *state < delivery::DELIVERED) {
                continue;
            }
            if receiver.is_some() && gone.len() < all {
                for (receiver, _, _) in &gone {
                    let delete = "DELETE FROM delivery WHERE entry = ?1 AND receiver = ?2";
                    count += self.connection.prepare_cached(delete)?.execute([id.row(), *receiver])? as u64;
                }
                self.finish(*id)?;
            } else if receiver.is_none() || all > 0 {
                count += u64::from(self.delete(*id)?);
            }
            for (receiver, state, chain) in gone {
                effects.moved(*id, receiver, Some(state), None);
                if let (delivery::WAITING, Some(chain)) = (state, chain)
                    && self.unblock(receiver, chain)?
                {
                    effects.ready.push(self.text(receiver)?);
                }
            }
        }
        Ok(count)
    }
}
