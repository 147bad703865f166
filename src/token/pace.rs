//! How often the platform may be asked: a burst and a pace for all logins, a back-off after failures.
//!
//! The pace binds everybody. The back-off binds the upkeep only, unless the platform itself named the time.
//! Neither sleeps.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::{self, Instant};
use crate::config::TokenRule;

/// First wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Longest wait after a failure, also when `Retry-After` says more: a platform that is back is found within it.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Burst and pace of logins (GCRA).
pub(super) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Nanos>>,
}

impl Pace {
    pub(super) fn new(rule: &TokenRule) -> Self {
        // Governor counts in u64 nanoseconds, 584 years: stay so far below that nothing overflows.
        const DECADE: u64 = 315_360_000_000_000_000;
        let every = u64::try_from(rule.every.as_nanos()).unwrap_or(DECADE).clamp(1, DECADE);
        let burst = u64::from(rule.burst).clamp(1, DECADE / every);
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(every)).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        Self { limiter: RateLimiter::direct_with_clock(quota.allow_burst(burst), Monotonic { start: clock::now() }) }
    }

    /// Another burst and pace, of which as many logins are used up as of this one. This one is done with.
    pub(super) fn moved(&self, rule: &TokenRule, to: &TokenRule) -> Self {
        // A rule admits at most a thousand at once.
        let left = (0..rule.burst).take_while(|_| self.check().is_ok()).count();
        let used = rule.burst.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX));
        let moved = Self::new(to);
        let _ = (0..used.min(to.burst)).all(|_| moved.check().is_ok());
        moved
    }

    /// Admits one login, or says how long it has to wait.
    pub(super) fn check(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

/// Our clock as governor reads it: nanoseconds since the pace began.
struct Monotonic {
    start: Instant,
}

impl Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(u64::try_from(clock::now().duration_since(self.start).as_nanos()).unwrap_or(u64::MAX / 2))
    }
}

/// Failures in a row.
#[derive(Default)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// Counts one more failure and says how long to wait: what the platform asked for, within limits, or 2 s doubling
    /// to 60 s, up to a quarter less so that replicas do not come back together.
    pub(super) fn fail(&mut self, retry_after: Option<Duration>) -> Duration {
        let doublings = self.failures.min(5);
        self.failures = self.failures.saturating_add(1);
        match retry_after {
            Some(asked) => asked.clamp(FIRST_WAIT, LONGEST_WAIT),
            None => (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT).mul_f64(1.0 - 0.25 * chance()),
        }
    }
}

/// When a token of this life is refreshed: at 80 % of it, give or take a twentieth of that, so that replicas
/// which started together do not ask together.
pub(super) fn refresh_after(life: Duration) -> Duration {
    life.mul_f64(0.8 * (0.95 + 0.1 * chance()))
}

/// A random number from 0 up to 1. The middle when the system has none: jitter is a courtesy, not a duty.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(burst: u32, every: Duration) -> TokenRule {
        TokenRule { life: Duration::from_secs(86_400), burst, every }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_pace_holds() {
        let pace = Pace::new(&rule(3, Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!([(); 4].map(|()| pace.check()), [Ok(()), Ok(()), Ok(()), Err(Duration::from_secs(10))]);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(pace.check(), Err(Duration::from_secs(6)), "a refusal costs nothing");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!([(); 2].map(|()| pace.check()), [Ok(()), Err(Duration::from_secs(10))]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_used_up_stays_so_under_another_rule() {
        for (burst, expected) in [(3, 1), (5, 3), (2, 0), (1, 0)] {
            let (former, rule) = (rule(3, Duration::from_secs(10)), rule(burst, Duration::from_secs(20)));
            let pace = Pace::new(&former);
            assert!(pace.check().is_ok() && pace.check().is_ok());
            let moved = pace.moved(&former, &rule);
            assert_eq!((0..9).take_while(|_| moved.check().is_ok()).count(), expected, "a burst of {burst}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_rule_overflows() {
        for (burst, every) in [(0, Duration::ZERO), (u32::MAX, Duration::MAX), (u32::MAX, Duration::from_nanos(1))] {
            let pace = Pace::new(&rule(burst, every));
            assert_eq!(pace.check(), Ok(()), "{burst} {every:?}");
            let _ = pace.check();
        }
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut back_off = BackOff::default();
        for step in [2, 4, 8, 16, 32, 60, 60, 60] {
            let (wait, step) = (back_off.fail(None), Duration::from_secs(step));
            assert!(wait > step.mul_f64(0.749) && wait <= step, "{wait:?} of {step:?}");
        }
        back_off.failures = u32::MAX;
        assert!(back_off.fail(None) <= LONGEST_WAIT);
    }

    #[test]
    fn a_retry_after_is_kept_within_limits() {
        for (asked, expected) in [(0, 2), (1, 2), (17, 17), (60, 60), (61, 60), (u64::MAX, 60)] {
            let wait = BackOff::default().fail(Some(Duration::from_secs(asked)));
            assert_eq!(wait, Duration::from_secs(expected), "{asked}");
        }
    }

    #[test]
    fn waits_and_refreshes_differ_from_each_other() {
        let waits: Vec<_> = (0..20).map(|_| BackOff::default().fail(None)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        let life = Duration::from_secs(1000);
        let refreshes: Vec<_> = (0..200).map(|_| refresh_after(life)).collect();
        assert!(refreshes.iter().all(|at| (760..=840).contains(&at.as_secs())));
        assert!(refreshes.iter().any(|at| at.as_secs() < 790) && refreshes.iter().any(|at| at.as_secs() > 810));
    }
}
