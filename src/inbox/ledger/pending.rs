//! Calls that ended and are not on disk yet.
//!
//! Bounded in count. Nobody waits: not for room, which is either there or not, and not for the writer, who takes a few at a
//! time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bounds, Call};

/// Most calls that wait: two seconds of 2,000 a second, or a disk that is away for as long. A call that named all the ids it
/// may takes some KiB, so this is 10 MiB at the very most.
const MOST: usize = 4096;

/// Most calls that are written in one transaction: a millisecond or two, which the callbacks beside them wait.
pub(in crate::inbox) const STEP: usize = 128;

/// The calls that wait for the writer.
pub(in crate::inbox) struct Pending {
    bounds: Bounds,
    calls: Mutex<VecDeque<Call>>,
}

impl Pending {
    pub(in crate::inbox) fn new(bounds: Bounds) -> Self {
        Self { bounds, calls: Mutex::default() }
    }

    pub(in crate::inbox) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether calls are noted at all.
    pub(in crate::inbox) fn is_kept(&self) -> bool {
        self.bounds.keeps_any()
    }

    /// Notes a call; false when there was no room.
    pub(in crate::inbox) fn push(&self, call: Call) -> bool {
        let mut calls = self.lock();
        let fits = calls.len() < MOST;
        if fits {
            calls.push_back(call);
        }
        fits
    }

    /// The next few, oldest first.
    pub(in crate::inbox) fn take(&self) -> Vec<Call> {
        let mut calls = self.lock();
        let few = calls.len().min(STEP);
        calls.drain(..few).collect()
    }

    pub(in crate::inbox) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(in crate::inbox) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
