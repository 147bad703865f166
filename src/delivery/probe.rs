//! How gently a receiver that does not answer is treated: after a few failures in a row only one attempt at a time, with
//! a pause before each that grows. Pure.
//!
//! An attempt that is not made counts for nothing: the callbacks wait in the inbox. It knows nothing of what an answer
//! says; a receiver that refuses everything is there.

use std::time::Duration;

use crate::clock::Instant;

/// So many attempts in a row without an answer, and the receiver is held to be down.
const FAILURES: u32 = 5;

/// The pause before the first probe, and the longest one: how late a receiver that is back may be noticed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of one receiver.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Attempts in a row without an answer.
    failures: u32,
    /// When the next attempt may be made; `None` while the receiver is held to be up.
    down_until: Option<Instant>,
}

/// What may be attempted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// As much as the receiver's concurrency allows.
    Full,
    /// One attempt, at that time, and nothing beside it.
    One(Instant),
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing, as far as others need to know.
    None,
    /// From now on it is probed.
    WentDown,
    /// It answers again.
    CameUp,
}

impl Probe {
    /// What may be attempted.
    pub(super) fn allowance(&self) -> Allowance {
        self.down_until.map_or(Allowance::Full, Allowance::One)
    }

    /// An attempt ended; `answered` says whether the receiver gave any answer. `chance` is from 0 up to 1.
    pub(super) fn attempt_ended(&mut self, answered: bool, now: Instant, chance: f64) -> Change {
        if answered {
            self.failures = 0;
            return if self.down_until.take().is_some() { Change::CameUp } else { Change::None };
        }
        self.failures = self.failures.saturating_add(1);
        let Some(probes) = self.failures.checked_sub(FAILURES) else { return Change::None };
        // Attempts that were under way together when it went down fail together; they make the pause no longer.
        let was_down = self.down_until.is_some();
        if self.down_until.is_some_and(|until| now < until) {
            self.failures -= 1;
            return Change::None;
        }
        let pause = (FIRST_PAUSE * (1 << probes.min(6))).min(LONGEST_PAUSE);
        self.down_until = Some(now + pause.mul_f64(0.8 + 0.2 * chance));
        if was_down { Change::None } else { Change::WentDown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A probe of a receiver that has just gone down.
    fn down(now: Instant) -> Probe {
        let mut probe = Probe::default();
        for _ in 1..FAILURES {
            assert_eq!(probe.attempt_ended(false, now, 1.0), Change::None);
            assert_eq!(probe.allowance(), Allowance::Full);
        }
        assert_eq!(probe.attempt_ended(false, now, 1.0), Change::WentDown);
        probe
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut now = clock::now();
        let mut probe = down(now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Allowance::One(at) = probe.allowance() else { panic!("it is down") };
            pauses.push((at - now).as_millis());
            now = at;
            assert_eq!(probe.attempt_ended(false, now, 1.0), Change::None);
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn one_answer_brings_everything_back() {
        let now = clock::now();
        let mut probe = down(now);
        assert_eq!(probe.attempt_ended(true, now, 1.0), Change::CameUp);
        assert_eq!(probe.allowance(), Allowance::Full);
        assert_eq!(probe.attempt_ended(false, now, 1.0), Change::None);
        assert_eq!(probe.allowance(), Allowance::Full);
    }

    #[test]
    fn failures_between_answers_never_add_up() {
        let (mut probe, now) = (Probe::default(), clock::now());
        for turn in 0..100 {
            assert_eq!(probe.attempt_ended(turn % FAILURES == 0, now, 1.0), Change::None);
        }
        assert_eq!(probe.allowance(), Allowance::Full);
    }

    #[test]
    fn attempts_that_fail_together_make_one_pause() {
        let now = clock::now();
        let mut probe = down(now);
        let pause = probe.allowance();
        for _ in 0..64 {
            assert_eq!(probe.attempt_ended(false, now, 1.0), Change::None);
        }
        assert_eq!(probe.allowance(), pause);
    }
}
