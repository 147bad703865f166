//! What we refused and the platform will try again: how long until it gives up.
//!
//! The platform tries a callback once and, while it is not answered 200, five times more a minute apart, then never
//! again. Each refused one is remembered by a keyed hash until it is accepted or its last try is over; nothing of it is kept.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;

/// From the first try to the last: five more, a minute apart.
pub(super) const LAST_TRY: Duration = Duration::from_secs(300);

/// How late the last try may come before the callback counts as lost: each try may itself have waited for an answer.
const LATE: Duration = Duration::from_secs(30);

/// Most callbacks of one source that are remembered: more than five minutes of 500 a second. Later ones are less urgent
/// than those that are remembered, so the time that is shown stays right.
const MOST: usize = 200_000;

/// The refused callbacks of one source; at first none.
#[derive(Default)]
pub(super) struct Losses {
    /// Its key is random and new at each start, so that nobody outside can make two callbacks look alike.
    hasher: RandomState,
    refused: Mutex<Refused>,
}

#[derive(Default)]
struct Refused {
    first: HashMap<Mark, Instant>,
    /// In the order of time. What `first` says otherwise by now was accepted in the meantime.
    order: VecDeque<(Instant, Mark)>,
}

/// By what a callback is known again when it comes once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

/// What of a callback's bytes is known.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// Its signature. A sealed body may look different each time it is sent.
    Signed(&'a [u8]),
    /// The whole body.
    Body(&'a [u8]),
    /// The body was not read to its end; its declared length, if any, is all there is. Too little to know it again: what
    /// was refused so stays at risk until its last try is over, because a false alarm is better than none.
    Length(Option<u64>),
}

impl Losses {
    fn mark(&self, seen: Seen<'_>) -> Mark {
        Mark(match seen {
            Seen::Signed(signed) => self.hasher.hash_one((0_u8, signed.to_ascii_lowercase())),
            Seen::Body(body) => self.hasher.hash_one((1_u8, body)),
            Seen::Length(length) => self.hasher.hash_one((2_u8, length)),
        })
    }

    /// One was refused. Only the first time counts.
    pub(super) fn refused(&self, seen: Seen<'_>, now: Instant) {
        let mark = self.mark(seen);
        let mut refused = self.lock();
        if refused.order.len() >= MOST {
            return;
        }
        if let Entry::Vacant(free) = refused.first.entry(mark) {
            free.insert(now);
            refused.order.push_back((now, mark));
        }
    }

    /// One was accepted.
    pub(super) fn accepted(&self, seen: Seen<'_>) {
        if self.lock().first.is_empty() {
            return;
        }
        let mark = self.mark(seen);
        self.lock().first.remove(&mark);
    }

    /// The time left until the last try of the most urgent one ([`LAST_TRY`] when there is none), and how many were
    /// lost since the last look.
    pub(super) fn look(&self, now: Instant) -> (Duration, u64) {
        let mut refused = self.lock();
        let Refused { first, order } = &mut *refused;
        let mut lost = 0;
        while let Some((since, mark)) = order.front() {
            let elapsed = now.saturating_duration_since(*since);
            if first.get(mark) == Some(since) {
                if elapsed <= LAST_TRY + LATE {
                    return (LAST_TRY.saturating_sub(elapsed), lost);
                }
                first.remove(mark);
                lost += 1;
            }
            order.pop_front();
        }
        (LAST_TRY, lost)
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const A: Seen<'_> = Seen::Body(b"a");
    const B: Seen<'_> = Seen::Signed(b"BEEF");

    #[test]
    fn the_most_urgent_one_counts_until_it_is_accepted_or_lost() {
        let (losses, start) = (Losses::default(), clock::now());
        let look = |after: u64| {
            let (left, lost) = losses.look(start + Duration::from_secs(after));
            (left.as_secs(), lost)
        };
        assert_eq!(look(0), (300, 0));
        losses.refused(A, start);
        losses.refused(B, start + Duration::from_secs(100));
        losses.refused(A, start + Duration::from_secs(110));
        assert_eq!(look(120), (180, 0), "the first refusal counts");
        losses.accepted(A);
        assert_eq!(look(120), (280, 0));
        losses.accepted(Seen::Signed(b"beef"));
        assert_eq!(look(120), (300, 0));
        losses.refused(A, start + Duration::from_secs(130));
        assert_eq!(look(130 + 300), (0, 0), "the last try may be under way");
        assert_eq!(look(130 + 330), (0, 0));
        assert_eq!(look(130 + 331), (300, 1));
        assert_eq!(look(130 + 332), (300, 0), "each is lost once");
        assert!(losses.lock().first.is_empty() && losses.lock().order.is_empty());
    }

    #[test]
    fn one_that_is_refused_again_after_it_was_accepted_begins_anew() {
        let (losses, start) = (Losses::default(), clock::now());
        losses.refused(A, start);
        losses.accepted(A);
        losses.refused(A, start + Duration::from_secs(200));
        assert_eq!(losses.look(start + Duration::from_secs(400)), (Duration::from_secs(100), 0));
        assert_eq!(losses.look(start + Duration::from_secs(600)).1, 1);
    }

    #[test]
    fn a_length_is_too_little_to_know_a_callback_again() {
        let (losses, start) = (Losses::default(), clock::now());
        losses.refused(Seen::Length(Some(1)), start);
        losses.accepted(A);
        assert_eq!(losses.look(start + Duration::from_secs(100)), (Duration::from_secs(200), 0));
    }

    #[test]
    fn a_flood_is_remembered_up_to_a_bound() {
        let (losses, start) = (Losses::default(), clock::now());
        for n in 0..MOST as u64 + 10 {
            losses.refused(Seen::Length(Some(n)), start);
        }
        assert_eq!(losses.lock().order.len(), MOST);
        assert_eq!(losses.look(start + LAST_TRY + LATE + Duration::from_secs(1)).1, MOST as u64);
    }
}
