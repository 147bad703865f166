//! What the threads of the inbox share with its handle.
//!
//! It holds their meeting places and does nothing itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::age::Ages;
use super::custody::Keeper;
use super::health::Health;
use super::lease::Desk;
use super::ledger::Pending;
use super::parents::Parents;
use super::progress::Progress;
use super::queue::Queue;
use super::vault::Vault;
use crate::metrics::Metrics;

/// One of each; a lock of its own in each.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    /// Since the database was open for the first time.
    pub(super) vault: OnceLock<Arc<Vault>>,
    /// How long a delivered entry is kept.
    pub(super) retain: Duration,
    /// How long the answer to a call with a key is remembered.
    pub(super) keep_answers: Duration,
    /// By how much wall time is ahead of the time that passed.
    pub(super) ages: Mutex<Ages>,
    /// Most bytes in use.
    pub(super) max_bytes: u64,
    pub(super) queue: Queue,
    pub(super) desk: Desk,
    /// Calls that are to be noted.
    pub(super) ledger: Pending,
    pub(super) parents: Parents,
    pub(super) health: Health,
    pub(super) custody: Keeper,
    pub(super) progress: Progress,
    /// Grows with each failure; a connection of an older one is not used any more.
    pub(super) generation: AtomicU64,
    pub(super) metrics: Arc<Metrics>,
}

impl Shared {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SQLite's own number for an error.
pub(super) fn code(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(-1, |error| error.extended_code)
}
