//! The one thread that writes: it takes whatever is queued, commits it with one sync, and then answers everybody.
//!
//! Nobody is told that something is on disk before the commit has returned. After a failure the handle is closed and never
//! synced again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rusqlite::ErrorCode;

use super::entry::{Appended, Settlement, Unavailable};
use super::lease::Desk;
use super::queue::{Job, Next, Queue};
use super::store::{Effects, Store};
use super::{recovery, schema};
use crate::clock;
use crate::metrics::Metrics;

/// How often the writer looks after what nobody asks for: purging, series, a disk that was full.
const UPKEEP: Duration = Duration::from_secs(1);
/// First and longest wait before the database is opened again after a failure.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Whether the inbox takes callbacks, for everybody to read.
#[derive(Default)]
pub(super) struct Health(AtomicU8);

impl Health {
    pub(super) fn set(&self, state: Result<(), Unavailable>) {
        let number = match state {
            Ok(()) => 0,
            Err(Unavailable::Full) => 1,
            Err(Unavailable::Busy) => 2,
            Err(Unavailable::Failed) => 3,
            Err(Unavailable::Closed) => 4,
        };
        self.0.store(number, Ordering::Release);
    }

    pub(super) fn check(&self) -> Result<(), Unavailable> {
        Err(match self.0.load(Ordering::Acquire) {
            0 => return Ok(()),
            1 => Unavailable::Full,
            2 => Unavailable::Busy,
            3 => Unavailable::Failed,
            _ => Unavailable::Closed,
        })
    }
}

/// What the writer shares with the handle.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    pub(super) queue: Queue,
    pub(super) desk: Desk,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
}

/// What became of a job, to be told after the commit.
enum Outcome {
    Appended(Appended),
    Full,
    Done,
    Count(u64),
}

/// The writer thread's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failure.
    store: Option<Store>,
    reopen_after: Duration,
    reopen_at: clock::Instant,
    upkeep_at: clock::Instant,
    /// Bytes in use, as of the last look, and what was added since.
    used: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, store: Store) -> Self {
        let now = clock::now();
        Self { shared, store: Some(store), reopen_after: REOPEN.0, reopen_at: now, upkeep_at: now, used: 0 }
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let now = clock::now();
            if self.store.is_none() && now >= self.reopen_at {
                self.reopen();
            }
            if now >= self.upkeep_at {
                self.keep_up();
                self.upkeep_at = now + UPKEEP;
            }
            let until = if self.store.is_none() { self.reopen_at.min(self.upkeep_at) } else { self.upkeep_at };
            match self.shared.queue.take(until.saturating_duration_since(clock::now())) {
                Next::Write(jobs) if jobs.is_empty() => {}
                Next::Write(jobs) => self.write(jobs),
                Next::End => break,
            }
        }
        self.shared.health.set(Err(Unavailable::Closed));
        if let Some(store) = self.store.take() {
            recovery::checkpoint(&store.connection);
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        let Some(store) = &mut self.store else {
            jobs.into_iter().for_each(|job| job.refuse(Unavailable::Failed));
            return;
        };
        let started = clock::now();
        let room = self.shared.max_bytes.saturating_sub(self.used);
        match commit(store, &jobs, room) {
            Ok((outcomes, effects)) => {
                self.shared.metrics.callbacks.sync_seconds.observe(started.elapsed().as_secs_f64());
                store.marks.keep(clock::wall_millis());
                let full = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Full));
                self.used += jobs.iter().filter(|job| job.grows()).map(|job| job.bytes() as u64 + 256).sum::<u64>();
                self.tell(&effects);
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    answer(job, outcome);
                }
                self.health(if full { Err(Unavailable::Full) } else { Ok(()) });
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                store.forget();
                let rolled_back =
                    store.connection.is_autocommit() || store.connection.execute_batch("ROLLBACK").is_ok();
                tracing::error!("the disk of the inbox is full: free space on it");
                if rolled_back {
                    self.health(Err(Unavailable::Full));
                } else {
                    self.fail();
                }
                jobs.into_iter().for_each(|job| job.refuse(Unavailable::Full));
            }
            Err(error) => {
                tracing::error!(
                    code = code(&error),
                    "the inbox cannot be written: look at its disk and at this code of SQLite"
                );
                self.fail();
                jobs.into_iter().for_each(|job| job.refuse(Unavailable::Failed));
            }
        }
    }

    fn health(&self, state: Result<(), Unavailable>) {
        self.shared.health.set(state);
        self.shared.metrics.callbacks.inbox_up.set(i64::from(state.is_ok()));
    }

    /// Wakes the receivers and counts.
    fn tell(&mut self, effects: &Effects) {
        for receiver in &effects.ready {
            self.shared.desk.counter(receiver).ready();
        }
        for (receiver, due_ms) in &effects.ready_at {
            self.shared.desk.counter(receiver).ready_at(*due_ms);
        }
        let callbacks = &self.shared.metrics.callbacks;
        callbacks.corrupt.inc_by(effects.corrupt);
        callbacks.purged.inc_by(effects.purged);
        for receiver in &effects.unreadable {
            callbacks.dead.with_label_values(&[&**receiver, "unreadable"]).inc();
        }
        for (source, change) in &effects.quarantined {
            callbacks.quarantined.with_label_values(&[&**source]).add(*change);
        }
    }

    /// The handle is never used again: pages whose sync failed may look clean, so another sync would lie.
    fn fail(&mut self) {
        self.store = None;
        self.health(Err(Unavailable::Failed));
        self.shared.desk.close();
        self.reopen_at = clock::now() + self.reopen_after;
        self.reopen_after = (self.reopen_after * 2).min(REOPEN.1);
    }

    fn reopen(&mut self) {
        match schema::open(&self.shared.path).map_err(recovery::sentence).and_then(recovery::take_over) {
            Ok(store) => {
                self.store = Some(store);
                self.reopen_after = REOPEN.0;
                self.health(Ok(()));
                self.shared.desk.reopen();
                tracing::info!("the inbox takes callbacks again");
            }
            Err(sentence) => {
                tracing::error!("{sentence}");
                self.fail();
            }
        }
    }

    fn keep_up(&mut self) {
        if let Some(store) = &self.store
            && let Ok(used) = recovery::used_bytes(&store.connection)
        {
            self.used = used;
            let callbacks = &self.shared.metrics.callbacks;
            callbacks.inbox_bytes.set(super::store::number(used));
            callbacks.inbox_max_bytes.set(super::store::number(self.shared.max_bytes));
        }
    }
}

