//! One transaction of the writer: its jobs, what is purged beside them, what is noted; and the answers to who waits.
//!
//! It commits or fails as a whole. It knows no health, no clock and no thread.

use super::entry::{Appended, Settlement, Unavailable};
use super::keyed::{self, ROOM};
use super::ledger::Noting;
use super::queue::Job;
use super::room::Room;
use super::store::{Effects, Store};
use super::{opening, recovery};

/// Most answers that are dropped in one transaction: 4 MiB of them at most, some ten milliseconds of work.
const ANSWERS: usize = 16;

/// What became of a job, to be told after the commit.
pub(super) enum Outcome {
    Appended(Appended),
    Full,
    Done,
    Count(u64),
    /// Whether a key could be changed.
    Changed(bool),
    /// A key could not be claimed, because its answer would find no room.
    NoRoom,
}

/// What is purged beside a batch.
pub(super) struct Purge {
    /// Most entries and keys of each kind; 0: nothing is purged.
    pub(super) most: usize,
    /// Delivered entries of before this time; `None`: there is little room, so all of them, and then the oldest answers.
    pub(super) until_ms: Option<u64>,
    /// Answers to calls with a key that were given before.
    pub(super) forget_ms: u64,
    /// Calls of the ledger that were made before.
    pub(super) ledger_ms: u64,
}

/// Makes a transaction of jobs, of what is purged and of what is noted.
pub(super) fn commit(
    store: &mut Store,
    jobs: &[Job],
    purge: &Purge,
    noting: &Noting<'_>,
    room: &mut Room,
    now_ms: u64,
) -> rusqlite::Result<(Vec<Outcome>, Effects)> {
    let (mut outcomes, mut effects) = (Vec::with_capacity(jobs.len()), Effects::default());
    store.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    if purge.most > 0 {
        store.purge_delivered(purge.most, purge.until_ms, &mut effects)?;
        effects.forgotten = keyed::forget(&store.connection, purge.most, purge.forget_ms, &mut effects.keyed)?;
        // A key stays, and with it that nothing is sent again: only its answer makes room, after what is done with anyway.
        if purge.until_ms.is_none() && effects.purged + effects.forgotten == 0 {
            effects.dropped = keyed::drop_answers(&store.connection, ANSWERS)?;
        }
        if effects.purged > 0 || effects.forgotten > 0 || effects.dropped > 0 {
            room.look(recovery::used_bytes(&store.connection)?);
        }
    }
    effects.noted = noting.apply(store, purge.most > 0, purge.ledger_ms)?;
    room.noted(effects.noted.written, effects.noted.forgotten);
    for job in jobs {
        outcomes.push(match job {
            // Its answer will need room that nobody else may have taken by then.
            Job::Keyed(work) if work.begins() && !room.promise(ROOM) => Outcome::NoRoom,
            Job::Keyed(work) => {
                room.redeem(work.bytes());
                apply(store, job, now_ms, &mut effects)?
            }
            job if job.grows() && !room.take(job.bytes(), job.deliveries()) => Outcome::Full,
            job => apply(store, job, now_ms, &mut effects)?,
        });
    }
    store.connection.prepare_cached("COMMIT")?.execute([])?;
    Ok((outcomes, effects))
}

fn apply(store: &mut Store, job: &Job, now_ms: u64, effects: &mut Effects) -> rusqlite::Result<Outcome> {
    Ok(match job {
        Job::Append(append, _) => Outcome::Appended(store.append(append, effects)?),
        Job::Quarantine(quarantine, _) => {
            store.quarantine(quarantine)?;
            Outcome::Done
        }
        Job::Settle(settle, _) => {
            store.settle(settle.id, &settle.receiver, settle.settlement, now_ms, effects)?;
            Outcome::Done
        }
        Job::Receivers(receivers) => {
            opening::tell_unclaimed(store, receivers)?;
            Outcome::Done
        }
        Job::Corrupt(entries) => {
            for (id, _) in entries {
                store.set_aside(*id, now_ms, effects)?;
            }
            Outcome::Done
        }
        Job::Redrive(deliveries, pace, _) => Outcome::Count(store.redrive(deliveries, *pace, now_ms, effects)?),
        Job::Purge(ids, purged, _) => Outcome::Count(store.purge(ids, purged, effects)?),
        Job::Keyed(work) => Outcome::Changed(keyed::apply(store, &work.change, now_ms, &mut effects.keyed)?),
        #[cfg(test)]
        Job::Break(damage) => {
            damage(&store.connection);
            Outcome::Done
        }
    })
}

/// Tells whoever waits. Who went away needs no answer.
pub(super) fn answer(job: Job, outcome: Outcome) {
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
        (Job::Keyed(work), Outcome::Changed(changed)) => drop(work.answer.send(Ok(changed))),
        (Job::Corrupt(entries), _) => entries.into_iter().for_each(|(_, hold)| hold.settle()),
        (job, _) => job.refuse(Unavailable::Full),
    }
}
