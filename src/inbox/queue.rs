//! What waits for the writer: appends, settlements and changes by hand, taken in batches, each with somebody who waits
//! for the answer.
//!
//! Bounded in count and in bytes. It never waits for room: who finds none is told so.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::{Answer, Appended, Settlement, Unavailable};
use super::filter::Pace;
use super::id::EntryId;
use super::keyed::change::Work;
use super::lease::Hold;
use super::vault::Tag;
use crate::trace::TraceParent;

/// Most jobs that wait: a second's work of a disk that keeps up.
const MOST_JOBS: usize = 32 * 1024;
/// Most bytes that wait, beside the memory budget of those who bring them.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Most jobs of one transaction: some milliseconds of work.
const BATCH_JOBS: usize = 512;
/// Most bytes of one transaction; one larger body goes alone.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A sealed callback.
pub(super) struct Append {
    pub(super) id: EntryId,
    /// The trace of the call that it comes of.
    pub(super) parent: Option<TraceParent>,
    pub(super) source: std::sync::Arc<str>,
    pub(super) receivers: Vec<std::sync::Arc<str>>,
    pub(super) kind: i64,
    pub(super) received_ms: u64,
    /// Of the plain body.
    pub(super) bytes: usize,
    pub(super) natural: bool,
    pub(super) digest: Tag,
    pub(super) chain: Option<Tag>,
    pub(super) tags: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

#[cfg(test)]
impl Append {
    /// So many bytes that nobody can open.
    pub(super) fn of(id: EntryId, bytes: usize, receivers: &[&str], received_ms: u64) -> Self {
        Self {
            id,
            parent: None,
            source: "calls".into(),
            receivers: receivers.iter().map(|receiver| (*receiver).into()).collect(),
            kind: 0,
            received_ms,
            bytes,
            natural: false,
            digest: Tag::default(),
            chain: None,
            tags: Vec::new(),
            sealed: vec![0; bytes],
        }
    }
}

/// A sealed body that could not be opened.
pub(super) struct Quarantine {
    pub(super) id: EntryId,
    pub(super) source: std::sync::Arc<str>,
    pub(super) received_ms: u64,
    pub(super) bytes: usize,
    pub(super) reason: &'static str,
    pub(super) most: usize,
    pub(super) sealed: Vec<u8>,
}

/// A leased delivery that is to be settled. It holds the lease, too: whoever asked for this may go away.
pub(super) struct Settle {
    pub(super) id: EntryId,
    pub(super) receiver: std::sync::Arc<str>,
    pub(super) settlement: Settlement,
    pub(super) hold: std::sync::Arc<Hold>,
}

/// What goes of entries that are purged.
#[derive(Default)]
pub(super) struct Purged {
    /// The deliveries to this receiver, and entries that have none left; without one, entries as a whole.
    pub(super) receiver: Option<std::sync::Arc<str>>,
    /// Also what waits. Else an entry, or the delivery to the receiver, stays that does.
    pub(super) waiting_too: bool,
}

/// One thing to write.
pub(super) enum Job {
    Append(Box<Append>, Answer<Appended>),
    Quarantine(Box<Quarantine>, Answer<()>),
    /// The lease is given back after the commit, not before.
    Settle(Settle, Answer<()>),
    /// Bodies that could not be read. Nobody waits; the leases end after the commit.
    Corrupt(Vec<(EntryId, Hold)>),
    /// Dead or delivered ones become due again; waiting ones become due now. Answers how many.
    Redrive(Vec<(EntryId, i64)>, Pace, Answer<u64>),
    /// What of these goes. Answers how many.
    Purge(Vec<EntryId>, Purged, Answer<u64>),
    /// Other receivers are configured. Nobody waits.
    Receivers(Vec<String>),
    /// A change of a key. Answers whether it could be made.
    Keyed(Work),
    /// What a disk would do to the writer's connection. Nothing waits.
    #[cfg(test)]
    Break(fn(&rusqlite::Connection)),
}

impl Job {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append, _) => append.sealed.len() + append.tags.len(),
            Self::Quarantine(quarantine, _) => quarantine.sealed.len(),
            Self::Keyed(work) => work.bytes(),
            _ => 0,
        }
    }

    /// How many deliveries it begins.
    pub(super) fn deliveries(&self) -> usize {
        match self {
            Self::Append(append, _) => append.receivers.len(),
            _ => 0,
        }
    }

    /// Whether it makes the store larger.
    pub(super) fn grows(&self) -> bool {
        match self {
            Self::Append(..) | Self::Quarantine(..) => true,
            Self::Keyed(work) => work.begins(),
            _ => false,
        }
    }

    /// Tells whoever waits that nothing of it was written.
    pub(super) fn refuse(self, why: Unavailable) {
        // Who went away needs no answer.
        match self {
            Self::Append(_, answer) => drop(answer.send(Err(why))),
            Self::Quarantine(_, answer) | Self::Settle(_, answer) => drop(answer.send(Err(why))),
            Self::Redrive(_, _, answer) | Self::Purge(_, _, answer) => drop(answer.send(Err(why))),
            Self::Keyed(work) => drop(work.answer.send(Err(why))),
            Self::Corrupt(_) | Self::Receivers(_) => {}
            #[cfg(test)]
            Self::Break(_) => {}
        }
    }
}

