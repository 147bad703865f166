//! What is used up of the rates, for the process that takes over: together the two never pass what one may.
//!
//! It travels in calls, not in times, because that is what rules that changed meanwhile can still be charged with.

use serde::{Deserialize, Serialize};

use super::{AccountLimits, ProgramLimits};
use crate::clock::Instant;

/// What is used up of one gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(super) turns: Level,
    pub(super) exits: Level,
}

/// What is used up of one rate, in calls at its full rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    /// Of its burst.
    pub(super) within: f64,
    /// Beyond it: what went out ahead of its time, and what is still to go out of a queue.
    pub(super) beyond: f64,
}

/// What is used up of one gate, under its owner's name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpentBy {
    owner: String,
    /// Of the gate for this operation; without one of the owner's own.
    operation: Option<String>,
    spent: Spent,
}

impl Level {
    /// With so many more calls to come.
    pub(super) fn and(self, waiting: usize) -> Self {
        Self { beyond: self.beyond + waiting as f64, ..self }
    }
}

impl ProgramLimits {
    /// What each program used up, those included that wait.
    pub(crate) fn spent(all: &[Self], now: Instant) -> Vec<SpentBy> {
        let own = |own: &Self| {
            let spent = own.gate.as_ref()?.spent(now)?;
            Some(SpentBy { owner: own.name.clone(), operation: None, spent })
        };
        all.iter().filter_map(own).collect()
    }

    /// Counts as used up what another process used up under the same names.
    pub(crate) fn owe(all: &[Self], spent: &[SpentBy], now: Instant) {
        for spent in spent {
            let own = all.iter().find(|own| own.name == spent.owner);
            if let Some(gate) = own.and_then(|own| own.gate.as_ref()) {
                gate.owe(&spent.spent, now);
            }
        }
    }
}

impl AccountLimits {
    /// What the account used up, and what its operations did, those calls included that wait.
    pub(crate) fn spent(&self, owner: &str, now: Instant) -> Vec<SpentBy> {
        let own = self.gate.as_ref().map(|gate| (None, gate));
        let gates = self.operations.iter().map(|(name, gate)| (Some(name.clone()), gate)).chain(own);
        let spent = |(operation, gate): (_, &super::Gate)| {
            Some(SpentBy { owner: owner.to_owned(), operation, spent: gate.spent(now)? })
        };
        gates.filter_map(spent).collect()
    }

    /// Counts as used up what another process used up of this account.
    pub(crate) fn owe(&self, owner: &str, spent: &[SpentBy], now: Instant) {
        for spent in spent.iter().filter(|spent| spent.owner == *owner) {
            let gate = match &spent.operation {
                None => self.gate.as_ref(),
                Some(operation) => self.of_operation(operation),
            };
            if let Some(gate) = gate {
                gate.owe(&spent.spent, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_counted_as_what_is_still_to_go_out() {
        let level = Level { within: 1.5, beyond: 2.0 };
        assert_eq!(level.and(3), Level { within: 1.5, beyond: 5.0 });
        assert_eq!(level.and(0), level);
    }
}
