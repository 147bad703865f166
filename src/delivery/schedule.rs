//! When a delivery that was not taken is tried again, and when it is given up. Pure.
//!
//! Times and chance are arguments: it reads no clock and waits for nothing.

use std::time::Duration;

/// A receiver that says when to come again is believed within these bounds: sooner would be a storm, and one that says
/// "in a year" would have lost its callbacks.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(3600);

/// How far a wait may be from what the schedule says, so that deliveries that failed together do not come again together.
const JITTER: f64 = 0.2;

/// The waits of one receiver.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// After the first attempt, the second, and so on; the last one repeats.
    steps: Vec<Duration>,
    /// Counted from the acceptance of the callback.
    retain: Duration,
}

/// What is known when an attempt has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    /// Which attempt it was; the first is 1.
    pub(super) attempt: u32,
    /// Since the callback was accepted.
    pub(super) age: Duration,
    /// Whether somebody asked for it again after it was over.
    pub(super) redriven: bool,
    /// When the receiver said it would take it.
    pub(super) asked: Option<Duration>,
    /// From 0 up to 1.
    pub(super) chance: f64,
}

impl Schedule {
    /// `steps` must not be empty; the configuration sees to it. Nothing is tried after `retain`.
    pub(super) fn new(steps: &[Duration], retain: Duration) -> Self {
        Self { steps: steps.to_vec(), retain }
    }

    /// How long after its acceptance a callback is tried.
    pub(super) const fn retain(&self) -> Duration {
        self.retain
    }

    /// How long to wait before the next attempt; `None`: its time is over.
    ///
    /// The last attempt is made when the time ends, however long the step before it would be.
    pub(super) fn next(&self, failed: Failed) -> Option<Duration> {
        // A redriven callback may be older than its time, so what counts is how long it has been tried since.
        let tried = if failed.redriven { self.nominal(failed.attempt) } else { failed.age };
        let left = self.retain.checked_sub(tried).filter(|left| !left.is_zero())?;
        let wait = match failed.asked {
            // Not sooner than it was asked for.
            Some(asked) => asked.clamp(SOONEST, LATEST).mul_f64(1.0 + JITTER * failed.chance).min(LATEST),
            None => self.step(failed.attempt).mul_f64(1.0 - JITTER + 2.0 * JITTER * failed.chance),
        };
        Some(wait.min(left))
    }

    /// What follows this attempt.
    fn step(&self, attempt: u32) -> Duration {
        let at = (attempt.max(1) as usize - 1).min(self.steps.len().saturating_sub(1));
        self.steps.get(at).copied().unwrap_or(LATEST)
    }

    /// How long it takes to come to this attempt, without jitter.
    fn nominal(&self, attempt: u32) -> Duration {
        let before = attempt.max(1) - 1;
        let listed = before.min(self.steps.len() as u32);
        let repeated = self.step(attempt).saturating_mul(before - listed);
        (1..=listed).map(|attempt| self.step(attempt)).sum::<Duration>().saturating_add(repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    /// Without jitter, because chance stands in the middle.
    const FIRST: Failed = Failed { attempt: 1, age: SECOND, redriven: false, asked: None, chance: 0.5 };

    fn schedule() -> Schedule {
        Schedule::new(&[5 * SECOND, 30 * SECOND, HOUR, DAY], 14 * DAY)
    }

    #[test]
    fn the_waits_follow_the_list_and_its_last_one_repeats() {
        for (attempt, wait) in [(1, 5 * SECOND), (2, 30 * SECOND), (3, HOUR), (4, DAY), (5, DAY), (u32::MAX, DAY)] {
            assert_eq!(schedule().next(Failed { attempt, ..FIRST }), Some(wait), "after attempt {attempt}");
        }
    }

    #[test]
    fn waits_are_spread_by_a_fifth_to_either_side() {
        let wait = |chance| schedule().next(Failed { chance, ..FIRST }).expect("a wait").as_secs_f64();
        assert!((wait(0.0) - 4.0).abs() < 1e-6);
        assert!((wait(1.0) - 6.0).abs() < 1e-6);
    }

    #[test]
    fn a_receiver_that_names_a_time_is_believed_within_bounds_and_never_hurried() {
        for (asked, soonest, latest) in [
            (Duration::ZERO, SECOND, SECOND.mul_f64(1.2)),
            (10 * SECOND, 10 * SECOND, 12 * SECOND),
            (HOUR, HOUR, HOUR),
            (Duration::MAX, HOUR, HOUR),
        ] {
            let wait = |chance| schedule().next(Failed { asked: Some(asked), chance, ..FIRST }).expect("a wait");
            assert_eq!(wait(0.0), soonest, "{asked:?}");
            assert!(wait(1.0) <= latest + Duration::from_micros(1), "{asked:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_made_when_the_time_ends_and_none_after_it() {
        let at = |age| schedule().next(Failed { attempt: 20, age, ..FIRST });
        assert_eq!(at(13 * DAY), Some(DAY));
        assert_eq!(at(14 * DAY - HOUR), Some(HOUR));
        assert_eq!(at(14 * DAY), None);
        assert_eq!(at(Duration::MAX), None);
        let asked = Failed { age: 14 * DAY - SECOND, asked: Some(HOUR), ..FIRST };
        assert_eq!(schedule().next(asked), Some(SECOND));
    }

    #[test]
    fn a_redriven_one_has_the_whole_time_again_however_old_it_is() {
        let old = Failed { age: 400 * DAY, redriven: true, ..FIRST };
        assert_eq!(schedule().next(old), Some(5 * SECOND));
        // 5 s, 30 s, an hour, then a day each: the 18th attempt comes after 14 days and more.
        let given_up = (1..).find(|&attempt| schedule().next(Failed { attempt, ..old }).is_none());
        assert_eq!(given_up, Some(18));
        assert_eq!(schedule().next(Failed { attempt: u32::MAX, ..old }), None);
    }
}
