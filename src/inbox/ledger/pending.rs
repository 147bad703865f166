//! Calls that ended and are not on disk yet, gathered into the batches that become blocks.
//!
//! Bounded in count and in bytes. Nobody waits: not for room, which is either there or not, and not for the writer, who takes
//! a batch as a whole. It makes no tag and writes nothing.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Bounds, Call, MOST_IDS, RequestBytes, TIMES};
use crate::inbox::vault::Tagged;

/// Most calls that wait: of 45,000 a second what comes in nearly three seconds, so that a disk may be away for two.
const MOST: usize = 128 * 1024;

/// Most bytes that wait: 256 for each of these calls. One with a task and a key of 36 characters each takes about 210.
const MOST_BYTES: usize = 32 << 20;

/// Most calls of a batch: a millisecond of the writer's work, which the callbacks beside them wait.
pub(super) const BLOCK: usize = 1024;

/// Bytes of texts after which a batch is whole all the same, so that calls which named many ids make no longer work.
const BLOCK_TEXT: usize = 128 << 10;

/// What became of a call that was to be noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inbox) enum Pushed {
    /// It waits.
    Waits,
    /// It waits, and with it a batch is whole: the writer is to be woken.
    MakesWhole,
    /// There was no room.
    Dropped,
}

/// The calls that wait for the writer.
pub(in crate::inbox) struct Pending {
    bounds: Bounds,
    waiting: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Oldest first.
    whole: VecDeque<Batch>,
    open: Batch,
    /// In all of them.
    calls: usize,
    bytes: usize,
}

impl Pending {
    pub(in crate::inbox) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: Mutex::default() }
    }

    pub(in crate::inbox) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether calls are noted at all.
    pub(in crate::inbox) fn is_kept(&self) -> bool {
        self.bounds.keeps_any()
    }

    /// Notes a call.
    pub(in crate::inbox) fn push(&self, call: &Call<'_>) -> Pushed {
        let mut waiting = self.lock();
        if waiting.calls >= MOST || waiting.bytes >= MOST_BYTES {
            return Pushed::Dropped;
        }
        waiting.calls += 1;
        waiting.bytes += waiting.open.push(call);
        if !waiting.open.is_whole() {
            return Pushed::Waits;
        }
        let mut whole = std::mem::take(&mut waiting.open);
        whole.text.shrink_to_fit();
        waiting.whole.push_back(whole);
        Pushed::MakesWhole
    }

    /// The oldest batch, which need not be whole; empty when no call waits.
    pub(in crate::inbox) fn take(&self) -> Batch {
        let mut waiting = self.lock();
        let batch = waiting.whole.pop_front().unwrap_or_else(|| std::mem::take(&mut waiting.open));
        waiting.calls -= batch.len();
        waiting.bytes -= batch.bytes();
        batch
    }

    /// Whether a batch is whole.
    pub(in crate::inbox) fn has_a_whole_one(&self) -> bool {
        !self.lock().whole.is_empty()
    }

    pub(in crate::inbox) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in crate::inbox) fn len(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that become one block, in the order of their ends.
#[derive(Default)]
pub(in crate::inbox) struct Batch {
    calls: Vec<Waiting>,
    /// The texts of all of them, in their order: five names each, its key if it has one, the ids of calls, of tasks.
    text: Vec<u8>,
}

/// What is no text of a call.
struct Waiting {
    request: RequestBytes,
    at_ms: u64,
    code: Option<i64>,
    micros: [u32; TIMES],
    status: u16,
    replayed: bool,
    has_key: bool,
    /// How many ids.
    calls: u8,
    tasks: u8,
    /// Bytes of its names, and of all of its texts.
    names: u32,
    text: u32,
}

impl Batch {
    pub(in crate::inbox) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(in crate::inbox) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    fn bytes(&self) -> usize {
        self.calls.len() * size_of::<Waiting>() + self.text.len()
    }

    fn is_whole(&self) -> bool {
        self.calls.len() >= BLOCK || self.text.len() >= BLOCK_TEXT
    }

    /// The bytes that it takes.
    fn push(&mut self, call: &Call<'_>) -> usize {
        let begin = self.text.len();
        for name in [call.program, call.account, call.operation, call.sent, call.outcome] {
            write(&mut self.text, name.as_bytes());
        }
        let names = self.text.len() - begin;
        call.key.iter().for_each(|key| write(&mut self.text, key));
        let mut ids = |ids: &[String]| {
            ids.iter().take(MOST_IDS).for_each(|id| write(&mut self.text, id.as_bytes()));
            ids.len().min(MOST_IDS) as u8
        };
        let (calls, tasks) = (ids(&call.named.calls), ids(&call.named.tasks));
        let text = self.text.len() - begin;
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let mut times = [0; TIMES];
        for (written, time) in times.iter_mut().zip(call.phases.iter().chain([&call.keeping, &call.took])) {
            *written = micros(*time);
        }
        self.calls.push(Waiting {
            request: call.request,
            at_ms: call.at_ms,
            code: call.code,
            micros: times,
            status: call.status,
            replayed: call.replayed,
            has_key: call.key.is_some(),
            calls,
            tasks,
            names: names as u32,
            text: text as u32,
        });
        text + size_of::<Waiting>()
    }

    /// The calls, one after the other.
    pub(super) fn calls(&self) -> impl Iterator<Item = Ended<'_>> {
        let mut rest = &self.text[..];
        self.calls.iter().map(move |call| {
            let (mut text, others) = rest.split_at_checked(call.text as usize).unwrap_or((rest, &[]));
            rest = others;
            let names = text.split_off(..call.names as usize).unwrap_or_default();
            Ended {
                request: call.request,
                at_ms: call.at_ms,
                code: call.code,
                micros: call.micros,
                status: call.status,
                replayed: call.replayed,
                key: call.has_key.then(|| part(&mut text)),
                names,
                ids: text,
                calls: call.calls,
                tasks: call.tasks,
            }
        })
    }
}

