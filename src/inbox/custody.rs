//! Whose the database is while one process takes over from another: elsewhere until the former one has closed it.
//!
//! It opens nothing. The writer asks it when to try; whoever needs the inbox waits here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Inbox;
use super::entry::Unavailable;

/// How often it is tried before those who wait are told that it does not open: about three seconds.
const MOST_TRIES: u8 = 5;

/// What an operator is to do about a process that keeps it.
const OVERDUE: &str = "the process before this one should have ended by now and still has the inbox: end it (SIGKILL)";

/// Where the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Custody {
    /// The process before this one has it.
    Elsewhere,
    /// It was given to this one, which has not tried it yet.
    Given,
    /// So many tries have failed: a process that died may keep its lock for a moment longer than its end is known.
    Contested(u8),
    /// It is this process's, which tries it again when that fails.
    Here,
}

/// The present word.
pub(super) struct Keeper(watch::Sender<Custody>);

impl Keeper {
    pub(super) fn new(custody: Custody) -> Self {
        Self(watch::Sender::new(custody))
    }

    /// Whether it may be tried now; `due` is whether it would be time to.
    pub(super) fn lets_try(&self, due: bool) -> bool {
        match *self.0.borrow() {
            Custody::Elsewhere => false,
            Custody::Given => true,
            Custody::Contested(_) | Custody::Here => due,
        }
    }

    /// Whether another process has it.
    pub(super) fn is_elsewhere(&self) -> bool {
        *self.0.borrow() == Custody::Elsewhere
    }

    /// Whether it is this process's, and not on its way here.
    pub(super) fn is_here(&self) -> bool {
        *self.0.borrow() == Custody::Here
    }

    /// It was tried. Whether it came open.
    pub(super) fn tried(&self, is_open: bool) {
        let before = *self.0.borrow();
        let next = match before {
            _ if is_open => Custody::Here,
            Custody::Given => Custody::Contested(1),
            Custody::Contested(tries) if tries < MOST_TRIES => Custody::Contested(tries + 1),
            _ => Custody::Here,
        };
        if next != before {
            self.0.send_replace(next);
        }
    }
}

impl Inbox {
    /// The process before this one has closed the database: it is this one's now.
    pub fn take_over(&self) {
        let given = self.0.shared.custody.0.send_if_modified(|custody| {
            let is_news = *custody == Custody::Elsewhere;
            if is_news {
                *custody = Custody::Given;
            }
            is_news
        });
        if given {
            self.0.shared.queue.wake();
        }
    }

    /// The process before this one should have given it away by now: from here on it counts as down until it comes. Nothing
    /// happens when it has come.
    pub fn tell_overdue(&self) {
        let shared = &self.0.shared;
        // Inside, nobody can give it away, so the writer's own word comes later.
        shared.custody.0.send_if_modified(|custody| {
            if *custody == Custody::Elsewhere {
                shared.health.set(Err(Unavailable::Failed));
                shared.metrics.callbacks.inbox_up.set(0);
                if shared.health.explain(Some(OVERDUE)) {
                    tracing::error!("{OVERDUE}");
                }
            }
            false
        });
    }

    /// Ready when this process has opened the database, or given up hope that it comes soon; at once in all but the first
    /// moments after a take-over.
    pub async fn tried(&self) {
        if *self.0.shared.custody.0.borrow() != Custody::Here {
            // The sender lives as long as this handle, so the wait cannot fail.
            let _ = self.0.shared.custody.0.subscribe().wait_for(|custody| *custody == Custody::Here).await;
        }
    }

    /// The same, but no longer than this.
    pub async fn tried_within(&self, longest: Duration) {
        if *self.0.shared.custody.0.borrow() != Custody::Here {
            // Whoever came too early is told why by what he does next.
            let _ = timeout(longest, self.tried()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_take_over_it_is_tried_a_few_times_before_those_who_wait_are_told() {
        let keeper = Keeper::new(Custody::Elsewhere);
        let now = |keeper: &Keeper| {
            (*keeper.0.borrow(), keeper.is_elsewhere(), [false, true].map(|due| keeper.lets_try(due)))
        };
        assert_eq!(now(&keeper), (Custody::Elsewhere, true, [false, false]));
        keeper.0.send_replace(Custody::Given);
        assert_eq!(now(&keeper), (Custody::Given, false, [true, true]), "at once");
        for tries in 1..=MOST_TRIES {
            keeper.tried(false);
            assert_eq!(now(&keeper), (Custody::Contested(tries), false, [false, true]));
        }
        keeper.tried(false);
        assert_eq!(now(&keeper), (Custody::Here, false, [false, true]), "{MOST_TRIES} tries are enough");
        keeper.0.send_replace(Custody::Contested(1));
        keeper.tried(true);
        assert_eq!(*keeper.0.borrow(), Custody::Here);
    }
}
