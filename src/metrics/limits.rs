//! The series of limits: what may be sent, who waits for it, who was refused, and whether the platform says no.
//!
//! It only declares. Labels are accounts of the configuration and the closed lists below.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::declare::Declare;

/// What refused a call, in the order of the counters of [`LimitSeries`].
const LIMITS: [&str; 7] = ["program", "operation", "account", "pause", "concurrency", "queue", "deadline"];

/// The states of a breaker, in the order in which they are shown.
const STATES: [&str; 3] = ["closed", "open", "probing"];

/// All series of limits.
pub struct Limits {
    /// Calls per second that an account may send now; 0 when there is no limit.
    pub rate: GaugeVec,
    /// Times that the platform said no and the rate fell.
    pub cuts: IntCounterVec,
    /// Calls that wait for their turn.
    pub waiting: IntGaugeVec,
    /// Calls refused, by what limited them.
    pub limited: IntCounterVec,
    /// 1 for the state that an account's breaker is in, 0 for the others.
    pub breaker: IntGaugeVec,
}

impl Limits {
    pub(super) fn try_new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            rate: declare.fractions("account_rate")?,
            cuts: declare.counters("account_rate_cuts_total")?,
            waiting: declare.gauges("waiting_calls")?,
            limited: declare.counters("limited_total")?,
            breaker: declare.gauges("breaker_state")?,
        })
    }

    /// The series of one account, found once.
    pub fn account(&self, account: &str) -> LimitSeries {
        LimitSeries {
            rate: self.rate.with_label_values(&[account]),
            cuts: self.cuts.with_label_values(&[account]),
            waiting: self.waiting.with_label_values(&[account]),
            limited: LIMITS.map(|limit| self.limited.with_label_values(&[account, limit])),
        }
    }

    /// An account has no breaker any more.
    pub fn forget_breaker(&self, account: &str) {
        for state in STATES {
            // One that was never shown is not there.
            let _ = self.breaker.remove_label_values(&[account, state]);
        }
    }

    /// The series of one account's breaker, found once.
    pub fn breaker(&self, account: &str) -> BreakerSeries {
        BreakerSeries(Some(STATES.map(|state| self.breaker.with_label_values(&[account, state]))))
    }
}

/// The series of one account's limits.
#[derive(Debug)]
pub struct LimitSeries {
    /// Calls per second that it may send now.
    pub rate: Gauge,
    /// Times that its rate fell.
    pub cuts: IntCounter,
    /// Calls that wait for their turn.
    pub waiting: IntGauge,
    limited: [IntCounter; LIMITS.len()],
}

/// What refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedBy {
    /// The program's rate.
    Program,
    /// The operation's rate.
    Operation,
    /// The account's rate.
    Account,
    /// A pause that the platform asked for.
    Pause,
    /// The number of calls at the same time.
    Concurrency,
    /// The number of calls of one program that may wait.
    Queue,
    /// The call's own time, over before it could leave.
    Deadline,
}

impl LimitSeries {
    /// A call was refused.
    pub fn limited(&self, by: LimitedBy) {
        self.limited[by as usize].inc();
    }
}

/// The series of one account's breaker. The default shows nothing.
#[derive(Debug, Default)]
pub struct BreakerSeries(Option<[IntGauge; STATES.len()]>);

impl BreakerSeries {
    /// Shows the state with this number.
    pub fn show(&self, state: usize) {
        for (index, gauge) in self.0.iter().flatten().enumerate() {
            gauge.set(i64::from(index == state));
        }
    }
}