/// A call of a batch.
pub(super) struct Ended<'a> {
    pub(super) request: RequestBytes,
    pub(super) at_ms: u64,
    pub(super) code: Option<i64>,
    /// Microseconds of each phase, of the key, of all.
    pub(super) micros: [u32; TIMES],
    pub(super) status: u16,
    pub(super) replayed: bool,
    pub(super) key: Option<&'a [u8]>,
    /// What [`Self::names`] takes apart; calls with the same five names have the same bytes.
    pub(super) names: &'a [u8],
    ids: &'a [u8],
    calls: u8,
    tasks: u8,
}

impl<'a> Ended<'a> {
    /// Of the program, the account and the operation; whether it was sent, and its outcome.
    pub(super) fn names(&self) -> [&'a str; 5] {
        let mut names = self.names;
        [(); 5].map(|()| str::from_utf8(part(&mut names)).unwrap_or_default())
    }

    /// What its answer named, in the order in which it is written.
    pub(super) fn ids(&self) -> impl Iterator<Item = (Tagged, &'a [u8])> {
        let mut ids = self.ids;
        let whats = [(Tagged::Call, self.calls), (Tagged::Task, self.tasks)];
        let whats = whats.into_iter().flat_map(|(what, count)| std::iter::repeat_n(what, count.into()));
        whats.map(move |what| (what, part(&mut ids)))
    }
}

/// Adds a text behind its length. Names have 64 bytes at most, ids 128, keys 255; of more than 64 KiB the rest is cut off.
fn write(text: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
    text.extend_from_slice(&length.to_le_bytes());
    text.extend_from_slice(&part[..length.into()]);
}

