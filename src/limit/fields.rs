//! What a program reads of its limits: the texts of `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! It writes numbers and three fixed names. It never says whose traffic uses a limit up.

use std::time::Duration;

use crate::config::Quota;

/// Most limits that one call can stand under: the program's, the operation's, the account's.
const MOST: usize = 3;

/// The limits that a call met, and what is left of each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Met<'a>([Option<Limit<'a>>; MOST]);

#[derive(Debug, Clone, Copy)]
struct Limit<'a> {
    policy: &'a Policy,
    left: u32,
    /// Within this time no more than `left`.
    window: Duration,
}

/// One limit, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    name: &'static str,
    /// Its member of `RateLimit-Policy`: the quota (section 3.1.1 of the draft) in calls, and its window (section 3.1.3) in
    /// seconds.
    text: Box<str>,
}

impl Policy {
    /// The shortest whole window in which the rate is a whole number, long enough for the burst.
    pub(super) fn new(name: &'static str, quota: Quota) -> Self {
        let (calls, per) = (u64::from(quota.rate.calls.max(1)), quota.rate.per.as_secs().max(1));
        let step = per / greatest_common_divisor(calls, per);
        // burst ÷ rate, rounded up to whole steps
        let needed = (u64::from(quota.burst) * per).div_ceil(calls).max(1);
        let window = needed.div_ceil(step) * step;
        Self { name, text: format!("\"{name}\";q={};w={window}", window * calls / per).into() }
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl<'a> Met<'a> {
    /// Adds a limit: `left` calls, and no more than those within `window`.
    pub(super) fn add(&mut self, policy: &'a Policy, left: u32, window: Duration) {
        if let Some(free) = self.0.iter_mut().find(|limit| limit.is_none()) {
            *free = Some(Limit { policy, left, window });
        }
    }

    /// The two header values, `RateLimit-Policy` first. `None` when there is no limit to tell of.
    pub fn texts(&self) -> Option<(String, String)> {
        self.0[0]?;
        let (mut policies, mut limits) = (String::with_capacity(USUAL), String::with_capacity(USUAL));
        for Limit { policy, left, window } in self.0.iter().flatten() {
            let comma = if policies.is_empty() { "" } else { ", " };
            policies.push_str(comma);
            policies.push_str(&policy.text);
            // By hand: the formatting macros cost a tenth of what a small call does outside the kernel.
            let mut digits = itoa::Buffer::new();
            for part in [comma, "\"", policy.name, "\";r=", digits.format(*left), ";t="] {
                limits.push_str(part);
            }
            limits.push_str(digits.format(whole_seconds(*window)));
        }
        Some((policies, limits))
    }
}

/// Room for what two limits say, in bytes.
const USUAL: usize = 64;

/// Rounded up, and at least one.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Frequency;

    fn quota(calls: u32, per: u64, burst: u32) -> Quota {
        Quota { rate: Frequency { calls, per: Duration::from_secs(per) }, burst }
    }

    #[test]
    fn a_policy_is_the_rate_exactly_in_a_window_that_holds_the_burst() {
        for (calls, per, burst, expected) in [
            (50, 1, 100, (100, 2)),
            (50, 1, 10, (50, 1)),
            (50, 1, 101, (150, 3)),
            (90, 60, 1, (3, 2)),
            (7, 60, 1, (7, 60)),
            (1, 60, 1, (1, 60)),
            (1, 60, 5, (5, 300)),
            (100, 3600, 1, (1, 36)),
            (100_000, 1, 100_000, (100_000, 1)),
        ] {
            let (quota, window) = expected;
            let policy = Policy::new("account", self::quota(calls, per, burst));
            assert_eq!(*policy.text, format!("\"account\";q={quota};w={window}"), "{calls} in {per} s, {burst}");
        }
    }

    #[test]
    fn the_fields_are_lists_of_structured_fields() {
        let program = Policy::new("program", quota(20, 1, 40));
        let account = Policy::new("account", quota(50, 1, 100));
        let mut met = Met::default();
        assert_eq!(met.texts(), None);
        met.add(&program, 12, Duration::from_millis(50));
        let one = met.texts().expect("a limit");
        assert_eq!((one.0.as_str(), one.1.as_str()), ("\"program\";q=40;w=2", "\"program\";r=12;t=1"));
        met.add(&account, 0, Duration::from_millis(2_001));
        let two = met.texts().expect("limits");
        assert_eq!(two.0, "\"program\";q=40;w=2, \"account\";q=100;w=2");
        assert_eq!(two.1, "\"program\";r=12;t=1, \"account\";r=0;t=3");
        (0..9).for_each(|_| met.add(&account, 0, Duration::ZERO));
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_that_are_enough_and_not_one_more() {
        for (millis, expected) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_000, 2), (2_999, 3)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), expected, "{millis}");
        }
    }
}
