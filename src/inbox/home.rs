//! Where the writer's database is, how it is opened there, and when that is tried again.
//!
//! It tells operators what stands in the way, once for each reason. It never writes an entry.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Unavailable;
use super::obstacle::Obstacle;
use super::opening::{Opened, Opening};
use super::place::{Displaced, Place};
use super::shared::Shared;
use super::store::Store;
use super::{recovery, schema};
use crate::clock;

/// First and longest wait before the database is opened again after a failure, or tried again at the start.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The place of the database.
pub(super) struct Home {
    opening: Opening,
    /// Since the database was open for the first time.
    found: Option<Found>,
    wait: Duration,
    try_at: clock::Instant,
}

/// What stays of the first opening.
struct Found {
    place: Place,
    /// No other gateway uses the database as long as the writer runs.
    _lock: File,
}

impl Home {
    pub(super) fn new(opening: Opening) -> Self {
        Self { opening, found: None, wait: REOPEN.0, try_at: clock::now() }
    }

    /// When it is to be tried again.
    pub(super) fn try_at(&self) -> clock::Instant {
        self.try_at
    }

    /// The database failed, or did not open.
    pub(super) fn put_off(&mut self) {
        self.try_at = clock::now() + self.wait;
        self.wait = (self.wait * 2).min(REOPEN.1);
    }

    /// Something was written.
    pub(super) fn worked(&mut self) {
        self.wait = REOPEN.0;
    }

    /// Whether what was opened still has its name.
    pub(super) fn check(&self, shared: &Shared) -> Result<(), Displaced> {
        let place = self.found.as_ref().map_or(Ok(()), |found| found.place.check());
        place.inspect_err(|Displaced| tell_once(shared, Place::SENTENCE))
    }

    /// Opens the database: the first time with all that belongs to it, afterwards where it was.
    ///
    /// # Errors
    /// What callers are told meanwhile.
    pub(super) fn open(&mut self, shared: &Shared) -> Result<Store, Unavailable> {
        let opened = match &self.found {
            Some(found) => open_again(found, shared),
            None => {
                // They may be others than at the start.
                self.opening.receivers = shared.desk.configured();
                return self.move_in(shared, self.opening.attempt());
            }
        };
        opened.map_err(|obstacle| {
            tell_once(shared, &obstacle.sentence);
            // A full disk lets deliveries go on that can be settled. Without a database none can.
            Unavailable::Failed
        })
    }

    /// The first opening: what it has brought is there for everybody.
    ///
    /// # Errors
    /// What callers are told meanwhile.
    pub(super) fn move_in(&mut self, shared: &Shared, first: Result<Opened, Obstacle>) -> Result<Store, Unavailable> {
        let Opened { vault, store, place, lock } = first.map_err(|obstacle| {
            match obstacle.unavailable() {
                // The log tells of the upgrade itself.
                Unavailable::Elsewhere => _ = shared.health.explain(Some(&obstacle.sentence)),
                _ => tell_once(shared, &obstacle.sentence),
            }
            obstacle.unavailable()
        })?;
        // Nobody else sets it, and there is one first opening.
        let _ = shared.vault.set(Arc::new(vault));
        self.found = Some(Found { place, _lock: lock });
        // Calls that a crash made unknown are shown before anybody can ask for one.
        shared.metrics.keyed.stand(store.keyed.unknown, store.keyed.remembered);
        Ok(store)
    }
}

/// However often it is tried, until there is something else to tell.
fn tell_once(shared: &Shared, sentence: &str) {
    if shared.health.explain(Some(sentence)) {
        tracing::error!("{sentence}");
    }
}

fn open_again(found: &Found, shared: &Shared) -> Result<Store, Obstacle> {
    // Before anything is opened, or an empty database would be made in its place.
    found.place.check().map_err(|Displaced| Obstacle::trouble(Place::SENTENCE))?;
    Ok(recovery::take_over(schema::open(&shared.path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_does_not_open_is_tried_ever_more_seldom_until_it_works() {
        let path = std::path::PathBuf::from("nowhere/inbox.db");
        let key = config::InboxKey::File(path.clone());
        let rules = config::Inbox {
            path,
            retain: Duration::ZERO,
            keep_answers: Duration::ZERO,
            max_bytes: 0,
            ledger: Duration::ZERO,
            ledger_max_bytes: 0,
            key,
            old_keys: Vec::new(),
        };
        let mut home = Home::new(Opening { rules, receivers: Vec::new() });
        assert_eq!(home.try_at(), clock::now());
        let waits = |home: &mut Home| {
            home.put_off();
            (home.try_at() - clock::now()).as_millis()
        };
        assert_eq!([(); 7].map(|()| waits(&mut home)), [100, 200, 400, 800, 1600, 2000, 2000]);
        home.worked();
        assert_eq!([(); 2].map(|()| waits(&mut home)), [100, 200]);
    }
}
