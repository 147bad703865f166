//! What an operator asks the inbox for, and what he is shown.
//!
//! Types only. A filter may hold the id of a call, so none of them can be printed.

use bytes::Bytes;

use super::entry::Kind;
use super::id::EntryId;

/// Where an entry or a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not settled: due, waiting for its next attempt, or for the delivery before it.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// Given up; kept until it is redriven or purged by hand.
    Dead,
    /// Its body could not be opened; it has no deliveries.
    Quarantined,
    /// It cannot be read from the disk any more.
    Corrupt,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Delivered, Self::Dead, Self::Quarantined, Self::Corrupt];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Quarantined => "quarantined",
            Self::Corrupt => "corrupt",
        }
    }

    /// The state of a stable word.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The first and the last number that say so in the state of a delivery.
    pub(super) const fn rows(self) -> (i64, i64) {
        match self {
            Self::Waiting => (0, 1),
            Self::Delivered => (2, 2),
            Self::Dead => (3, 3),
            Self::Corrupt => (4, 4),
            // Entries are in quarantine, never deliveries.
            Self::Quarantined => (-1, -1),
        }
    }

    /// What a number says in the state of a delivery.
    pub(super) const fn of_row(row: i64) -> Self {
        match row {
            2 => Self::Delivered,
            3 => Self::Dead,
            4 => Self::Corrupt,
            _ => Self::Waiting,
        }
    }
}

/// Which entries are meant: those that fit all that is given.
#[derive(Clone, Default)]
pub struct Filter {
    /// Name of a source.
    pub source: Option<String>,
    /// Name of a receiver; with `state`, the delivery to it stands there.
    pub receiver: Option<String>,
    /// What they are about.
    pub kind: Option<Kind>,
    /// One of their deliveries stands there, or they do.
    pub state: Option<State>,
    /// They name this call.
    pub call: Option<String>,
    /// They name this task or workflow.
    pub task: Option<String>,
    /// This one.
    pub id: Option<EntryId>,
    /// Received at this time or later: milliseconds since 1970-01-01 UTC.
    pub since_ms: Option<u64>,
    /// Received before this time.
    pub until_ms: Option<u64>,
}

/// An entry without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: EntryId,
    /// Where it arrived.
    pub source: String,
    /// What it is about.
    pub kind: Kind,
    /// When it was received: milliseconds since 1970-01-01 UTC.
    pub received_ms: u64,
    /// Size of the body in bytes.
    pub bytes: u64,
    /// An identical one came within the ten minutes before it.
    pub repeat: bool,
    /// Quarantined or corrupt; else the worst of its deliveries: waiting, dead, corrupt, delivered.
    pub state: State,
    /// Why it is in quarantine: a stable word.
    pub reason: Option<String>,
    /// One for each receiver.
    pub deliveries: Vec<ListedDelivery>,
}

/// A delivery of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Name of the receiver.
    pub receiver: String,
    /// Where it stands.
    pub state: State,
    /// Attempts since it was stored or redriven.
    pub attempts: u32,
    /// When it is due, while it waits; `None` also while it waits for the delivery before it.
    pub due_ms: Option<u64>,
    /// How the last attempt ended: a stable word.
    pub last: Option<String>,
    /// When it was settled.
    pub settled_ms: Option<u64>,
}

/// An entry with its body.
pub struct Shown {
    /// The entry.
    pub listed: Listed,
    /// Its body; `None` when it cannot be read any more.
    pub body: Option<Bytes>,
}

/// How fast redriven deliveries become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Deliveries of one receiver a second; 0 is taken as 1.
    pub per_second: u32,
}

/// What one bounded step of an operation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Deliveries that were redriven, or entries that were purged (with a receiver, deliveries to it); with `dry_run`, that would have been.
    pub matched: u64,
    /// Go on after this one; `None` when there is nothing left.
    pub next: Option<EntryId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_its_word_and_by_its_row() {
        for state in State::ALL {
            assert_eq!(State::find(state.as_str()), Some(state));
            let (first, last) = state.rows();
            let read = |row| if row < 0 { State::Quarantined } else { State::of_row(row) };
            assert!((first..=last).all(|row| read(row) == state), "{state:?}");
        }
        assert_eq!(State::find("Waiting"), None);
    }
}
