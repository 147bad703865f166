//! How long a login waits after others failed. Pure: time is an argument.
//!
//! Nobody is locked out: the longest wait is a few seconds, and it is over soon after the failures are. It never
//! sleeps; whoever asks does.

use std::time::Duration;

use crate::clock::Instant;

/// Failures that cost nothing: somebody corrects a typing error, several replicas start with an old pair.
const FREE: u32 = 5;

/// The first wait; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(125);

/// More failures than this count as this many: a wait of 4 s, which existing clients take for a slow answer.
const MOST: u32 = FREE + 6;

/// One failure is forgotten in this time.
const FORGOTTEN_IN: Duration = Duration::from_secs(10);

/// The failures of late, of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brake {
    failures: u32,
    /// Up to when failures were forgotten.
    since: Instant,
}

impl Brake {
    /// Without any.
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, since: now }
    }

    /// One more.
    pub(super) fn fail(&mut self, now: Instant) {
        self.forget(now);
        self.failures = (self.failures + 1).min(MOST);
    }

    /// How long a login waits now before it is answered.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.forget(now);
        match self.failures.checked_sub(FREE + 1) {
            Some(doublings) => FIRST * 2_u32.pow(doublings),
            None => Duration::ZERO,
        }
    }

    fn forget(&mut self, now: Instant) {
        let forgotten = now.saturating_duration_since(self.since).as_secs() / FORGOTTEN_IN.as_secs();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        match self.failures.checked_sub(forgotten) {
            Some(left) if left > 0 => {
                self.failures = left;
                self.since += FORGOTTEN_IN * forgotten;
            }
            _ => *self = Self::new(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_wait_doubles_to_four_seconds_and_is_forgotten() {
        let start = clock::now();
        let mut brake = Brake::new(start);
        let mut waits = Vec::new();
        for _ in 0..20 {
            brake.fail(start);
            waits.push(brake.wait(start).as_millis());
        }
        assert_eq!(waits[..11], [0, 0, 0, 0, 0, 125, 250, 500, 1000, 2000, 4000]);
        assert!(waits[11..].iter().all(|wait| *wait == 4000));
        for (seconds, expected) in [(9, 4000), (10, 2000), (25, 1000), (49, 250), (59, 125), (60, 0), (1_000_000, 0)] {
            assert_eq!(brake.wait(start + Duration::from_secs(seconds)).as_millis(), expected, "after {seconds} s");
        }
        brake.fail(start + Duration::from_secs(1_000_001));
        assert_eq!(brake.failures, 1);
    }

    #[test]
    fn one_failure_in_ten_seconds_never_slows() {
        let start = clock::now();
        let mut brake = Brake::new(start);
        for round in 0..1000 {
            let now = start + FORGOTTEN_IN * round;
            brake.fail(now);
            assert_eq!(brake.wait(now), Duration::ZERO, "round {round}");
        }
    }
}
