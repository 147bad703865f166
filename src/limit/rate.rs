//! A rate with a burst that can be lowered and raised while it is used (GCRA).
//!
//! A quota of governor is fixed, so it is made of cells much finer than a call, and a call at a lower rate costs more of
//! them. It is told the time, never sleeps, and knows nothing of who calls.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::spent::Level;
use crate::clock::Instant;
use crate::config::Frequency;

/// Cells of one call at the full rate, where its interval has that many nanoseconds: the rate is exact to a part in
/// so many.
const CELLS: u64 = 10_000;

/// What a waiting call may leave early, so that a timer that fires late does not lower the rate: up to this, and
/// never more than half a call where that is longer than [`LEAST_SLACK`].
const MOST_SLACK: Duration = Duration::from_millis(10);

/// A timer is late by a millisecond or two. At any rate this is under half a percent of what one second admits.
const LEAST_SLACK: Duration = Duration::from_millis(4);

/// A rate and a burst, and how much of them is used.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Told, StateInformationMiddleware>,
    start: Instant,
    /// Nanoseconds in which one cell comes back.
    period: u64,
    /// Most cells that can be there.
    capacity: u32,
    burst: u32,
    /// Cells of a call at the full rate, and at the present one.
    full: u32,
    cells: u32,
    /// Cells that were used and are not paid yet; below zero, cells that were paid and not used.
    owed: i64,
    /// Calls that could have followed the last one at once.
    left: u32,
}

impl Rate {
    /// Full, with its whole burst.
    pub(super) fn new(full: Frequency, burst: u32, now: Instant) -> Self {
        let interval = nanos(full.interval()).max(1);
        let period = (interval / CELLS).max(1);
        let cells = interval.div_ceil(period);
        let slack = (interval / 2).clamp(nanos(LEAST_SLACK), nanos(MOST_SLACK)) / period;
        let burst = burst.max(1);
        let capacity = u64::from(burst) * cells + slack;
        let narrow = |cells: u64| u32::try_from(cells).unwrap_or(u32::MAX / 2);
        let (cells, capacity) = (narrow(cells), narrow(capacity));
        let quota = Quota::with_period(Duration::from_nanos(period)).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let quota = quota.allow_burst(NonZeroU32::new(capacity).unwrap_or(NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(quota, Told::default()).with_middleware();
        Self { limiter, start: now, period, capacity, burst, full: cells, cells, owed: 0, left: burst }
    }

    /// Another rate and burst, of which as many calls are used up as of this one, at most its whole burst; and as many are
    /// owed beyond it.
    pub(super) fn moved(&mut self, full: Frequency, burst: u32, now: Instant) -> Self {
        let mut moved = Self::new(full, burst, now);
        let level = self.level(now);
        moved.charge(level, now);
        moved.left = self.left.min(moved.burst);
        moved
    }

    /// How much is used up now.
    pub(super) fn level(&mut self, now: Instant) -> Level {
        let used = self.used(now);
        // A burst that was allowed is no debt: only what went out ahead of its time is one. Else who used up a large burst
        // would wait for it at the new rate, for minutes where that is a low one.
        let within = used.min(f64::from(self.capacity) / f64::from(self.full));
        Level { within, beyond: used - within }
    }

    /// As much was used up elsewhere, and counts here.
    pub(super) fn charge(&mut self, level: Level, now: Instant) {
        // What came back before counts for nothing: the bucket was full.
        self.limiter.clock().tell(Nanos::new(nanos(now.saturating_duration_since(self.start))));
        let cells = |calls: f64| (calls.max(0.0) * f64::from(self.full)).ceil();
        let cells = cells(level.within.min(f64::from(self.burst))) + cells(level.beyond);
        // Paid as time goes on, like everything that is owed.
        self.owed += cells.min(f64::from(u32::MAX)) as i64;
    }

    /// How many calls at the full rate are used up now, those that are owed included.
    fn used(&mut self, now: Instant) -> f64 {
        let now = Nanos::new(nanos(now.saturating_duration_since(self.start)));
        let capacity = f64::from(self.capacity);
        let cells = match self.settle(now) {
            // When all is paid, the bucket is empty.
            Err(wait) => capacity + nanos(wait) as f64 / self.period as f64,
            Ok(()) => {
                self.limiter.clock().tell(now);
                let there = match self.limiter.check_n(NonZeroU32::MIN) {
                    Ok(Ok(state)) => f64::from(state.remaining_burst_capacity()) + 1.0,
                    _ => 0.0,
                };
                // What was given back is not used.
                capacity - there + self.owed.min(0) as f64
            }
        };
        cells.max(0.0) / f64::from(self.full)
    }

    /// Takes a call, or says how long it is until one conforms.
    ///
    /// # Errors
    /// The wait, exact as long as nothing else is taken.
    pub(super) fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        // More than the bucket holds can never be there at once: the rest is owed, and the next call waits for it.
        let first = i64::from(self.cells.min(self.capacity));
        let now = Nanos::new(nanos(now.saturating_duration_since(self.start)));
        if let Err(wait) = self.settle(now) {
            return Err(
                wait + Duration::from_nanos(u64::from(self.cells.min(self.capacity)).saturating_mul(self.period))
            );
        }
        self.limiter.clock().tell(now);
        self.check((first + self.owed).max(0))?;
        // What was given back before, or what is left to pay.
        self.owed = (self.owed + first).min(0) + i64::from(self.cells) - first;
        Ok(())
    }

    /// Takes a call in any case and says how long it has to wait, unless that is longer than `longest`.
    ///
    /// # Errors
    /// The wait, and nothing is taken.
    pub(super) fn take(&mut self, now: Instant, longest: Duration) -> Result<Duration, Duration> {
        let wait = self.try_take(now).err().unwrap_or_default();
        if wait > longest {
            return Err(wait);
        }
        if !wait.is_zero() {
            self.owed += i64::from(self.cells);
        }
        Ok(wait)
    }

    /// A call was taken elsewhere and counts here too.
    pub(super) fn owe(&mut self) {
        self.owed += i64::from(self.cells);
    }

    /// A call was taken and did not leave. What is given back is never more than a burst.
    pub(super) fn give_back(&mut self) {
        self.owed = (self.owed - i64::from(self.cells)).max(-i64::from(self.capacity));
    }

    /// From now on a call costs this part of the full rate, above 0 and at most 1.
    pub(super) fn set(&mut self, part: f64) {
        let cells = f64::from(self.full) / part.clamp(1e-6, 1.0);
        self.cells = if cells >= f64::from(u32::MAX / 2) { u32::MAX / 2 } else { cells.ceil() as u32 };
    }

    /// The time between two calls, at the present rate.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(u64::from(self.cells).saturating_mul(self.period))
    }