/// The next text; an empty one where there is none any more.
fn part<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = text.split_first_chunk() else { return &[] };
    let (part, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into()).unwrap_or_default();
    *text = rest;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::ledger::{Named, PHASES};
    use crate::inbox::tests::noted;

    /// Bytes of the names of a call, each behind its length.
    const NAMES: usize = "books main task.create yes answered".len() - 4 + 5 * 2;

    fn pending() -> Pending {
        Pending::new(Bounds::new(Duration::from_secs(1), 1))
    }

    fn call(named: &Named) -> Call<'_> {
        let (none, code) = (Duration::ZERO, None);
        Call { code, phases: [none; PHASES.len()], keeping: none, took: none, ..noted(7, named) }
    }

    fn named(calls: usize, tasks: usize, length: usize) -> Named {
        let ids = |letter: &str, count| (0..count).map(|id| format!("{letter}{id:0>length$}")).collect();
        Named { calls: ids("c", calls), tasks: ids("t", tasks) }
    }

    #[test]
    fn a_call_is_taken_as_it_was_pushed() {
        let pending = pending();
        let (none, some, many) = (Named::default(), named(1, 2, 3), named(20, 17, 1));
        let phases = [1, 2, 3, 4, 5, 6, 7].map(Duration::from_micros);
        let mut calls = [
            call(&none),
            Call { key: Some(b"key-1"), code: Some(-5), replayed: true, phases, took: Duration::MAX, ..call(&some) },
            Call { key: Some(b""), keeping: Duration::from_micros(8), program: "-", status: 0, ..call(&many) },
        ];
        for (number, call) in calls.iter_mut().enumerate() {
            (call.request, call.at_ms) = ([number as u8; 16], 100 + number as u64);
            assert_eq!(pending.push(call), Pushed::Waits);
        }
        let batch = pending.take();
        assert_eq!((batch.len(), batch.calls().count(), batch.is_empty()), (3, 3, false));
        for (given, taken) in calls.iter().zip(batch.calls()) {
            assert_eq!(taken.names(), [given.program, given.account, given.operation, given.sent, given.outcome]);
            assert_eq!((taken.request, taken.at_ms, taken.key), (given.request, given.at_ms, given.key));
            assert_eq!((taken.code, taken.status, taken.replayed), (given.code, given.status, given.replayed));
            let ids =
                |what, ids: &'_ [String]| ids.iter().take(16).map(move |id| (what, id.clone())).collect::<Vec<_>>();
            let ids = [ids(Tagged::Call, &given.named.calls), ids(Tagged::Task, &given.named.tasks)].concat();
            let found: Vec<_> =
                taken.ids().map(|(what, id)| (what, String::from_utf8_lossy(id).into_owned())).collect();
            assert_eq!(found, ids);
        }
        let micros: Vec<_> = batch.calls().map(|call| call.micros).collect();
        assert_eq!(micros, [[0; 9], [1, 2, 3, 4, 5, 6, 7, 0, u32::MAX], [0, 0, 0, 0, 0, 0, 0, 8, 0]]);
        let names: Vec<_> = batch.calls().map(|call| call.names).collect();
        assert!(names[0] == names[1] && names[1] != names[2]);
        assert!(pending.is_empty() && pending.take().is_empty());
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_moves_no_other() {
        let (pending, long) = (pending(), "x".repeat(70_000));
        pending.push(&Call { key: Some(long.as_bytes()), ..call(&named(1, 1, 0)) });
        pending.push(&call(&Named::default()));
        let batch = pending.take();
        let taken: Vec<_> = batch.calls().collect();
        assert_eq!(taken[0].key.map(<[u8]>::len), Some(65_535));
        assert_eq!(taken[0].ids().collect::<Vec<_>>(), [(Tagged::Call, &b"c0"[..]), (Tagged::Task, b"t0")]);
        assert_eq!((taken[1].names()[0], taken[1].key, taken[1].ids().count()), ("books", None, 0));
    }

    #[test]
    fn a_batch_is_whole_by_its_calls_or_by_its_texts() {
        let (pending, none) = (pending(), Named::default());
        let push = |count| (0..count).map(|_| pending.push(&call(&none))).collect::<Vec<_>>();
        assert!(push(BLOCK - 1).iter().all(|pushed| *pushed == Pushed::Waits));
        assert!(!pending.has_a_whole_one());
        assert_eq!(push(1), [Pushed::MakesWhole]);
        assert_eq!(push(1), [Pushed::Waits]);
        assert!(pending.has_a_whole_one());
        assert_eq!((pending.len(), pending.take().len()), (BLOCK + 1, BLOCK));
        assert!(!pending.has_a_whole_one() && !pending.is_empty());
        assert_eq!((pending.take().len(), pending.len()), (1, 0));
        let many = named(16, 0, 999);
        let each = NAMES + 16 * 1002;
        let whole = (1..).find(|_| pending.push(&call(&many)) == Pushed::MakesWhole);
        assert_eq!(whole, Some(BLOCK_TEXT.div_ceil(each)));
        assert_eq!(pending.take().text.len(), BLOCK_TEXT.div_ceil(each) * each);
    }

    #[test]
    fn what_waits_is_bounded_in_count_and_what_is_taken_makes_room() {
        let (pending, none) = (pending(), Named::default());
        let fits = (0..).take_while(|_| pending.push(&call(&none)) != Pushed::Dropped).count();
        assert_eq!((fits, pending.len()), (MOST, MOST));
        assert!(pending.lock().bytes < MOST_BYTES);
        assert_eq!(pending.take().len(), BLOCK);
        assert_eq!((0..).take_while(|_| pending.push(&call(&none)) != Pushed::Dropped).count(), BLOCK);
        while !pending.is_empty() {
            assert_eq!(pending.take().len(), BLOCK);
        }
        assert_eq!(pending.lock().bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_whatever_answers_name() {
        let (pending, many) = (pending(), named(8, 8, 999));
        let each = size_of::<Waiting>() + NAMES + 16 * 1002;
        let fits = (0..).take_while(|_| pending.push(&call(&many)) != Pushed::Dropped).count();
        assert_eq!(fits, MOST_BYTES.div_ceil(each));
        assert_eq!(pending.lock().bytes, fits * each);
        let taken = pending.take().len();
        assert_eq!((0..).take_while(|_| pending.push(&call(&many)) != Pushed::Dropped).count(), taken);
    }
}
