//! How slowly a body may arrive: each silence has its bound, and all the waiting together one that grows with what came.
//!
//! A bound for each silence alone is no bound: who sends a byte now and then stays for ever. It counts the time that was
//! waited, so whoever reads slowly himself takes nothing from his peer. It never looks at the clock.

use std::time::Duration;

/// Bytes of a body that are worth a second of waiting. So a body that comes at this pace or faster is never too slow.
const A_SECOND: u64 = 1024;

/// How long a request's body may keep us waiting, beside what its bytes are worth: a program that sends a head has the body
/// at hand, or nearly so. It is shorter than the time of a head, because a body may have waited for memory before.
pub(super) const OF_REQUEST: Duration = Duration::from_secs(8);

/// The same for an answer's body, in longest silences: a platform may think more than once while it answers.
pub(super) const OF_ANSWER: u32 = 4;

/// The pace of one body.
pub(super) struct Pace {
    silence: Duration,
    grace: Duration,
    came: u64,
    /// What ends the wait that was allowed last.
    pub(super) bound: Bound,
}

/// What a body met that came too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The longest single silence.
    Silence,
    /// That of all the waiting together.
    All,
}

impl Pace {
    /// No single silence longer than `silence`, and no more waiting in all than `grace` and what comes is worth.
    pub(super) fn new(silence: Duration, grace: Duration) -> Self {
        Self { silence, grace, came: 0, bound: Bound::Silence }
    }

    /// So much more of the body has come. What frames it does not count.
    pub(super) fn note(&mut self, bytes: usize) {
        self.came += bytes as u64;
    }

    /// How long the next wait may take after so much waiting; zero: what is not there already is too late.
    pub(super) fn allowed(&mut self, waited: Duration) -> Duration {
        let worth = Duration::from_millis(self.came.saturating_mul(1000) / A_SECOND);
        let left = self.grace.saturating_add(worth).saturating_sub(waited);
        self.bound = if left < self.silence { Bound::All } else { Bound::Silence };
        left.min(self.silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waiting_is_paid_for_with_bytes() {
        let mut pace = Pace::new(30 * SECOND, 10 * SECOND);
        for (more, waited, allowed) in
            [(0, 0, 10), (0, 4, 6), (0, 10, 0), (0, 11, 0), (1024, 10, 1), (9 * 1024, 10, 10), (1 << 20, 10, 30)]
        {
            pace.note(more);
            assert_eq!(pace.allowed(waited * SECOND), allowed * SECOND, "{more} more, after {waited}");
            assert_eq!(
                pace.bound,
                if allowed < 30 { Bound::All } else { Bound::Silence },
                "{more} more, after {waited}"
            );
        }
        pace.note(usize::MAX >> 1);
        assert_eq!(pace.allowed(SECOND), 30 * SECOND);
    }

    #[test]
    fn a_silence_is_never_longer_than_it_may_be() {
        let mut pace = Pace::new(2 * SECOND, 10 * SECOND);
        assert_eq!((pace.allowed(Duration::ZERO), pace.allowed(9 * SECOND)), (2 * SECOND, SECOND));
    }
}
