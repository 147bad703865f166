//! Keeps a token fresh in the background, so that calls never wait for a login while all is well.
//!
//! It only decides when; the login itself is the cache's, shared with the calls. It returns when it is told
//! to stop and leaves a login in flight alone.

use std::future::{Future, pending};
use std::pin::pin;

use super::{Cache, Login};
use crate::clock::{self, Instant};

impl<L: Login> Cache<L> {
    /// Holds a token from now on: the first login at once, then one at 80 % of each life (with jitter), at once
    /// after a refusal or with another secret, and after failures with a back-off of 2 s doubling to 60 s. The old token
    /// serves until its true end meanwhile. Runs until `shutdown` is ready.
    pub async fn keep_fresh(self, shutdown: impl Future) {
        self.keep(Need::Always, shutdown).await;
    }

    /// The same for a token that not every gateway needs: nothing is asked before the first call, and a token that no
    /// call took in its whole life is let lapse. Runs until `shutdown` is ready.
    pub async fn keep_fresh_while_used(self, shutdown: impl Future) {
        self.keep(Need::WhileUsed, shutdown).await;
    }

    async fn keep(&self, need: Need, shutdown: impl Future) {
        let mut shutdown = pin!(shutdown);
        loop {
            // Listens (from here on, not from the first poll) before it looks: a change in between is not missed.
            let changed = self.shared.changed.notified();
            let next = self.refresh_if_due(need);
            tokio::select! {
                _ = &mut shutdown => return,
                () = changed => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Starts a login if one is due; else says when to look again, `None` for not before something changes.
    fn refresh_if_due(&self, need: Need) -> Option<Instant> {
        let mut state = self.shared.lock();
        if state.flight.is_some() {
            return None;
        }
        let now = clock::now();
        let due = match (self.shared.find(now), need) {
            (Some(token), Need::WhileUsed) if !token.is_used() => return None,
            (Some(_), _) if state.outdated => now,
            (Some(token), _) => token.0.refresh_at,
            (None, Need::Always) => now,
            (None, Need::WhileUsed) => return None,
        };
        let due = state.pause.map_or(due, |pause| due.max(pause.until));
        if now < due {
            return Some(due);
        }
        let withheld = self.shared.take_off(&mut state).err()?;
        drop(state);
        self.shared.tell(|observer| observer.login_withheld(&withheld));
        Some(now + withheld.retry_after)
    }
}

/// Whether a token is wanted.
#[derive(Clone, Copy)]
enum Need {
    Always,
    WhileUsed,
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
