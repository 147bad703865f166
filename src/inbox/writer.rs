//! The one thread that writes: it takes whatever is queued, commits it with one sync, and then answers everybody.
//!
//! Nobody is told that something is on disk before the commit has returned. After a failure the handle is closed and never
//! synced again. While there is no database to write, this thread tries to open it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::ErrorCode;

use super::checkpoint;
use super::commit::{Outcome, Purge, answer, commit};
use super::disk;
use super::entry::Unavailable;
use super::filter::State;
use super::home::Home;
use super::keyed::ROOM;
use super::keyed::counts::Counts;
use super::ledger::{Batch, Noting};
use super::queue::{Job, Next};
use super::room::Room;
use super::shared::{Shared, code};
use super::store::{Effects, Store, number};
use super::{recovery, schema};
use crate::clock;

/// How often the writer looks after what nobody asks for: purging, series, a disk that was full.
const UPKEEP: Duration = Duration::from_secs(1);
/// Most entries that are purged in one transaction: some milliseconds of work.
const PURGE: usize = 256;

/// What an operator is to do about a store that its bound has filled.
const FULL: &str = "the inbox is full of what waits, is dead or is not to be forgotten: repair its receivers, remove what \
                    nobody needs (airudder-gateway inbox), or raise inbox.max_bytes";

/// The writer thread's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    home: Home,
    /// `None` after a failure, and before that.
    store: Option<Store>,
    mover: Option<JoinHandle<()>>,
    upkeep_at: clock::Instant,
    room: Room,
    /// There may be more to purge.
    purging: bool,
    /// There may be more calls to note.
    noting: bool,
    /// Sources whose quarantine was shown.
    sources: Vec<Arc<str>>,
}

