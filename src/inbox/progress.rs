//! What the writer and the thread that moves the log tell each other.
//!
//! In memory; it never touches the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of log after which some of it is moved.
const BITE: u64 = 8 * 1024 * 1024;
/// What the writer and the thread that moves the log tell each other.
#[derive(Default)]
pub(super) struct Progress {
    log: Mutex<Log>,
    changed: Condvar,
    /// The writer is to move the rest.
    pub(super) rest: AtomicBool,
    /// Something could not be moved: the writer is to open the database again.
    pub(super) failed: AtomicBool,
}

#[derive(Default)]
struct Log {
    /// Written since the last move, in bytes.
    written: u64,
    ended: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has committed about this many bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut log = self.lock();
        let before = log.written;
        log.written += bytes;
        if before < BITE && log.written >= BITE {
            self.changed.notify_one();
        }
    }

    /// Asked by the writer between two commits: whether it is to move the rest now.
    pub(super) fn wants_the_rest_moved(&self) -> bool {
        self.rest.swap(false, Ordering::AcqRel)
    }

    /// Asked by the writer: whether a move has failed since it asked last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::AcqRel)
    }

    /// The thread ends after what it is doing.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// Waits for a bite; false when it is to end.
    pub(super) fn wait(&self) -> bool {
        let mut log = self.lock();
        while log.written < BITE && !log.ended {
            log = self.changed.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
        log.written = 0;
        !log.ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn the_log_is_moved_when_a_bite_was_written_and_each_byte_counts_once() {
        let progress = Progress::default();
        progress.wrote(BITE / 2);
        progress.wrote(BITE / 2);
        assert!(progress.wait());
        progress.wrote(BITE - 1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait());
            progress.wrote(1);
            assert!(waiting.join().is_ok_and(|goes_on| goes_on));
        });
        progress.wrote(BITE - 1);
        progress.end();
        assert!(!progress.wait() && progress.lock().ended, "it ends with less than a bite");
    }

    #[test]
    fn whoever_moves_the_log_sleeps_until_there_is_a_bite() {
        let (progress, moved) = (Progress::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while progress.wait() {
                    moved.fetch_add(1, Ordering::AcqRel);
                }
            });
            for bites in 1..=100 {
                progress.wrote(BITE / 2);
                progress.wrote(BITE / 2);
                while moved.load(Ordering::Acquire) < bites {
                    std::thread::yield_now();
                }
            }
            progress.end();
        });
        assert_eq!(moved.into_inner(), 100, "each bite wakes it once");
    }

    #[test]
    fn what_one_tells_the_other_is_told_once() {
        let progress = Progress::default();
        assert!(!progress.wants_the_rest_moved() && !progress.has_failed());
        progress.rest.store(true, Ordering::Release);
        assert!(progress.wants_the_rest_moved() && !progress.wants_the_rest_moved() && !progress.has_failed());
        progress.failed.store(true, Ordering::Release);
        assert!(progress.has_failed() && !progress.has_failed() && !progress.wants_the_rest_moved());
    }
}