    /// How many calls could have followed the last one that was taken, at once.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Pays what is owed, at the times at which the cells for it came, so that a rest that nobody asked in counts.
    ///
    /// Where that is not over yet: the time that is left of it.
    fn settle(&mut self, now: Nanos) -> Result<(), Duration> {
        while self.owed > 0 {
            let part = self.owed.min(i64::from(self.capacity));
            if let Err(wait) = self.check(part) {
                let then = Nanos::new(self.limiter.clock().now().as_u64().saturating_add(nanos(wait)));
                if then > now {
                    let rest = u64::try_from(self.owed - part).unwrap_or(0).saturating_mul(self.period);
                    return Err(Duration::from_nanos(then.as_u64() - now.as_u64()) + Duration::from_nanos(rest));
                }
                self.limiter.clock().tell(then);
                continue;
            }
            self.owed -= part;
        }
        Ok(())
    }

    /// Takes so many cells at the time that was told last, no more than the bucket holds.
    fn check(&mut self, cells: i64) -> Result<(), Duration> {
        let cells = u32::try_from(cells).unwrap_or(u32::MAX).min(self.capacity);
        let Some(cells) = NonZeroU32::new(cells) else { return Ok(()) };
        match self.limiter.check_n(cells) {
            Ok(Ok(state)) => {
                self.left = (state.remaining_burst_capacity() / self.cells.max(1)).min(self.burst);
                Ok(())
            }
            Ok(Err(until)) => Err(until.wait_time_from(self.limiter.clock().now())),
            // They are no more than the bucket holds; if they were, letting the call go would be the smaller harm.
            Err(_) => Ok(()),
        }
    }
}

