//! Whose the database is while one process takes over from another: elsewhere until the former one has closed it.
//!
//! It opens nothing. The writer asks it when to try; whoever needs the inbox waits here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Inbox;

/// Where the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Custody {
    /// The process before this one has it.
    Elsewhere,
    /// It was given to this one, which has not tried it yet.
    Given,
    /// This process tried it, and tries it again when that failed.
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
            Custody::Here => due,
        }
    }

    /// Whether another process has it.
    pub(super) fn is_elsewhere(&self) -> bool {
        *self.0.borrow() == Custody::Elsewhere
    }

    /// It was tried.
    pub(super) fn tried(&self) {
        if *self.0.borrow() != Custody::Here {
            self.0.send_replace(Custody::Here);
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

    /// Ready when this process has tried to open the database; at once in all but the first moments after a take-over.
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
