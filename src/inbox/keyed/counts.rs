//! How many keys stand where: what a transaction changes, and the sum.
//!
//! Numbers only; they are true after the commit and not before.

use super::kinds::KeyState;

/// How many keys stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::inbox) struct Counts {
    /// Calls under way, and those whose end could not be kept.
    pub(in crate::inbox) sending: i64,
    pub(in crate::inbox) unknown: i64,
    /// All others.
    pub(in crate::inbox) remembered: i64,
}

impl Counts {
    /// Adds what has changed.
    pub(in crate::inbox) fn add(&mut self, change: Self) {
        self.sending += change.sending;
        self.unknown += change.unknown;
        self.remembered += change.remembered;
    }

    pub(super) fn of(&mut self, state: KeyState) -> &mut i64 {
        match state {
            KeyState::Sending => &mut self.sending,
            KeyState::Unknown => &mut self.unknown,
            KeyState::Answered | KeyState::NotKept | KeyState::Settled => &mut self.remembered,
        }
    }
}