/// The jobs that wait for the writer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    /// The writer is to look around, whatever waits.
    woken: bool,
}

/// What the writer is to do next.
pub(super) enum Next {
    /// Write these; empty when nothing came within the time.
    Write(Vec<Job>),
    /// Everything is written and nothing comes any more.
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job, or refuses it.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] when the queue is full, [`Unavailable::Closed`] after [`Queue::close`].
    pub(super) fn push(&self, job: Job) -> Result<(), Unavailable> {
        let mut waiting = self.lock();
        let why = if waiting.closed {
            Some(Unavailable::Closed)
        } else if job.grows() && (waiting.jobs.len() >= MOST_JOBS || waiting.bytes >= MOST_BYTES) {
            // Settlements are bounded by the leases and make room, so they are always taken.
            Some(Unavailable::Busy)
        } else {
            None
        };
        if let Some(why) = why {
            drop(waiting);
            job.refuse(why);
            return Err(why);
        }
        waiting.bytes += job.bytes();
        waiting.jobs.push_back(job);
        let first = waiting.jobs.len() == 1;
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The next batch; waits at most this long for its first job.
    pub(super) fn take(&self, patience: Duration) -> Next {
        let mut waiting = self.lock();
        if waiting.jobs.is_empty() && !waiting.closed && !waiting.woken {
            let (after, _) = self.filled.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = after;
        }
        waiting.woken = false;
        if waiting.jobs.is_empty() && waiting.closed {
            return Next::End;
        }
        let (mut batch, mut bytes) = (Vec::with_capacity(waiting.jobs.len().min(BATCH_JOBS)), 0);
        while let Some(job) = waiting.jobs.front() {
            let larger = bytes + job.bytes();
            if batch.len() == BATCH_JOBS || (!batch.is_empty() && larger > BATCH_BYTES) {
                break;
            }
            bytes = larger;
            batch.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= bytes;
        Next::Write(batch)
    }

    /// Nobody writes any more: what is queued is refused, and nothing more is taken.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.bytes = 0;
        let jobs = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        jobs.into_iter().for_each(|job| job.refuse(Unavailable::Closed));
    }

    /// The writer looks around now, whatever waits.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }

    /// Whether nothing more is taken.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// What is queued is still written; nothing more is taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;
    use crate::inbox::keyed::change::Change;

    type Answered = oneshot::Receiver<Result<Appended, Unavailable>>;

    fn append(bytes: usize) -> (Job, Answered) {
        let (answer, answered) = oneshot::channel();
        let append = Append::of(EntryId::try_new(1, 1).expect("it fits"), bytes, &[], 0);
        (Job::Append(Box::new(append), answer), answered)
    }

    fn push(queue: &Queue, bytes: usize) -> Result<Answered, Unavailable> {
        let (job, mut answered) = append(bytes);
        match queue.push(job) {
            Ok(()) => Ok(answered),
            Err(why) => {
                assert_eq!(answered.try_recv(), Ok(Err(why)), "who waits is told the same");
                Err(why)
            }
        }
    }

    /// How many jobs the next batch has; `None`: there is none any more.
    fn taken(queue: &Queue) -> Option<usize> {
        match queue.take(Duration::ZERO) {
            Next::Write(batch) => Some(batch.len()),
            Next::End => None,
        }
    }

    #[test]
    fn what_grows_finds_no_room_behind_too_many_and_what_makes_room_always_does() {
        let queue = Queue::default();
        let waiting: Vec<_> = (0..MOST_JOBS).map(|_| push(&queue, 0).expect("room")).collect();
        assert_eq!(push(&queue, 0).err(), Some(Unavailable::Busy));
        let keyed = |change| Job::Keyed(Work { change, answer: oneshot::channel().0 });
        assert_eq!(queue.push(keyed(Change::claim(1))), Err(Unavailable::Busy), "a call that is to begin");
        let id = EntryId::try_new(1, 1).expect("it fits");
        assert_eq!(queue.push(keyed(Change::answered(id, Vec::new()))), Ok(()), "and one that has ended");
        assert_eq!(queue.push(Job::Receivers(Vec::new())), Ok(()));
        assert_eq!(taken(&queue), Some(BATCH_JOBS));
        assert!(push(&queue, 0).is_ok());
        drop(waiting);
    }

    #[test]
    fn the_bytes_that_wait_are_bounded_and_given_back_as_they_are_taken() {
        let queue = Queue::default();
        let quarter = MOST_BYTES / 4;
        let mut waiting: Vec<_> = (0..4).map(|_| push(&queue, quarter).expect("room")).collect();
        assert_eq!(push(&queue, 0).err(), Some(Unavailable::Busy));
        assert_eq!(taken(&queue), Some(1), "one that is larger than a batch goes alone");
        waiting.push(push(&queue, quarter).expect("room again"));
        assert_eq!(push(&queue, 0).err(), Some(Unavailable::Busy));
        assert_eq!([(); 5].map(|()| taken(&queue)), [Some(1), Some(1), Some(1), Some(1), Some(0)]);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn a_batch_is_as_large_as_one_sync_is_worth() {
        let queue = Queue::default();
        let half = BATCH_BYTES / 2;
        let sizes = [half, half, 1, half, half, half];
        let waiting = sizes.map(|bytes| push(&queue, bytes).expect("room"));
        assert_eq!([(); 4].map(|()| taken(&queue)), [Some(2), Some(2), Some(2), Some(0)]);
        drop(waiting);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = Queue::default();
        let mut first = push(&queue, 1).expect("room");
        queue.close();
        assert!(queue.is_closed());
        assert_eq!(push(&queue, 1).err(), Some(Unavailable::Closed));
        assert_eq!((taken(&queue), taken(&queue)), (Some(1), None));
        assert!(first.try_recv().is_err(), "whoever took it answers");
        let queue = Queue::default();
        let mut first = push(&queue, 1).expect("room");
        queue.abandon();
        assert_eq!((first.try_recv(), taken(&queue), queue.lock().bytes), (Ok(Err(Unavailable::Closed)), None, 0));
    }

    #[test]
    fn whoever_takes_sleeps_until_there_is_a_job() {
        let queue = Queue::default();
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                while let Next::Write(batch) = queue.take(Duration::from_secs(3600)) {
                    if batch.is_empty() {
                        return "woken for nothing";
                    }
                    taken.fetch_add(batch.len(), Ordering::AcqRel);
                }
                "ended"
            });
            for jobs in 1..=100 {
                assert_eq!(queue.push(Job::Receivers(Vec::new())), Ok(()));
                while taken.load(Ordering::Acquire) < jobs && !taker.is_finished() {
                    std::thread::yield_now();
                }
            }
            queue.close();
            assert_eq!(taker.join().expect("no panic"), "ended");
        });
    }

    #[test]
    fn bodies_that_wait_count_in_bytes_whatever_they_are_of() {
        let queue = Queue::default();
        let id = EntryId::try_new(1, 1).expect("it fits");
        let quarantine = Quarantine {
            id,
            source: "calls".into(),
            received_ms: 0,
            bytes: 10,
            reason: "digest",
            most: 1,
            sealed: vec![0; 26],
        };
        assert_eq!(queue.push(Job::Quarantine(Box::new(quarantine), oneshot::channel().0)), Ok(()));
        assert_eq!(queue.lock().bytes, 26);
        let change = Change::answered(id, vec![0; 100]);
        assert_eq!(queue.push(Job::Keyed(Work { change, answer: oneshot::channel().0 })), Ok(()));
        assert_eq!(queue.lock().bytes, 126);
        assert_eq!((taken(&queue), queue.lock().bytes), (Some(2), 0));
    }

    #[test]
    fn whoever_takes_is_woken_without_a_job_once() {
        let queue = Queue::default();
        assert!(!queue.is_closed());
        queue.wake();
        // It would wait for an hour else.
        assert!(matches!(queue.take(Duration::from_secs(3600)), Next::Write(batch) if batch.is_empty()));
        assert!(!queue.lock().woken);
    }
}
