//! Whose turn it is at a gate: what its rate, its places and a pause allow, and who waits for it in which order.
//!
//! Pure: it is told the time, wakes nobody and never waits. What became of a call is what it is told.

use std::time::Duration;

use super::fair::Fair;
use super::pace::Pace;
use super::spent::Spent;
use crate::clock::Instant;
use crate::config::{Frequency, Quota};

/// Longest pause that the platform can ask for: when it is back it is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is told to a call when nobody knows how long the wait is: a place is free when the platform has answered.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// What held a call up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// The rate is used up.
    Rate,
    /// The platform asked for a pause.
    Pause,
    /// As many are in flight as may be.
    Concurrency,
    /// As many of this program wait as may.
    Queue,
}

/// A call does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotNow {
    /// After this it could; exact where it is known.
    pub(super) wait: Duration,
    /// Why.
    pub(super) held: Held,
}

impl NotNow {
    fn is_known(self) -> bool {
        self.held != Held::Concurrency
    }
}

/// What a call saw of the rate when it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Calls that could have followed at once.
    pub(super) left: u32,
    /// The time in which one more can.
    pub(super) interval: Duration,
}

/// Those whose turn has come, to be told so.
pub(super) type Due<T> = Vec<(T, Seen)>;

/// What became of a call that asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It passes.
    Passed(Seen),
    /// It waits under this ticket.
    Waits(u64),
    /// It would wait for longer than it can.
    Refused(NotNow),
}

/// The state of a gate. `T` is how one who waits is told.
#[derive(Debug)]
pub(super) struct Turns<T> {
    waiting: Fair<T>,
    pace: Option<Pace>,
    /// The platform asked for a pause until then.
    pause: Option<Instant>,
    /// How many passed and are not over.
    inside: u32,
    /// How many of them there may be; `None`: any number.
    most: Option<u32>,
}

impl<T> Turns<T> {
    /// With the whole burst, and nobody waiting.
    pub(super) fn new(
        quota: Option<Quota>,
        least: Option<Frequency>,
        concurrency: Option<u32>,
        waiting: Fair<T>,
        now: Instant,
    ) -> Self {
        let pace = quota.map(|quota| Pace::new(quota, least, now));
        Self { waiting, pace, pause: None, inside: 0, most: concurrency }
    }

    /// Other rules from now on: what is used up stays so, who waits keeps his place, and who passed still counts. The part
    /// of the full rate that is used.
    pub(super) fn adopt(
        &mut self,
        quota: Option<Quota>,
        least: Option<Frequency>,
        concurrency: Option<u32>,
        shares: &[u32],
        now: Instant,
    ) -> Option<f64> {
        self.waiting.share(shares);
        self.most = concurrency;
        match (&mut self.pace, quota) {
            (Some(pace), Some(quota)) => pace.adopt(quota, least, now),
            (pace, quota) => *pace = quota.map(|quota| Pace::new(quota, least, now)),
        }
        self.pace.as_ref().map(|pace| pace.adapt.part())
    }

    /// How much of the rate is used up, by those who wait, too.
    pub(super) fn spent(&mut self, now: Instant) -> Option<Spent> {
        let waiting = self.waiting.len();
        let pace = self.pace.as_mut()?;
        Some(Spent { turns: pace.turns.level(now).and(waiting), exits: pace.exits.level(now).and(waiting) })
    }

