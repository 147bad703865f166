//! The rate that the platform bears: it falls at once when the platform says no, and rises slowly after that
//! (additive increase, multiplicative decrease).
//!
//! Pure: it is told the time and what happened. It never looks at a call.

use std::time::Duration;

use crate::clock::Instant;

/// What is left of the rate after the platform said no.
const CUT: f64 = 0.5;

/// After each such time without a no, the rate rises by [`RAISE`].
const EVERY: Duration = Duration::from_secs(1);

/// By this part of the full rate: from half to full takes ten seconds.
const RAISE: f64 = 0.05;

/// The part of the configured rate that is used.
#[derive(Debug)]
pub(super) struct Adapt {
    least: f64,
    part: f64,
    cut: Option<Instant>,
    raised: Option<Instant>,
}

impl Adapt {
    /// Full; never below `least`, a part of the full rate.
    pub(super) fn new(least: f64) -> Self {
        Self { least: least.clamp(0.0, 1.0), part: 1.0, cut: None, raised: None }
    }

    /// The rate must not fall below another part of the full one from now on. The part that is used.
    pub(super) fn adopt(&mut self, least: f64) -> f64 {
        self.least = least.clamp(0.0, 1.0);
        self.part = self.part.max(self.least);
        self.part
    }

    /// The part that is used.
    pub(super) fn part(&self) -> f64 {
        self.part
    }

    /// The platform said no to a request that left at `left`. Requests that left before the last cut say nothing new.
    /// The new part, if it changed.
    pub(super) fn refused(&mut self, left: Instant, now: Instant) -> Option<f64> {
        if self.cut.is_some_and(|cut| left <= cut) {
            return None;
        }
        self.cut = Some(now);
        self.raised = Some(now);
        self.change((self.part * CUT).max(self.least))
    }

    /// What time has brought back. The new part, if it changed.
    pub(super) fn recover(&mut self, now: Instant) -> Option<f64> {
        let raised = self.raised?;
        let steps =
            u32::try_from(now.saturating_duration_since(raised).as_nanos() / EVERY.as_nanos()).unwrap_or(u32::MAX);
        if steps == 0 {
            return None;
        }
        let part = (self.part + RAISE * f64::from(steps)).min(1.0);
        self.raised = (part < 1.0).then(|| raised + EVERY * steps);
        self.change(part)
    }

    fn change(&mut self, part: f64) -> Option<f64> {
        let changed = part != self.part;
        self.part = part;
        changed.then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn near(part: Option<f64>, expected: f64) -> bool {
        part.is_some_and(|part| (part - expected).abs() < 1e-9)
    }

    #[test]
    fn a_no_halves_the_rate_and_time_brings_it_back_in_steps() {
        let start = clock::now();
        let mut adapt = Adapt::new(0.1);
        assert_eq!(adapt.recover(after(start, 60_000)), None, "it is full");
        assert!(near(adapt.refused(start, start), 0.5));
        for (millis, expected) in
            [(999, None), (1000, Some(0.55)), (1500, None), (3000, Some(0.65)), (9_999, Some(0.95))]
        {
            let part = adapt.recover(after(start, millis));
            assert!(expected.map_or(part.is_none(), |expected| near(part, expected)), "{millis}: {part:?}");
        }
        assert!(near(adapt.recover(after(start, 10_000)), 1.0));
        assert_eq!(adapt.recover(after(start, 99_000)), None);
    }

    #[test]
    fn answers_to_what_left_before_the_cut_do_not_cut_again() {
        let start = clock::now();
        let mut adapt = Adapt::new(0.01);
        assert!(near(adapt.refused(start, after(start, 100)), 0.5));
        for left in [0, 50, 100] {
            assert_eq!(adapt.refused(after(start, left), after(start, 200)), None);
        }
        assert!(near(adapt.refused(after(start, 101), after(start, 300)), 0.25));
    }

    #[test]
    fn it_never_falls_below_the_least_nor_rises_above_the_full_rate() {
        let start = clock::now();
        let mut adapt = Adapt::new(0.2);
        let parts: Vec<_> = (1..6).map(|n| adapt.refused(after(start, n), after(start, n))).collect();
        assert_eq!(parts, [Some(0.5), Some(0.25), Some(0.2), None, None]);
        assert!(near(adapt.recover(after(start, u64::from(u32::MAX))), 1.0));
    }
}