impl Writer {
    /// `store` is what the first try to open it has come to; callbacks are taken, or not, from here on.
    pub(super) fn new(
        shared: Arc<Shared>,
        home: Home,
        store: Result<Store, Unavailable>,
        mover: JoinHandle<()>,
    ) -> Self {
        let room = Room::new(shared.max_bytes);
        let (mover, upkeep_at) = (Some(mover), clock::now());
        let mut writer = Self {
            shared,
            home,
            store: None,
            mover,
            upkeep_at,
            room,
            purging: false,
            noting: false,
            sources: Vec::new(),
        };
        writer.resume(store);
        writer
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // A bug costs the jobs at hand and a new look at the database, not the thread that everybody asks.
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            tracing::error!(
                "the writer of the inbox met a bug: what was at hand is refused, the database is opened again"
            );
            self.fail(Unavailable::Failed);
        }
        self.end();
    }

    fn work(&mut self) {
        loop {
            let now = clock::now();
            if self.store.is_none() && self.shared.custody.lets_try(now >= self.home.try_at()) {
                self.open();
            }
            if now >= self.upkeep_at {
                self.keep_up();
            }
            // A batch of calls goes as soon as it is whole, and what is less with the next upkeep.
            self.noting |= self.may_note();
            match self.shared.queue.take(self.patience()) {
                Next::Write(jobs) => self.write(jobs),
                Next::End => return self.note_the_rest(),
            }
            self.move_the_rest();
        }
    }

    /// Whether a whole batch of calls waits, and there are a disk and room for it.
    fn may_note(&self) -> bool {
        self.store.is_some() && !self.room.is_short() && self.shared.ledger.has_a_whole_one()
    }

    /// How long nothing is to be done but what is queued.
    fn patience(&self) -> Duration {
        if self.purging || self.noting {
            return Duration::ZERO;
        }
        let tries = self.store.is_none() && !self.shared.custody.is_elsewhere();
        let until = if tries { self.home.try_at().min(self.upkeep_at) } else { self.upkeep_at };
        until.saturating_duration_since(clock::now())
    }

    fn end(&mut self) {
        self.shared.health.set(Err(Unavailable::Closed));
        self.shared.metrics.callbacks.inbox_up.set(0);
        // What there was no disk for, or no room.
        self.shared.metrics.callbacks.noted("dropped", self.shared.ledger.len());
        self.shared.progress.end();
        if let Some(mover) = self.mover.take() {
            // When it panicked, the log is read at the next start.
            let _ = mover.join();
        }
        if let Some(store) = self.store.take() {
            recovery::move_all(&store.connection);
        }
    }

    /// Commits a batch. An empty one purges and notes, where there is something to; else it changes nothing.
    fn write(&mut self, jobs: Vec<Job>) {
        let Some(store) = &mut self.store else {
            (self.purging, self.noting) = (false, false);
            let why = match self.shared.health.check() {
                Err(Unavailable::Elsewhere) => Unavailable::Elsewhere,
                _ => Unavailable::Failed,
            };
            jobs.into_iter().for_each(|job| job.refuse(why));
            return;
        };
        // Short of room, callbacks come first.
        let notes = std::mem::take(&mut self.noting) && !self.room.is_short();
        let calls = if notes { self.shared.ledger.take() } else { Batch::default() };
        let started = clock::now();
        let now_ms = clock::wall_millis();
        look(&self.shared, now_ms, started);
        let over_ms = |kept: Duration| self.shared.ages().over_ms(kept, started);
        let purge = Purge {
            most: if self.purging { PURGE } else { 0 },
            forget_ms: over_ms(self.shared.keep_answers),
            // Short of room, the age of a delivered entry does not matter.
            until_ms: (!self.room.is_short()).then(|| over_ms(self.shared.retain)),
            ledger_ms: over_ms(self.shared.ledger.bounds().age()),
        };
        match commit(store, &jobs, &purge, &Noting { calls: &calls, shared: &self.shared }, &mut self.room, now_ms) {
            // What is in a file without a name is not found at the next start, so it was not kept.
            Ok(_) if self.home.check(&self.shared).is_err() => {
                self.shared.metrics.callbacks.noted("dropped", calls.len());
                self.fail(Unavailable::Failed);
                jobs.into_iter().for_each(|job| job.refuse(Unavailable::Failed));
            }
            Ok((outcomes, effects)) => {
                self.home.worked();
                // An empty one has nothing to sync.
                let gone = effects.purged + effects.forgotten + effects.dropped + effects.noted.forgotten;
                if !jobs.is_empty() || gone > 0 || !calls.is_empty() {
                    self.shared.metrics.callbacks.sync_seconds.observe(started.elapsed().as_secs_f64());
                    self.shared.progress.wrote(self.room.written());
                }
                self.shared.metrics.callbacks.noted("written", calls.len());
                store.marks.keep(now_ms);
                effects.moved.iter().for_each(|moved| store.census.count(*moved));
                store.keyed.add(effects.keyed);
                self.room.look_at_promises(store.keyed.sending.unsigned_abs() * ROOM);
                let full = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Full));
                self.purging = effects.purged > 0 && (effects.purged == PURGE as u64 || self.room.is_short())
                    || effects.forgotten == PURGE as u64
                    || effects.forgotten + effects.dropped > 0 && self.room.is_short()
                    || effects.noted.more;
                // Room for an answer is much more than a callback needs, which may still find its own.
                self.purging |= outcomes.iter().any(|outcome| matches!(outcome, Outcome::NoRoom));
                if full {
                    self.purging = true;
                    self.is_full(FULL);
                }
                self.tell(&effects);
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    answer(job, outcome);
                }
                // As soon as it is short: upkeep would be late.
                self.purging |= self.room.became_short();
            }
            Err(error) => {
                self.shared.metrics.callbacks.noted("dropped", calls.len());
                let why = self.recover(&error);
                jobs.into_iter().for_each(|job| job.refuse(why));
            }
        }
    }

    /// Nothing of a transaction was committed.
    fn recover(&mut self, error: &rusqlite::Error) -> Unavailable {
        self.purging = false;
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        if let Some(store) = self.store.as_mut().filter(|_| full) {
            store.forget();
            if store.connection.is_autocommit() || store.connection.execute_batch("ROLLBACK").is_ok() {
                self.is_full("the disk of the inbox is full: free space on it");
                return Unavailable::Full;
            }
        }
        tracing::error!(code = code(error), "the inbox cannot be written: look at its disk and at this code of SQLite");
        self.fail(Unavailable::Failed);
        Unavailable::Failed
    }

    /// Says why nothing more fits: once, until something does again.
    fn is_full(&self, sentence: &str) {
        if self.shared.health.explain(Some(sentence)) {
            tracing::error!("{sentence}");
        }
        self.health(Err(Unavailable::Full));
    }

    fn health(&self, state: Result<(), Unavailable>) {
        self.shared.health.set(state);
        if state.is_ok() {
            self.shared.health.explain(None);
        }
        // In good hands elsewhere it is up: the time of that is bounded by the grace of the process that has it.
        let is_up = matches!(state, Ok(()) | Err(Unavailable::Elsewhere));
        self.shared.metrics.callbacks.inbox_up.set(i64::from(is_up));
    }

    /// Counts and wakes the receivers.
    fn tell(&self, effects: &Effects) {
        let callbacks = &self.shared.metrics.callbacks;
        callbacks.corrupt.inc_by(effects.corrupt);
        callbacks.purged.inc_by(effects.purged);
        if let Some(store) = self.store.as_ref().filter(|_| effects.keyed != Counts::default()) {
            self.shared.metrics.keyed.stand(store.keyed.unknown, store.keyed.remembered);
        }
        for receiver in &effects.unreadable {
            callbacks.dead.with_label_values(&[&**receiver, "unreadable"]).inc();
        }
        for receiver in &effects.ready {
            self.shared.desk.counter(receiver).ready();
        }
        for (receiver, due_ms) in &effects.ready_at {
            self.shared.desk.counter(receiver).ready_at(*due_ms);
        }
    }

    /// The handle is never used again: pages whose sync failed may look clean, so another sync would lie.
    fn fail(&mut self, why: Unavailable) {
        self.store = None;
        self.purging = false;
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        self.health(Err(why));
        self.shared.desk.close();
        self.home.put_off();
    }

    fn open(&mut self) {
        let opened = self.home.open(&self.shared);
        let (is_open, comes_over) = (opened.is_ok(), !self.shared.custody.is_here());
        self.resume(opened);
        self.shared.custody.tried(is_open);
        match (is_open, comes_over) {
            // It was in good hands all the time.
            (true, true) => tracing::info!("the inbox has come over from the process before this one"),
            (true, false) => tracing::info!("the inbox takes callbacks again"),
            (false, _) => {}
        }
    }

    /// Goes on with this database, or without one.
    fn resume(&mut self, opened: Result<Store, Unavailable>) {
        match opened {
            Ok(store) => match recovery::newest_ms(&store.connection) {
                Ok(newest) => {
                    let (wall_ms, now) = (clock::wall_millis(), clock::now());
                    newest.into_iter().for_each(|newest| self.shared.ages().resume(newest, wall_ms, now));
                    self.store = Some(store);
                    self.health(Ok(()));
                    self.shared.desk.reopen();
                }
                Err(error) => _ = self.recover(&error),
            },
            Err(why) => self.fail(why),
        }
    }

    /// Between two commits: the log begins anew when all of it was moved.
    fn move_the_rest(&mut self) {
        let Some(store) = &self.store else { return };
        if self.shared.progress.has_failed() {
            self.fail(Unavailable::Failed);
        } else if self.shared.progress.wants_the_rest_moved()
            && let Err(error) = checkpoint::move_some(&store.connection)
        {
            self.recover(&error);
        }
    }

    /// At the end: what the last calls were.
    fn note_the_rest(&mut self) {
        while self.store.is_some() && !self.room.is_short() && !self.shared.ledger.is_empty() {
            self.noting = true;
            self.write(Vec::new());
        }
    }

    fn keep_up(&mut self) {
        let now = clock::now();
        self.upkeep_at = now + UPKEEP;
        look(&self.shared, clock::wall_millis(), now);
        self.purging = self.store.is_some();
        self.noting = self.purging && !self.shared.ledger.is_empty();
        disk::show(&self.shared.path, &self.shared.metrics.callbacks);
        if let Err(error) = self.look() {
            self.recover(&error);
        }
    }

    fn look(&mut self) -> rusqlite::Result<()> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let used = recovery::used_bytes(&store.connection)?;
        self.room.look(used);
        let callbacks = &self.shared.metrics.callbacks;
        callbacks.inbox_bytes.set(number(used));
        self.shared.metrics.keyed.stand(store.keyed.unknown, store.keyed.remembered);
        let now_ms = clock::wall_millis();
        for counted in store.census.read(&store.connection)? {
            let receiver = store.text(counted.receiver)?;
            let labels = [&*receiver, counted.state.as_str()];
            if counted.count == 0 && !self.shared.desk.knows(&receiver) {
                // Gone already is as good.
                let _ = callbacks.entries.remove_label_values(&labels);
                let _ = callbacks.oldest_seconds.remove_label_values(&labels);
                continue;
            }
            callbacks.entries.with_label_values(&labels).set(number(counted.count));
            if counted.state != State::Delivered {
                let age = counted.oldest_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest) / 1000);
                callbacks.oldest_seconds.with_label_values(&labels).set(number(age));
            }
        }
        let quarantined = store.quarantined()?;
        for (source, count) in &quarantined {
            callbacks.quarantined.with_label_values(&[&**source]).set(*count);
        }
        self.sources.retain(|source| !quarantined.iter().any(|(of, _)| of == source));
        for source in &self.sources {
            callbacks.quarantined.with_label_values(&[&**source]).set(0);
        }
        self.sources.extend(quarantined.into_iter().map(|(source, _)| source));
        if self.shared.health.check() == Err(Unavailable::Full) && !self.room.is_full() {
            // The log itself may be what fills the disk: once it is moved, it is written from its beginning again.
            checkpoint::move_some(&store.connection)?;
            schema::probe(&store.connection)?;
            self.health(Ok(()));
        }
        Ok(())
    }
}

/// Compares the clocks, and tells of a wall clock that ran ahead.
fn look(shared: &Shared, wall_ms: u64, now: clock::Instant) {
    let ahead = shared.ages().look(wall_ms, now);
    if let Some(ahead) = ahead {
        tracing::warn!(
            seconds = ahead.as_secs(),
            "the wall clock ran ahead of the time that passed (it was set, or the machine stood still): what the inbox keeps \
             for a time is kept for that time from now on"
        );
    }
}

impl Drop for Writer {
    /// After a bug that nothing helped against nobody waits for a thread that has ended.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        tracing::error!("the writer of the inbox has ended by a bug, so no callback is taken: start the gateway anew");
        self.health(Err(Unavailable::Failed));
        self.shared.desk.close();
        self.shared.queue.abandon();
        self.shared.progress.end();
    }
}

#[cfg(test)]
mod tests;
