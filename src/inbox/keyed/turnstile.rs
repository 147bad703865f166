//! One call at a time for each key, in memory: the others wait in the order of their coming.
//!
//! A turnstile is there only while somebody is in it or waits at it. How long somebody waits is for him to decide; how many
//! wait is bounded by the connections of programs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::inbox::vault::Tag;

/// Most ends of calls that are tried again at the same time, each with an answer in memory.
const MOST_LATE: usize = 256;

/// The turnstiles of all keys that are in use now.
pub(in crate::inbox) struct Turnstiles {
    all: Mutex<HashMap<Tag, Arc<Semaphore>>>,
    late: Arc<Semaphore>,
}

impl Default for Turnstiles {
    fn default() -> Self {
        Self { all: Mutex::default(), late: Arc::new(Semaphore::new(MOST_LATE)) }
    }
}

/// The way into a key. Dropping it gives up.
pub struct Entrance(Seat);

/// Proof that nobody else is under way with the key. Dropping it lets the next one in.
pub struct Flight {
    // Given back before the turnstile is looked after.
    _permit: OwnedSemaphorePermit,
    _seat: Seat,
}

/// A part in a turnstile; the last one takes it away.
struct Seat {
    turnstiles: Arc<Turnstiles>,
    tag: Tag,
    turnstile: Option<Arc<Semaphore>>,
}

impl Turnstiles {
    /// Stands in line for a key.
    pub(super) fn entrance(self: &Arc<Self>, tag: Tag) -> Entrance {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let turnstile = all.entry(tag).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        drop(all);
        Entrance(Seat { turnstiles: self.clone(), tag, turnstile: Some(turnstile) })
    }

    /// Whether nobody is under way with a key, and no end of a call is tried again.
    pub(in crate::inbox) fn is_idle(&self) -> bool {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).is_empty() && self.late.available_permits() == MOST_LATE
    }

    /// A place among those whose end is tried again.
    pub(super) fn late(&self) -> Option<OwnedSemaphorePermit> {
        self.late.clone().try_acquire_owned().ok()
    }
}

impl Entrance {
    /// Enters, once whoever is in has left. Giving up this wait loses nothing.
    pub async fn enter(self) -> Flight {
        let Self(seat) = self;
        let entered = match &seat.turnstile {
            Some(turnstile) => turnstile.clone().acquire_owned().await.ok(),
            None => None,
        };
        match entered {
            Some(permit) => Flight { _permit: permit, _seat: seat },
            // It is never closed, and a seat has one until it is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.turnstile = None;
        let mut all = self.turnstiles.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&self.tag).is_some_and(|turnstile| Arc::strong_count(turnstile) == 1) {
            all.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_is_in_and_the_others_follow_in_their_order() {
        let turnstiles = Arc::<Turnstiles>::default();
        let first = turnstiles.entrance([1; 16]).enter().await;
        let other = turnstiles.entrance([2; 16]).enter().await;
        let order = Arc::<Mutex<Vec<u8>>>::default();
        let mut waiting = Vec::new();
        for number in 0..3 {
            let (entrance, order) = (turnstiles.entrance([1; 16]), order.clone());
            waiting.push(tokio::spawn(async move {
                let flight = entrance.enter().await;
                order.lock().expect("no panic").push(number);
                drop(flight);
            }));
            tokio::task::yield_now().await;
        }
        waiting.remove(1).abort();
        tokio::task::yield_now().await;
        assert!(order.lock().expect("no panic").is_empty(), "the first is still in");
        drop(first);
        for waiting in waiting {
            waiting.await.expect("no panic");
        }
        assert_eq!(*order.lock().expect("no panic"), [0, 2], "who gave up lets the next one through");
        assert_eq!(turnstiles.all.lock().expect("no panic").len(), 1);
        drop(other);
        assert!(turnstiles.all.lock().expect("no panic").is_empty(), "nothing is left of a key that nobody uses");
    }
}
