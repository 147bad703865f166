//! How old a thing of the inbox is: by wall times, which stand on disk, but never older than the time that really passed.
//!
//! A wall clock that is set forward would make everything look old at once, and a forgotten key is a second call. So a
//! thing has an age only as far as monotonic time proves it. It reads no clock, and it puts nothing out of its way.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;

/// Wall time that runs ahead by more than this at once is told of. Time servers correct by seconds, and a machine that stood
/// still for less is not worth a line; whatever is smaller is not counted as an age either.
const JUMP_MS: i64 = 5 * 60 * 1000;

/// Leads that differ by less are one, and the smaller of them counts.
const STEP_MS: i64 = 1000;

/// Most leads that are remembered: 24 KiB. A clock that gains half a second a day needs a dozen; of one that gains a second
/// with each look the smaller lead counts for longer.
const MOST: usize = 1024;

/// The age of things, by the lead of wall time over monotonic time.
///
/// A thing of wall time `t` was made when the lead was `t` less the monotonic time. As long as the smallest lead of the last
/// `kept` is what is added to monotonic time, nothing that was made within it is older than it is, whatever the wall clock
/// does. What the clock gains counts for nothing until `kept` has passed since.
#[derive(Debug)]
pub(super) struct Ages {
    begun: Instant,
    longest: Duration,
    /// The smaller ones of the last `longest`: each is smaller than those after it, and none after its time was below it.
    leads: VecDeque<Lead>,
    seen: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Lead {
    /// The last time it was seen, since the beginning.
    until: Duration,
    /// In milliseconds.
    ms: i64,
}

impl Ages {
    /// Nobody will ask for the age of what is kept longer than `longest`.
    pub(super) fn new(longest: Duration, now: Instant) -> Self {
        Self { begun: now, longest, leads: VecDeque::new(), seen: None }
    }

    /// Both clocks at one moment. By how much the wall clock ran ahead since the last look, where that is worth telling.
    pub(super) fn look(&mut self, wall_ms: u64, now: Instant) -> Option<Duration> {
        let lead = self.note(wall_ms, now);
        let ahead = self.seen.replace(lead).map_or(0, |seen| lead.saturating_sub(seen));
        (ahead > JUMP_MS).then(|| Duration::from_millis(ahead.unsigned_abs()))
    }

    /// The newest thing on disk is of this time: nobody knows whether it is really so long ago, so nothing grew older since.
    pub(super) fn resume(&mut self, newest_ms: u64, wall_ms: u64, now: Instant) {
        self.note(newest_ms.min(wall_ms), now);
    }

    /// Wall time less the time that this process cannot vouch for: what was made at it is new for who keeps it so long.
    pub(super) fn now_ms(&self, kept: Duration, now: Instant) -> u64 {
        let passed = self.passed(now);
        let since = passed.saturating_sub(kept);
        let least = self.leads.iter().find(|lead| lead.until >= since);
        // Not looked at for so long: nothing is known, so nothing is old.
        least.map_or(0, |lead| u64::try_from(millis(passed).saturating_add(lead.ms)).unwrap_or(0))
    }

    /// The time before which a thing that is kept so long is over.
    pub(super) fn over_ms(&self, kept: Duration, now: Instant) -> u64 {
        self.now_ms(kept, now).saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
    }