/// The time as it was last told, in nanoseconds since the rate began.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl Told {
    fn tell(&self, now: Nanos) {
        self.0.store(now.as_u64(), Ordering::Relaxed);
    }
}

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

impl Clone for Told {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

fn nanos(duration: Duration) -> u64 {
    // Half of the range is 292 years; sums of two stay within it.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn per_second(calls: u32) -> Frequency {
        Frequency { calls, per: Duration::from_secs(1) }
    }

    /// How many calls pass in each of these moments, in milliseconds, when everybody asks.
    fn passed(rate: &mut Rate, start: Instant, moments: &[u64]) -> Vec<u32> {
        let at = |millis| start + Duration::from_millis(millis);
        moments
            .iter()
            .map(|millis| {
                std::iter::repeat_with(|| rate.try_take(at(*millis))).take_while(Result::is_ok).count() as u32
            })
            .collect()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(50), 10, start);
        assert_eq!(passed(&mut rate, start, &[0, 20, 40, 100, 5_000, 5_010]), [10, 1, 1, 3, 10, 1]);
    }

    #[test]
    fn no_window_admits_more_than_the_rate_and_the_burst() {
        for (calls, per, burst) in
            [(1, 1, 1), (7, 1, 1), (50, 1, 100), (90, 60, 3), (333, 1, 2), (7_000, 1, 1), (100_000, 1, 50)]
        {
            let full = Frequency { calls, per: Duration::from_secs(per) };
            let start = clock::now();
            let mut rate = Rate::new(full, burst, start);
            let moments: Vec<_> = (0..20_000).collect();
            let passed = passed(&mut rate, start, &moments);
            let windows = passed.windows(1_000).map(|window| window.iter().sum::<u32>());
            let most = (f64::from(calls) / per as f64 + f64::from(burst)) * 1.005;
            let seen = windows.max().expect("windows");
            assert!(f64::from(seen) <= most.max(f64::from(burst + 1)), "{full:?}: {seen} of {most}");
            let all: u32 = passed.iter().sum();
            let expected = f64::from(calls) * 20.0 / per as f64 + f64::from(burst);
            // A millisecond between two looks, and the cells are rounded up.
            assert!(f64::from(all) >= expected * 0.99 - 2.0, "{full:?}: {all} of {expected}");
        }
    }

    #[test]
    fn the_wait_that_is_told_is_exact() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(8), 1, start);
        assert_eq!(rate.try_take(start), Ok(()));
        let wait = rate.try_take(start).expect_err("used up");
        assert!(wait > Duration::from_millis(114) && wait <= Duration::from_millis(125), "{wait:?}");
        assert!(rate.try_take(start + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(rate.try_take(start + wait), Ok(()));
    }

    #[test]
    fn a_lower_rate_lets_fewer_pass_and_can_be_raised_again() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(100), 1, start);
        let count = |rate: &mut Rate, from: u64| {
            let moments: Vec<_> = (from..from + 10_000).collect();
            passed(rate, start, &moments).iter().sum::<u32>()
        };
        assert!((1000..=1002).contains(&count(&mut rate, 0)));
        for (round, (part, expected)) in [(0.5, 500), (0.1, 100), (0.01, 10), (1.0, 1000)].into_iter().enumerate() {
            rate.set(part);
            // What a dear call still owes is paid by then.
            let seen = count(&mut rate, (round as u64 + 1) * 20_000);
            assert!((expected..=expected + 2).contains(&seen), "{part}: {seen}");
        }
    }

    #[test]
    fn what_leaves_in_any_case_is_told_how_long_to_wait() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(10), 1, start);
        let second = Duration::from_secs(1);
        assert_eq!(rate.take(start, second), Ok(Duration::ZERO));
        for millis in [90_u64, 190, 290, 390, 490, 590, 690, 790, 890, 990] {
            let wait = rate.take(start, second).expect("within a second");
            assert_eq!(wait.as_millis() as u64, millis);
        }
        assert!(rate.take(start, second).is_err_and(|wait| wait.as_millis() == 1090));
        assert!(rate.take(start, second).is_err_and(|wait| wait.as_millis() == 1090), "a refusal costs nothing");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_what_is_owed_is_paid() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(10), 2, start);
        assert_eq!(passed(&mut rate, start, &[0]), [2]);
        rate.give_back();
        assert_eq!(passed(&mut rate, start, &[0, 100]), [1, 1]);
        rate.owe();
        assert_eq!(passed(&mut rate, start, &[200, 300]), [0, 1]);
        (0..1000).for_each(|_| rate.give_back());
        assert_eq!(passed(&mut rate, start, &[300]), [2], "never more than a burst");
    }

    #[test]
    fn it_tells_how_many_could_follow() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(10), 3, start);
        let left = std::iter::repeat_with(|| rate.try_take(start).map(|()| rate.left())).take(4).collect::<Vec<_>>();
        assert!(matches!(left[..], [Ok(2), Ok(1), Ok(0), Err(_)]), "{left:?}");
    }

    #[test]
    fn what_is_used_up_stays_so_when_the_rate_moves() {
        let start = clock::now();
        let at = |millis| start + Duration::from_millis(millis);
        for (from, to, expected) in [
            // As many calls are used, whatever a call is worth.
            ((10, 10), (10, 10), 4),
            ((10, 10), (20, 10), 4),
            ((10, 10), (10, 20), 14),
            ((10, 10), (10, 7), 1),
            ((10, 10), (10, 6), 0),
        ] {
            let mut rate = Rate::new(per_second(from.0), from.1, start);
            for _ in 0..6 {
                assert_eq!(rate.try_take(start), Ok(()));
            }
            let mut moved = rate.moved(per_second(to.0), to.1, start);
            assert_eq!(passed(&mut moved, start, &[0]), [expected], "{from:?} {to:?}");
        }
        // More is used than there is room for: the new burst is used up, and no more than that.
        let mut rate = Rate::new(per_second(10), 10, start);
        assert_eq!(passed(&mut rate, start, &[0]), [10]);
        let mut moved = rate.moved(per_second(10), 2, start);
        assert_eq!(passed(&mut moved, start, &[0, 80, 95, 195]), [0, 0, 1, 1]);
        let mut rate = Rate::new(per_second(50), 200, start);
        assert_eq!(passed(&mut rate, start, &[0]), [200]);
        let mut moved = rate.moved(Frequency { calls: 60, per: Duration::from_secs(60) }, 60, start);
        assert_eq!(passed(&mut moved, start, &[0, 980, 1_000, 2_000]), [0, 0, 1, 1]);
        // What is owed moves, too, and what was given back is not used.
        let mut rate = Rate::new(per_second(10), 1, start);
        assert!(rate.take(start, Duration::MAX).is_ok() && rate.take(start, Duration::MAX).is_ok());
        let mut moved = rate.moved(per_second(20), 1, start);
        assert_eq!(passed(&mut moved, start, &[0, 80, 95, 150]), [0, 0, 1, 1]);
        moved.give_back();
        assert_eq!(passed(&mut moved.moved(per_second(20), 1, at(150)), start, &[150]), [1]);
    }

    #[test]
    fn a_rate_that_moves_again_and_again_is_not_refilled() {
        let start = clock::now();
        let mut rate = Rate::new(per_second(10), 5, start);
        let mut all = 0;
        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            all += std::iter::repeat_with(|| rate.try_take(now)).take_while(Result::is_ok).count();
            if millis % 100 == 50 {
                rate = rate.moved(per_second(if millis % 200 == 50 { 11 } else { 10 }), 5, now);
            }
        }
        assert!((100..=115).contains(&all), "{all}");
    }

    #[test]
    fn no_rule_overflows() {
        let start = clock::now();
        for (calls, per, burst) in [(1, 3600, 100_000), (100_000, 1, 100_000), (u32::MAX, 1, u32::MAX), (0, 1, 0)] {
            let mut rate = Rate::new(Frequency { calls, per: Duration::from_secs(per) }, burst, start);
            assert_eq!(rate.try_take(start), Ok(()));
            rate.set(0.0);
            let _ = (rate.try_take(start), rate.take(start, Duration::MAX), rate.take(start, Duration::ZERO));
            let _ = rate.try_take(start + Duration::from_secs(1 << 30));
        }
    }
}
