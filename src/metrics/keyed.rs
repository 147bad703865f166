//! The series of calls with an idempotency key: how each of them ended, and what is remembered of them.
//!
//! It only declares. Its labels are a closed enum; a key is none of them.

use prometheus::{IntCounterVec, IntGauge};

use super::declare::Declare;

/// All series of keys.
pub struct Keyed {
    /// Calls with a key, by how they ended.
    pub calls: IntCounterVec,
    /// Keys whose call may have been carried out, and nobody knows.
    pub unknown: IntGauge,
    /// Keys whose call's end is known and remembered.
    pub remembered: IntGauge,
}

/// How a call with a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOutcome {
    /// It was sent, and its answer is remembered.
    First,
    /// It was sent, and its answer is too large to be remembered.
    NotKept,
    /// It was sent, and nobody knows whether it was carried out.
    Unknown,
    /// It was certainly not carried out.
    Freed,
    /// It got the answer of an earlier one.
    Replayed,
    /// It waited for one under way, and got its answer.
    Waited,
    /// Its key belongs to another body.
    OtherBody,
    /// The end of the earlier one is unknown.
    StillUnknown,
    /// The earlier one was carried out, and its answer is not there.
    Gone,
    /// The earlier one is still under way.
    InUse,
    /// Its key could not be kept, so nothing was sent.
    Unavailable,
}

impl KeyOutcome {
    const ALL: [Self; 11] = [
        Self::First,
        Self::NotKept,
        Self::Unknown,
        Self::Freed,
        Self::Replayed,
        Self::Waited,
        Self::OtherBody,
        Self::StillUnknown,
        Self::Gone,
        Self::InUse,
        Self::Unavailable,
    ];

    /// Whether it was told the end of an earlier call, which was counted when that ended.
    pub const fn is_told_again(self) -> bool {
        matches!(self, Self::Replayed | Self::Waited | Self::StillUnknown | Self::Gone)
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::NotKept => "not_kept",
            Self::Unknown => "unknown",
            Self::Freed => "freed",
            Self::Replayed => "replayed",
            Self::Waited => "waited",
            Self::OtherBody => "other_body",
            Self::StillUnknown => "still_unknown",
            Self::Gone => "gone",
            Self::InUse => "in_use",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Keyed {
    pub(super) fn try_new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let keyed = Self {
            calls: declare.counters("keyed_calls_total")?,
            unknown: declare.gauge("keyed_unknown")?,
            remembered: declare.gauge("keyed_remembered")?,
        };
        // An alert relies on them before the first such call.
        for outcome in KeyOutcome::ALL {
            keyed.calls.with_label_values(&[outcome.as_str()]);
        }
        Ok(keyed)
    }

    /// A call with a key ended so.
    pub fn ended(&self, outcome: KeyOutcome) {
        self.calls.with_label_values(&[outcome.as_str()]).inc();
    }

    /// How many keys stand where.
    pub fn stand(&self, unknown: i64, remembered: i64) {
        self.unknown.set(unknown);
        self.remembered.set(remembered);
    }
}