    fn passed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    fn note(&mut self, wall_ms: u64, now: Instant) -> i64 {
        let until = self.passed(now);
        let ms = i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_sub(millis(until));
        while self.leads.back().is_some_and(|last| last.ms >= ms) {
            self.leads.pop_back();
        }
        let is_full = self.leads.len() >= MOST;
        match self.leads.back_mut() {
            Some(last) if is_full || ms.saturating_sub(last.ms) < STEP_MS => last.until = until,
            _ => self.leads.push_back(Lead { until, ms }),
        }
        let since = until.saturating_sub(self.longest);
        while self.leads.front().is_some_and(|first| first.until < since) {
            self.leads.pop_front();
        }
        ms
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const WALL: u64 = 1_781_057_180_000;

    /// A machine whose clocks are looked at every second.
    struct Machine {
        ages: Ages,
        now: Instant,
        wall_ms: u64,
        told: Vec<Duration>,
    }

    impl Machine {
        fn new() -> Self {
            let now = clock::now();
            let mut machine = Self { ages: Ages::new(14 * DAY, now), now, wall_ms: WALL, told: Vec::new() };
            machine.pass(Duration::ZERO);
            machine
        }

        /// Both clocks go on.
        fn pass(&mut self, time: Duration) {
            for _ in 0..time.as_secs() {
                (self.now, self.wall_ms) = (self.now + SECOND, self.wall_ms + 1000);
                self.look();
            }
            self.look();
        }

        fn look(&mut self) {
            self.told.extend(self.ages.look(self.wall_ms, self.now));
        }

        fn set(&mut self, forward: bool, time: Duration) {
            let ms = u64::try_from(time.as_millis()).expect("a time");
            self.wall_ms = if forward { self.wall_ms + ms } else { self.wall_ms - ms };
            self.look();
        }

        /// Whether what was made then is over for who keeps it for a day.
        fn is_over(&self, made_ms: u64) -> bool {
            made_ms < self.ages.over_ms(DAY, self.now)
        }
    }

    #[test]
    fn while_both_clocks_agree_a_thing_is_over_after_its_time() {
        let mut machine = Machine::new();
        let made = machine.wall_ms;
        machine.pass(DAY);
        assert!(!machine.is_over(made));
        machine.pass(SECOND);
        assert!(machine.is_over(made));
        assert!(machine.told.is_empty() && machine.ages.leads.len() == 1);
    }

    #[test]
    fn a_wall_clock_that_jumps_forward_for_three_seconds_ends_nothing() {
        let mut machine = Machine::new();
        let before = machine.wall_ms;
        machine.set(true, 25 * HOUR);
        let meanwhile = machine.wall_ms;
        machine.pass(3 * SECOND);
        assert!(!machine.is_over(before));
        machine.set(false, 25 * HOUR);
        assert!(!machine.is_over(before) && !machine.is_over(meanwhile));
        assert_eq!(machine.told, [25 * HOUR], "it is told once");
        machine.pass(DAY);
        assert!(machine.is_over(before) && !machine.is_over(meanwhile), "the time that stands on disk is waited for");
    }

    #[test]
    fn a_clock_that_stays_ahead_is_believed_when_the_time_has_passed_once_more() {
        let mut machine = Machine::new();
        let before = machine.wall_ms;
        machine.pass(HOUR);
        machine.set(true, 25 * HOUR);
        let after = machine.wall_ms;
        machine.pass(23 * HOUR);
        assert!(!machine.is_over(before), "its day is not over");
        machine.pass(SECOND);
        assert!(machine.is_over(before) && !machine.is_over(after));
        machine.pass(HOUR);
        assert!(machine.is_over(after), "and what is of after the jump is over after its day");
    }

    #[test]
    fn many_small_jumps_are_no_age_either() {
        let mut machine = Machine::new();
        let before = machine.wall_ms;
        for _ in 0..3 * MOST {
            machine.set(true, 60 * SECOND);
            machine.pass(SECOND);
        }
        assert!(!machine.is_over(before) && machine.told.is_empty());
        assert!(machine.ages.leads.len() <= MOST);
        machine.set(true, 300 * SECOND);
        assert!(machine.told.is_empty(), "so much is not worth telling yet");
    }

    #[test]
    fn a_clock_that_gains_a_little_needs_few_leads() {
        let mut machine = Machine::new();
        for _ in 0..10_000 {
            machine.set(true, Duration::from_millis(1));
            machine.pass(SECOND);
        }
        assert_eq!(machine.ages.leads.len(), 11, "one for each second that it gained");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_what_was_made_before() {
        let mut machine = Machine::new();
        let before = machine.wall_ms;
        machine.set(false, HOUR);
        machine.pass(DAY + SECOND);
        assert!(!machine.is_over(before));
        machine.pass(HOUR);
        assert!(machine.is_over(before));
    }

    #[test]
    fn a_time_in_which_nothing_ran_is_no_age_at_the_next_start() {
        let mut machine = Machine::new();
        let newest = machine.wall_ms - 3 * 86_400_000;
        let (old, future) = (newest - 86_400_001, machine.wall_ms + 86_400_000);
        machine.ages.resume(newest, machine.wall_ms, machine.now);
        assert!(!machine.is_over(newest) && machine.is_over(old), "what was over already stays so");
        machine.pass(DAY);
        assert!(!machine.is_over(newest));
        machine.pass(SECOND);
        assert!(machine.is_over(newest));
        machine.ages.resume(future, machine.wall_ms, machine.now);
        assert!(!machine.is_over(machine.wall_ms - 86_400_000), "what is of the future makes nothing older");
    }

    #[test]
    fn what_is_not_kept_is_over_at_once_and_what_is_kept_for_ever_never() {
        let machine = Machine::new();
        assert_eq!(machine.ages.over_ms(Duration::ZERO, machine.now), WALL);
        assert_eq!(machine.ages.over_ms(Duration::MAX, machine.now), 0);
        assert_eq!(Ages::new(DAY, machine.now).over_ms(Duration::ZERO, machine.now), 0, "nothing is known");
    }
}