/// SQLite's own number for an error.
pub(super) fn code(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(-1, |error| error.extended_code)
}

fn commit(store: &mut Store, jobs: &[Job], mut room: u64) -> rusqlite::Result<(Vec<Outcome>, Effects)> {
    let now_ms = clock::wall_millis();
    let (mut outcomes, mut effects) = (Vec::with_capacity(jobs.len()), Effects::default());
    store.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for job in jobs {
        let bytes = job.bytes() as u64;
        outcomes.push(if job.grows() && room < bytes {
            Outcome::Full
        } else {
            room -= if job.grows() { bytes } else { 0 };
            apply(store, job, now_ms, &mut effects)?
        });
    }
    store.connection.prepare_cached("COMMIT")?.execute([])?;
    Ok((outcomes, effects))
}

fn apply(store: &mut Store, job: &Job, now_ms: u64, effects: &mut Effects) -> rusqlite::Result<Outcome> {
    Ok(match job {
        Job::Append(append, _) => Outcome::Appended(store.append(append, effects)?),
        Job::Quarantine(quarantine, _) => {
            store.quarantine(quarantine, effects)?;
            Outcome::Done
        }
        Job::Settle(settle, _) => {
            store.settle(settle.id, &settle.receiver, settle.settlement, now_ms, effects)?;
            Outcome::Done
        }
        Job::Corrupt(ids) => {
            for id in ids {
                store.set_aside(*id, now_ms, effects)?;
            }
            Outcome::Done
        }
        Job::Redrive(deliveries, pace, _) => Outcome::Count(store.redrive(deliveries, *pace, now_ms, effects)?),
        Job::Purge(ids, waiting_too, _) => Outcome::Count(store.purge(ids, *waiting_too, effects)?),
    })
}

/// Tells whoever waits. Who went away needs no answer.
fn answer(job: Job, outcome: Outcome) {
    match (job, outcome) {
        (Job::Append(_, answer), Outcome::Appended(appended)) => drop(answer.send(Ok(appended))),
        (Job::Quarantine(_, answer), Outcome::Done) => {
            let _ = answer.send(Ok(()));
        }
        (Job::Settle(settle, answer), Outcome::Done) => {
            // One that is tried again is looked for when its lease ends: it may have become due while it was held.
            if !matches!(settle.settlement, Settlement::Retry { .. }) {
                settle.hold.settle();
            }
            let _ = answer.send(Ok(()));
        }
        (Job::Redrive(_, _, answer) | Job::Purge(_, _, answer), Outcome::Count(count)) => drop(answer.send(Ok(count))),
        (Job::Corrupt(_), _) => {}
        (job, _) => job.refuse(Unavailable::Full),
    }
}
