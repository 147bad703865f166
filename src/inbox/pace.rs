//! How redriven deliveries of a receiver are spread over time, so that one that just came back is not run over.
//!
//! Pure. It never reads a clock and never forgets a rest: a thousand at 700 a second take 1428 ms, not 1000.

use super::filter::Pace;

/// Due times of one receiver, one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    /// When this pace began: wall time.
    start_ms: u64,
    /// How many are due at it or later.
    given: u64,
    /// Deliveries a second. Zero before the first.
    per_second: u64,
}

impl Spread {
    /// When the next one is due: never before now, nor before its turn after those of an earlier step.
    pub(super) fn next(&mut self, pace: Pace, now_ms: u64) -> u64 {
        let per_second = u64::from(pace.per_second.max(1));
        let turn = self.turn().unwrap_or(0);
        if turn < now_ms || per_second != self.per_second {
            *self = Self { start_ms: now_ms.max(turn), given: 0, per_second };
        }
        let due = self.turn().unwrap_or(now_ms);
        self.given += 1;
        due
    }

    fn turn(&self) -> Option<u64> {
        Some(self.start_ms.saturating_add(self.given.saturating_mul(1000).checked_div(self.per_second)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_as_many_as_its_pace_says() {
        for per_second in [0, 1, 3, 500, 501, 700, 999, 1000] {
            let (mut spread, pace) = (Spread::default(), Pace { per_second });
            let mut due = (0..5 * per_second.max(1)).map(|_| spread.next(pace, 10_000));
            let within = |second: u64| (10_000 + 1000 * second)..(11_000 + 1000 * second);
            for second in 0..5 {
                let found: Vec<_> = due.by_ref().take(per_second.max(1) as usize).collect();
                assert!(found.iter().all(|due| within(second).contains(due)), "{per_second}/s: {found:?}");
            }
        }
    }

    #[test]
    fn a_later_step_and_another_pace_go_on_where_the_last_ended() {
        let mut spread = Spread::default();
        let mut next = |per_second, now_ms| spread.next(Pace { per_second }, now_ms);
        assert_eq!([next(2, 100), next(2, 100), next(2, 150)], [100, 600, 1100]);
        assert_eq!([next(10, 150), next(10, 150)], [1600, 1700]);
        assert_eq!([next(10, 9000), next(10, 9000)], [9000, 9100], "a rest is not made up for");
        // Asked for at the very moment of its turn, which is a little early: a third of a second is more than 333 ms.
        let mut spread = Spread::default();
        assert_eq!([0, 333, 666, 1000].map(|now_ms| spread.next(Pace { per_second: 3 }, now_ms)), [0, 333, 666, 1000]);
    }
}
