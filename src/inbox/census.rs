//! How many deliveries of each receiver stand where, and which is the oldest. Kept up with every commit, so that no scrape
//! and no upkeep has to count rows.
//!
//! Counted once from the tables when the database is taken over. It holds no ids, only blocks of them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::filter::State;
use super::id::EntryId;

/// Ids of one block: few enough to be read in a moment, many enough that ten million entries make some thousand blocks.
const BLOCK_BITS: u32 = 12;

/// A delivery that left a state, entered one, or both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) id: EntryId,
    pub(super) receiver: i64,
    pub(super) from: Option<State>,
    pub(super) to: Option<State>,
}

/// Deliveries by receiver and state.
#[derive(Default)]
pub(super) struct Census {
    standing: HashMap<(i64, State), Standing>,
}

/// Deliveries of one receiver in one state.
#[derive(Default)]
struct Standing {
    count: u64,
    /// How many have their id in a block. Blocks without any are not there.
    blocks: BTreeMap<i64, u32>,
}

/// What the series show.
pub(super) struct Counted {
    pub(super) receiver: i64,
    pub(super) state: State,
    pub(super) count: u64,
    /// When the oldest was received.
    pub(super) oldest_ms: Option<u64>,
}

impl Census {
    /// Counts the tables.
    pub(super) fn take(connection: &Connection) -> rusqlite::Result<Self> {
        let mut census = Self::default();
        let mut all = connection.prepare("SELECT entry, receiver, state FROM delivery ORDER BY entry")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let (id, to) = (EntryId::of_row(row.get(0)?), Some(State::of_row(row.get(2)?)));
            census.count(Moved { id, receiver: row.get(1)?, from: None, to });
        }
        Ok(census)
    }

    /// Follows a delivery.
    pub(super) fn count(&mut self, moved: Moved) {
        let block = moved.id.row() >> BLOCK_BITS;
        if moved.from == moved.to {
            return;
        }
        if let Some(from) = moved.from {
            let standing = self.standing.entry((moved.receiver, from)).or_default();
            standing.count = standing.count.saturating_sub(1);
            if let Some(count) = standing.blocks.get_mut(&block) {
                *count -= 1;
                if *count == 0 {
                    standing.blocks.remove(&block);
                }
            }
        }
        if let Some(to) = moved.to {
            let standing = self.standing.entry((moved.receiver, to)).or_default();
            standing.count += 1;
            *standing.blocks.entry(block).or_default() += 1;
        }
    }

    /// How many deliveries wait for each receiver.
    pub(super) fn waiting(&self) -> Vec<(i64, u64)> {
        let waiting =
            self.standing.iter().filter(|((_, state), standing)| *state == State::Waiting && standing.count > 0);
        waiting.map(|((receiver, _), standing)| (*receiver, standing.count)).collect()
    }

    /// What there is now. Reads one block of ids for each receiver and state.
    pub(super) fn read(&self, connection: &Connection) -> rusqlite::Result<Vec<Counted>> {
        let mut found = Vec::with_capacity(self.standing.len());
        for ((receiver, state), standing) in &self.standing {
            let oldest = standing.blocks.first_key_value().map(|(block, _)| block << BLOCK_BITS);
            let oldest_ms = match oldest {
                Some(first) => connection
                    .prepare_cached(
                        "SELECT e.received FROM delivery d JOIN entry e ON e.id = d.entry \
                         WHERE d.entry >= ?1 AND d.entry < ?2 AND d.receiver = ?3 AND d.state BETWEEN ?4 AND ?5 \
                         ORDER BY d.entry LIMIT 1",
                    )?
                    .query_row(
                        params![first, first + (1 << BLOCK_BITS), receiver, state.rows().0, state.rows().1],
                        |row| row.get::<_, i64>(0),
                    )
                    .optional()?
                    .and_then(|received| u64::try_from(received).ok()),
                None => None,
            };
            found.push(Counted { receiver: *receiver, state: *state, count: standing.count, oldest_ms });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_counted_where_it_stands_and_nowhere_else() {
        let mut census = Census::default();
        let id = |counter| EntryId::try_new(1, counter).expect("it fits");
        let mut walk = |counter, from, to| census.count(Moved { id: id(counter), receiver: 1, from, to });
        walk(1, None, Some(State::Waiting));
        walk(1 << 13, None, Some(State::Waiting));
        walk(1, Some(State::Waiting), Some(State::Waiting));
        walk(1, Some(State::Waiting), Some(State::Dead));
        let waiting = &census.standing[&(1, State::Waiting)];
        assert_eq!((waiting.count, waiting.blocks.len()), (1, 1), "the block of the first is not there any more");
        assert_eq!(census.waiting(), [(1, 1)]);
        assert_eq!(census.standing[&(1, State::Dead)].count, 1);
        census.count(Moved { id: id(1), receiver: 1, from: Some(State::Dead), to: None });
        assert_eq!(census.standing[&(1, State::Dead)].count, 0);
        census.count(Moved { id: id(1 << 13), receiver: 1, from: Some(State::Waiting), to: Some(State::Delivered) });
        assert_eq!(census.waiting(), [], "a receiver for which nothing waits any more is not told of");
    }
}