    /// As much was used up elsewhere, and counts here.
    pub(super) fn owe(&mut self, spent: &Spent, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.turns.charge(spent.turns, now);
            pace.exits.charge(spent.exits, now);
        }
    }

    /// A call asks to pass, and waits up to `patience`. Those who came before go first. `call` is how it is told later.
    pub(super) fn ask(
        &mut self,
        lane: usize,
        patience: Duration,
        now: Instant,
        call: impl FnOnce() -> T,
    ) -> (Due<T>, Asked) {
        let (due, held) = self.advance(now);
        let first = match held.map_or_else(|| self.pass(now), Err) {
            Ok(seen) => return (due, Asked::Passed(seen)),
            Err(first) => first,
        };
        let mut not_now = first;
        if first.is_known() {
            // The exact place matters only where the last one would come too late.
            not_now.wait = self.after(first, self.waiting.len());
            if not_now.wait > patience {
                not_now.wait = self.after(first, self.waiting.ahead(lane));
            }
        }
        if patience.is_zero() || first.is_known() && not_now.wait > patience {
            return (due, Asked::Refused(not_now));
        }
        match self.waiting.push(lane, call()) {
            Ok(ticket) => (due, Asked::Waits(ticket)),
            Err(_) => (due, Asked::Refused(NotNow { held: Held::Queue, ..not_now })),
        }
    }

    /// What a call is told whose patience is over.
    pub(super) fn estimate(&mut self, lane: usize, now: Instant) -> (Due<T>, NotNow) {
        let (due, held) = self.advance(now);
        let first = held.map_or_else(|| self.pass(now), Err);
        let not_now = match first {
            // It could pass just now; it is for the next one.
            Ok(_) => {
                self.release(false);
                NotNow { wait: Duration::ZERO, held: Held::Rate }
            }
            Err(first) if first.is_known() => NotNow { wait: self.after(first, self.waiting.ahead(lane)), ..first },
            Err(first) => first,
        };
        (due, not_now)
    }

    /// Lets pass who may, in fair turns. What holds the next one up, if one waits.
    pub(super) fn advance(&mut self, now: Instant) -> (Due<T>, Option<NotNow>) {
        let mut due = Vec::new();
        while !self.waiting.is_empty() {
            match self.pass(now) {
                Ok(seen) => due.extend(self.waiting.pop().map(|call| (call, seen))),
                Err(held) => return (due, Some(held)),
            }
        }
        (due, None)
    }

    /// When to look again: time alone lets the next one pass then. `None`: nobody waits, or for a place.
    pub(super) fn next(held: Option<NotNow>, now: Instant) -> Option<Instant> {
        held.filter(|held| held.is_known()).map(|held| now + held.wait)
    }

    /// Takes out one who does not want to wait any longer. `None`: its turn has come.
    pub(super) fn remove(&mut self, lane: usize, ticket: u64) -> Option<T> {
        self.waiting.remove(lane, ticket)
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A call that passed is over. One of which nothing left is charged nothing.
    pub(super) fn release(&mut self, has_left: bool) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(pace) = self.pace.as_mut().filter(|_| !has_left) {
            pace.turns.give_back();
        }
    }

    /// A request of a call that passed leaves now, perhaps not for the first time; how long it has to wait for that.
    ///
    /// # Errors
    /// [`NotNow`] when that is longer than `longest`, and nothing is charged.
    pub(super) fn leave(&mut self, again: bool, longest: Duration, now: Instant) -> Result<Duration, NotNow> {
        let pause = self.pause.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if pause > longest {
            return Err(NotNow { wait: pause, held: Held::Pause });
        }
        let Some(pace) = &mut self.pace else { return Ok(pause) };
        let wait = pace.exits.take(now, longest).map_err(|wait| NotNow { wait, held: Held::Rate })?;
        if again {
            pace.turns.owe();
        }
        Ok(wait.max(pause))
    }

    /// The platform said no to a request that left at `left`: the rate falls, and nothing passes before `retry_after` is
    /// over. The new part of the full rate, if it fell.
    pub(super) fn refused(&mut self, left: Instant, retry_after: Option<Duration>, now: Instant) -> Option<f64> {
        let pace = self.pace.as_mut()?;
        if let Some(wait) = retry_after {
            let until = now + wait.min(LONGEST_PAUSE);
            self.pause = Some(self.pause.map_or(until, |pause| pause.max(until)));
        }
        let part = pace.adapt.refused(left, now);
        part.inspect(|part| pace.set(*part))
    }

    /// What time has brought back. The new part of the full rate, if it rose.
    pub(super) fn recover(&mut self, now: Instant) -> Option<f64> {
        let pace = self.pace.as_mut()?;
        let part = pace.adapt.recover(now);
        part.inspect(|part| pace.set(*part))
    }

    /// One call passes, if one may, whoever waits.
    fn pass(&mut self, now: Instant) -> Result<Seen, NotNow> {
        if self.most.is_some_and(|most| self.inside >= most) {
            return Err(NotNow { wait: UNKNOWN_WAIT, held: Held::Concurrency });
        }
        if let Some(until) = self.pause {
            if until > now {
                return Err(NotNow { wait: until - now, held: Held::Pause });
            }
            self.pause = None;
        }
        let mut seen = Seen::default();
        if let Some(pace) = &mut self.pace {
            pace.turns.try_take(now).map_err(|wait| NotNow { wait, held: Held::Rate })?;
            seen = Seen { left: pace.turns.left(), interval: pace.turns.interval() };
        }
        self.inside = self.inside.saturating_add(1);
        Ok(seen)
    }

    /// The wait of a call with so many ahead of it, the first of which waits for `first`.
    fn after(&self, first: NotNow, ahead: usize) -> Duration {
        let interval = self.pace.as_ref().map_or(Duration::ZERO, |pace| pace.turns.interval());
        first.wait.saturating_add(interval.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn quota(calls: u32, burst: u32) -> Option<Quota> {
        Some(Quota { rate: Frequency { calls, per: SECOND }, burst })
    }

    /// Waits are told a ten-thousandth too long at most, and up to the slack shorter.
    #[track_caller]
    fn check_wait(asked: Asked, expected: u64) {
        let Asked::Refused(NotNow { wait, .. }) = asked else { panic!("{asked:?}") };
        let near = wait + millis(11) >= millis(expected) && wait <= millis(expected + 1);
        assert!(near, "{wait:?} is not {expected} ms");
    }

    #[test]
    fn a_call_is_refused_at_once_when_it_cannot_be_served_in_time_with_the_exact_wait() {
        let now = clock::now();
        let mut turns = Turns::new(quota(10, 2), None, None, Fair::new([1, 1], 100), now);
        let ask = |turns: &mut Turns<u32>, lane, patience| turns.ask(lane, millis(patience), now, || 0).1;
        assert!(matches!(ask(&mut turns, 0, 0), Asked::Passed(Seen { left: 1, .. })));
        assert!(matches!(ask(&mut turns, 0, 0), Asked::Passed(Seen { left: 0, .. })));
        check_wait(ask(&mut turns, 0, 0), 100);
        check_wait(ask(&mut turns, 0, 80), 100);
        for _ in 0..3 {
            assert!(matches!(ask(&mut turns, 0, 350), Asked::Waits(_)));
        }
        check_wait(ask(&mut turns, 0, 350), 400);
        // Another program comes second, because its share is as large.
        check_wait(ask(&mut turns, 1, 80), 100 + 100);
        assert!(matches!(ask(&mut turns, 1, 210), Asked::Waits(_)));
        check_wait(ask(&mut turns, 1, 0), 100 + 300);
        check_wait(ask(&mut turns, 0, 0), 100 + 400);
    }

    #[test]
    fn a_call_whose_patience_is_over_is_told_how_long_the_next_one_would_wait() {
        let now = clock::now();
        let mut turns = Turns::new(quota(10, 1), None, Some(1), Fair::new([1, 1], 100), now);
        assert!(matches!(turns.ask(0, SECOND, now, || 1).1, Asked::Passed(_)));
        assert!(matches!(turns.ask(0, SECOND, now, || 2).1, Asked::Waits(_)));
        assert_eq!(turns.estimate(0, now).1, NotNow { wait: UNKNOWN_WAIT, held: Held::Concurrency });
        turns.release(true);
        check_wait(Asked::Refused(turns.estimate(0, now).1), 100 + 100);
        let (due, told) = turns.estimate(1, now + SECOND);
        assert_eq!((due.len(), told.held), (1, Held::Concurrency), "who waited goes first");
        turns.release(true);
        assert_eq!(turns.estimate(1, now + 2 * SECOND), (vec![], NotNow { wait: Duration::ZERO, held: Held::Rate }));
        assert!(matches!(turns.ask(1, Duration::ZERO, now + 2 * SECOND, || 3).1, Asked::Passed(_)));
    }

    #[test]
    fn those_who_wait_pass_at_the_rate_by_share() {
        let start = clock::now();
        let mut turns = Turns::new(quota(100, 1), None, None, Fair::new([1, 1, 2], 1000), start);
        turns.ask(0, SECOND, start, || 9);
        let mut passed = [0_u32; 3];
        for at in 0..4_000 {
            let now = start + millis(at);
            for lane in 0..3 {
                // Five times as much as there is, each asking for at most a second.
                if at % 6 == 0 {
                    turns.ask(lane, SECOND, now, || lane);
                }
            }
            for (lane, _) in turns.advance(now).0 {
                passed[lane] += 1;
            }
        }
        let all: u32 = passed.iter().sum();
        assert!((398..=401).contains(&all), "{passed:?}");
        for (passed, share) in passed.into_iter().zip([100, 100, 200]) {
            assert!((share * 95 / 100..=share * 105 / 100).contains(&passed), "{passed} of {share}");
        }
        assert!(turns.waiting.len() <= 101, "nobody waits who cannot be served in time");
    }

    #[test]
    fn a_place_is_waited_for_until_the_deadline_and_goes_to_the_next_in_turn() {
        let now = clock::now();
        let mut turns = Turns::new(None, None, Some(1), Fair::new([1], 2), now);
        assert!(matches!(turns.ask(0, SECOND, now, || 1).1, Asked::Passed(_)));
        let unknown = NotNow { wait: UNKNOWN_WAIT, held: Held::Concurrency };
        assert_eq!(turns.ask(0, Duration::ZERO, now, || 2).1, Asked::Refused(unknown));
        let Asked::Waits(first) = turns.ask(0, SECOND, now, || 3).1 else { panic!("it waits") };
        assert!(matches!(turns.ask(0, SECOND, now, || 4).1, Asked::Waits(_)));
        assert_eq!(turns.ask(0, SECOND, now, || 5).1, Asked::Refused(NotNow { held: Held::Queue, ..unknown }));
        assert_eq!(Turns::<u32>::next(turns.advance(now).1, now), None, "time alone brings nothing");
        assert_eq!(turns.remove(0, first), Some(3));
        turns.release(true);
        assert_eq!(turns.advance(now).0, [(4, Seen::default())]);
        assert!(turns.is_idle());
    }

    #[test]
    fn a_no_lowers_the_rate_and_the_pause_is_kept_within_a_minute() {
        let start = clock::now();
        let mut turns =
            Turns::new(quota(10, 1), Some(Frequency { calls: 1, per: SECOND }), None, Fair::new([1], 9), start);
        assert_eq!(turns.refused(start, Some(SECOND * 3), start), Some(0.5));
        let told = turns.ask(0, Duration::ZERO, start, || 0).1;
        assert_eq!(told, Asked::Refused(NotNow { wait: SECOND * 3, held: Held::Pause }));
        assert_eq!(turns.leave(false, SECOND, start), Err(NotNow { wait: SECOND * 3, held: Held::Pause }));
        assert_eq!(turns.leave(false, SECOND * 5, start), Ok(SECOND * 3), "what has passed leaves after it");
        assert_eq!(turns.refused(start, Some(Duration::MAX), start), None);
        let told = turns.ask(0, Duration::ZERO, start, || 0).1;
        assert_eq!(told, Asked::Refused(NotNow { wait: LONGEST_PAUSE, held: Held::Pause }));
        let after = start + LONGEST_PAUSE;
        assert!(matches!(turns.ask(0, Duration::ZERO, after, || 0).1, Asked::Passed(_)));
        check_wait(turns.ask(0, Duration::ZERO, after, || 0).1, 200);
        assert!(turns.recover(after).is_some_and(|part| part == 1.0));
        assert_eq!(turns.recover(after), None);
    }

    #[test]
    fn what_leaves_again_is_charged_again_and_what_never_left_is_not() {
        let now = clock::now();
        let mut turns = Turns::new(quota(10, 3), None, None, Fair::new([1], 9), now);
        let passes = |turns: &mut Turns<u32>| matches!(turns.ask(0, Duration::ZERO, now, || 0).1, Asked::Passed(_));
        assert!(passes(&mut turns));
        assert_eq!(turns.leave(false, SECOND, now), Ok(Duration::ZERO));
        assert_eq!(turns.leave(true, SECOND, now), Ok(Duration::ZERO));
        assert!(passes(&mut turns), "the third of three");
        assert!(!passes(&mut turns));
        turns.release(false);
        assert!(passes(&mut turns), "it was given back");
        assert!(!passes(&mut turns));
        assert_eq!(turns.leave(false, SECOND, now), Ok(Duration::ZERO));
        // Whatever passed: more than the rate does not leave at once.
        let wait = turns.leave(true, SECOND, now).expect("within a second");
        assert!(wait > millis(80) && wait < millis(101), "{wait:?}");
    }

    #[test]
    fn other_rules_refill_nothing_and_lose_nobody() {
        let now = clock::now();
        let mut turns = Turns::new(quota(10, 2), None, Some(2), Fair::new([1], 9), now);
        let ask = |turns: &mut Turns<u32>, call| turns.ask(0, SECOND, now, || call).1;
        assert!(matches!(ask(&mut turns, 1), Asked::Passed(_)));
        assert!(matches!(ask(&mut turns, 2), Asked::Passed(_)));
        assert!(matches!(ask(&mut turns, 3), Asked::Waits(_)));
        // The same again, another rate, and then fewer at a time than are in flight.
        for (quota, concurrency) in [(quota(10, 2), 2), (quota(20, 2), 3), (quota(1000, 2), 1)] {
            turns.adopt(quota, None, Some(concurrency), &[1, 1], now);
            assert_eq!(turns.advance(now).0, [], "{quota:?}");
        }
        turns.release(true);
        let later = now + millis(100);
        assert_eq!(turns.advance(later).1.map(|held| held.held), Some(Held::Concurrency), "one is still in flight");
        turns.release(true);
        assert_eq!(turns.advance(later).0.len(), 1, "who waited passes");
        assert_eq!(turns.adopt(None, None, None, &[1], later), None);
        assert!(
            matches!(turns.ask(1, Duration::ZERO, later, || 4).1, Asked::Passed(_)),
            "no limit, and the lane is there"
        );
    }

    #[test]
    fn a_rate_that_fell_stays_low_under_other_rules() {
        let now = clock::now();
        let least = |calls| Some(Frequency { calls, per: SECOND });
        let mut turns: Turns<u32> = Turns::new(quota(10, 1), least(1), None, Fair::new([1], 9), now);
        assert_eq!(turns.refused(now, None, now), Some(0.5));
        assert_eq!(turns.adopt(quota(20, 1), least(2), None, &[1], now), Some(0.5));
        assert_eq!(turns.adopt(quota(20, 1), least(16), None, &[1], now), Some(0.8));
        assert_eq!(turns.adopt(quota(20, 1), None, None, &[1], now), Some(1.0), "fixed");
    }
}
