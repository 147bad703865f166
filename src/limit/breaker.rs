//! The circuit breaker of an account: after so many failures in a row nothing is sent for a while, then one call tries.
//!
//! A failure is a connection that is not made or an answer that does not come in time; the caller says which. While all is well a call costs it
//! one look at a flag. It never sends anything itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::config::BreakerRule;
use crate::metrics::BreakerSeries;

/// What a call is told to wait while another one tries: nobody knows how long that takes.
const WHILE_TRYING: Duration = Duration::from_secs(1);

/// Whether calls pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// They do.
    Closed,
    /// None does.
    Open,
    /// One does, and decides.
    Probing,
}

/// The states and their changes, without a lock.
#[derive(Debug)]
struct Circuit {
    rule: BreakerRule,
    state: BreakerState,
    /// Failures in a row.
    failures: u32,
    /// When it opened the last time, or a probe failed.
    opened: Option<Instant>,
    /// When the last probe began.
    probed: Option<Instant>,
}

impl Circuit {
    fn new(rule: BreakerRule) -> Self {
        Self { rule, state: BreakerState::Closed, failures: 0, opened: None, probed: None }
    }

    /// Whether a call may pass, and whether it is the one that tries.
    fn pass(&mut self, now: Instant) -> Result<bool, Duration> {
        self.check(now)?;
        let probes = self.state != BreakerState::Closed;
        if probes {
            (self.state, self.probed) = (BreakerState::Probing, Some(now));
        }
        Ok(probes)
    }

    /// Whether a call would pass. A probe has a pause to find out; after it one more call tries, because an answer may take
    /// minutes, and a body that streams as long as its program likes.
    fn check(&self, now: Instant) -> Result<(), Duration> {
        let since = match self.state {
            BreakerState::Closed => None,
            BreakerState::Open => self.opened,
            BreakerState::Probing => self.probed,
        };
        let left = since.map_or(Duration::ZERO, |since| (since + self.rule.open).saturating_duration_since(now));
        match self.state {
            _ if left.is_zero() => Ok(()),
            BreakerState::Probing => Err(WHILE_TRYING),
            BreakerState::Closed | BreakerState::Open => Err(left),
        }
    }

    /// The platform answered. Calls that passed before it opened close it too: they prove as much as a probe.
    fn succeeded(&mut self) {
        *self = Self::new(self.rule);
    }

    /// It could not be reached, or did not answer in time.
    fn failed(&mut self, probe: bool, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.rule.failures,
            BreakerState::Probing => probe,
            // What passed before it opened ends late, and says nothing new.
            BreakerState::Open => false,
        };
        if opens {
            self.state = BreakerState::Open;
            self.opened = Some(now);
        }
    }

    /// The call that tried ended without finding out: the next one tries.
    fn abandoned(&mut self) {
        if self.state == BreakerState::Probing {
            self.state = BreakerState::Open;
        }
    }
}

/// The breaker of one account, shared by its calls.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Whether the circuit has anything to remember. Calls that find it unset need not lock.
    troubled: AtomicBool,
    circuit: Mutex<Circuit>,
    series: BreakerSeries,
}

impl Breaker {
    /// Closed.
    pub(super) fn new(rule: BreakerRule, series: BreakerSeries) -> Self {
        series.show(BreakerState::Closed as usize);
        Self { troubled: AtomicBool::new(false), circuit: Mutex::new(Circuit::new(rule)), series }
    }

    /// Another rule from now on; what was found out stays.
    pub(super) fn adopt(&self, rule: BreakerRule) {
        self.change(|circuit| circuit.rule = rule);
    }

