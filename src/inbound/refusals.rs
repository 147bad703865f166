//! What strangers were refused, in the log: a line a second for each reason, with how many it stands for.
//!
//! A line for each would let anybody fill the disk, and push the lines of calls out of the buffer that all share. It
//! counts reasons, never who was refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::log::{self, key};

/// How far apart the lines of one reason are.
const APART: Duration = Duration::from_secs(1);

/// Refusals without a source that wait for their line. One entry for each reason and status, which are fixed words.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Vec<Waiting>>);

struct Waiting {
    reason: &'static str,
    status: u16,
    /// Since the last line.
    count: u64,
    last: Option<Instant>,
}

impl Refusals {
    /// One more was refused. The first is told at once.
    pub(super) fn add(&self, reason: &'static str, status: u16, now: Instant) {
        let count = {
            let mut waiting = self.lock();
            let known = waiting.iter().position(|waiting| waiting.reason == reason && waiting.status == status);
            let at = known.unwrap_or_else(|| {
                waiting.push(Waiting { reason, status, count: 0, last: None });
                waiting.len() - 1
            });
            waiting[at].count += 1;
            waiting[at].due(now)
        };
        if let Some(count) = count {
            tell(reason, status, count);
        }
    }

    /// Tells what has waited long enough. To be called about once a second.
    pub(super) fn tell(&self, now: Instant) {
        let due: Vec<_> = {
            let mut waiting = self.lock();
            waiting.iter_mut().filter_map(|waiting| Some((waiting.reason, waiting.status, waiting.due(now)?))).collect()
        };
        for (reason, status, count) in due {
            tell(reason, status, count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// How many a line stands for that is written now; `None`: there is none to write yet.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let rests = self.last.is_some_and(|last| now.saturating_duration_since(last) < APART);
        if rests || self.count == 0 {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

fn tell(reason: &'static str, status: u16, count: u64) {
    log::callback(|line| {
        line.word(key!("source"), "-");
        line.word(key!("outcome"), "refused");
        line.word(key!("reason"), reason);
        line.number(key!("status"), status);
        line.number(key!("count"), count);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn each_reason_has_a_line_a_second_that_counts_the_rest() {
        let (mut waiting, start) = (Waiting { reason: "path", status: 404, count: 0, last: None }, clock::now());
        let mut after = |millis: u64, more: u64| {
            waiting.count += more;
            waiting.due(start + Duration::from_millis(millis))
        };
        assert_eq!(after(0, 0), None);
        assert_eq!(after(0, 1), Some(1));
        assert_eq!(after(500, 1), None);
        assert_eq!(after(999, 6), None);
        assert_eq!(after(1000, 1), Some(8));
        assert_eq!(after(5000, 0), None);
        assert_eq!(after(5000, 1), Some(1));
    }

    #[test]
    fn reasons_do_not_wait_for_each_other_and_are_few() {
        let (refusals, now) = (Refusals::default(), clock::now());
        for _ in 0..1000 {
            refusals.add("path", 404, now);
            refusals.add("method", 405, now);
        }
        let counts = || refusals.lock().iter().map(|waiting| waiting.count).collect::<Vec<_>>();
        assert_eq!(counts(), [999, 999]);
        refusals.tell(now + APART);
        assert_eq!(counts(), [0, 0]);
    }
}
