//! A rate that moves: the one that the platform bears, of the one that is configured.
//!
//! Pure. It keeps three things in step: what passes, what leaves, and how far the rate has fallen.

use super::adapt::Adapt;
use super::rate::Rate;
use crate::clock::Instant;
use crate::config::{Frequency, Quota};

/// The rate of one gate.
#[derive(Debug)]
pub(super) struct Pace {
    /// Charged when a call's turn comes.
    pub(super) turns: Rate,
    /// Charged when a request leaves. Turns follow the rate, but what passed may leave in a bunch: bodies arrive slowly,
    /// and a request may leave again.
    pub(super) exits: Rate,
    pub(super) adapt: Adapt,
    quota: Quota,
}

impl Pace {
    /// With the whole burst.
    pub(super) fn new(quota: Quota, least: Option<Frequency>, now: Instant) -> Self {
        let Quota { rate, burst } = quota;
        Self {
            turns: Rate::new(rate, burst, now),
            exits: Rate::new(rate, burst, now),
            adapt: Adapt::new(part(quota, least)),
            quota,
        }
    }

    /// Another quota from now on, of which as much is used up as of this one, and which has fallen as far.
    pub(super) fn adopt(&mut self, quota: Quota, least: Option<Frequency>, now: Instant) {
        if quota != self.quota {
            let Quota { rate, burst } = quota;
            self.turns = self.turns.moved(rate, burst, now);
            self.exits = self.exits.moved(rate, burst, now);
            self.quota = quota;
        }
        let part = self.adapt.adopt(part(quota, least));
        self.set(part);
    }

    /// From now on calls pass and leave at this part of the full rate.
    pub(super) fn set(&mut self, part: f64) {
        self.turns.set(part);
        self.exits.set(part);
    }
}

/// The least rate as a part of the full one; without one the rate is fixed.
fn part(quota: Quota, least: Option<Frequency>) -> f64 {
    least.map_or(1.0, |least| least.per_second() / quota.rate.per_second())
}