    /// Whether a call may wait for its turn. What it is then told is [`Breaker::pass`]'s to say.
    ///
    /// # Errors
    /// The time after which it makes sense to ask again.
    pub(super) fn check(&self) -> Result<(), Duration> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.lock().check(clock::now())
    }

    /// Whether a call may pass now, and whether it is the one that tries. That one has to come back with what it found,
    /// or with [`Breaker::abandoned`].
    ///
    /// # Errors
    /// The time after which it makes sense to ask again.
    pub(super) fn pass(&self) -> Result<bool, Duration> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let now = clock::now();
        self.change(|circuit| circuit.pass(now))
    }

    /// The platform answered.
    pub(super) fn succeeded(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.change(Circuit::succeeded);
        }
    }

    /// It could not be reached, or did not answer in time.
    pub(super) fn failed(&self, probe: bool, now: Instant) {
        self.change(|circuit| circuit.failed(probe, now));
    }

    /// The call that tried ended without finding out.
    pub(super) fn abandoned(&self) {
        self.change(Circuit::abandoned);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.lock();
        let before = circuit.state;
        let changed = change(&mut circuit);
        let after = circuit.state;
        // Under the lock, so that the flag is never older than the state.
        self.troubled.store(circuit.failures > 0, Ordering::Relaxed);
        if before != after {
            self.series.show(after as usize);
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        // Nothing in here panics halfway through a change.
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule { failures: 3, open: Duration::from_secs(10) };

    /// What happens, in milliseconds since the beginning, and what is expected of it.
    enum Step {
        Pass(Result<bool, u64>),
        Succeed,
        Fail { probe: bool },
        Abandon,
    }

    use Step::{Abandon, Fail, Pass, Succeed};

    #[track_caller]
    fn check(steps: &[(u64, Step)]) {
        let (start, mut circuit) = (clock::now(), Circuit::new(RULE));
        for (index, (millis, step)) in steps.iter().enumerate() {
            let now = start + Duration::from_millis(*millis);
            match step {
                Pass(expected) => {
                    assert_eq!(circuit.pass(now), expected.map_err(Duration::from_millis), "step {index}");
                }
                Succeed => circuit.succeeded(),
                Fail { probe } => circuit.failed(*probe, now),
                Abandon => circuit.abandoned(),
            }
        }
    }

    const FAIL: Step = Fail { probe: false };

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        check(&[
            (0, FAIL),
            (1, FAIL),
            (2, Pass(Ok(false))),
            (3, FAIL),
            (4, Pass(Err(9_999))),
            (9_003, Pass(Err(1_000))),
        ]);
        check(&[(0, FAIL), (1, FAIL), (2, Succeed), (3, FAIL), (4, FAIL), (5, Pass(Ok(false)))]);
    }

    #[test]
    fn one_call_tries_and_decides() {
        let open = || [(0, FAIL), (0, FAIL), (0, FAIL)];
        let probing = [(10_000, Pass(Ok(true))), (10_001, Pass(Err(1_000)))];
        check(
            &open()
                .into_iter()
                .chain(probing)
                .chain([(10_002, Succeed), (10_003, Pass(Ok(false)))])
                .collect::<Vec<_>>(),
        );
        let probing = [(10_000, Pass(Ok(true))), (10_001, Pass(Err(1_000)))];
        let fails = [(12_000, Fail { probe: true }), (12_001, Pass(Err(9_999))), (22_000, Pass(Ok(true)))];
        check(&open().into_iter().chain(probing).chain(fails).collect::<Vec<_>>());
        let abandons = [(10_000, Pass(Ok(true))), (10_001, Abandon), (10_002, Pass(Ok(true)))];
        check(&open().into_iter().chain(abandons).collect::<Vec<_>>());
        let lasts = [(10_000, Pass(Ok(true))), (19_999, Pass(Err(1_000))), (20_000, Pass(Ok(true)))];
        let lasts = lasts.into_iter().chain([(20_001, Pass(Err(1_000))), (20_002, Abandon), (20_003, Pass(Ok(true)))]);
        check(&open().into_iter().chain(lasts).collect::<Vec<_>>());
    }

    #[test]
    fn what_left_before_it_opened_neither_prolongs_it_nor_spoils_the_try() {
        let open = [(0, FAIL), (0, FAIL), (0, FAIL)];
        let late = [(9_000, FAIL), (10_000, Pass(Ok(true))), (10_001, FAIL), (10_002, Pass(Err(1_000)))];
        check(&open.into_iter().chain(late).collect::<Vec<_>>());
        let open = [(0, FAIL), (0, FAIL), (0, FAIL)];
        check(&open.into_iter().chain([(9_000, Succeed), (9_001, Pass(Ok(false)))]).collect::<Vec<_>>());
    }

    #[test]
    fn a_call_that_finds_nothing_wrong_takes_no_lock() {
        let breaker = Breaker::new(RULE, BreakerSeries::default());
        let now = clock::now();
        let held = breaker.lock();
        assert_eq!((breaker.check(), breaker.pass()), (Ok(()), Ok(false)));
        breaker.succeeded();
        drop(held);
        (0..3).for_each(|_| breaker.failed(false, now));
        assert!(breaker.pass().is_err_and(|wait| wait <= RULE.open) && breaker.check().is_err());
        breaker.succeeded();
        assert_eq!(breaker.pass(), Ok(false));
        assert!(!breaker.troubled.load(Ordering::Relaxed));
    }
}
