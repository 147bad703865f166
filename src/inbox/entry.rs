//! What goes into the inbox, and what comes out of it: callbacks, leases and settlements.
//!
//! Types only. Nothing here knows how or where they are kept, and none of them prints a body or an id of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::id::EntryId;
use super::lease::Hold;
use crate::trace::TraceParent;

/// A callback that was opened and is to be kept.
pub struct NewCallback {
    /// Name of the source it arrived on.
    pub source: Arc<str>,
    /// Names of the receivers that are to have it, each once. None: it is kept as settled.
    pub receivers: Vec<Arc<str>>,
    /// What it is about.
    pub kind: Kind,
    /// The opened body, as it is to be delivered.
    pub body: Bytes,
    /// What its body says about itself.
    pub ids: Ids,
    /// When its first byte arrived: milliseconds since 1970-01-01 UTC.
    pub received_ms: u64,
}

/// What the body of a callback says about itself.
#[derive(Default)]
pub struct Ids {
    /// It carries a `call_id` or `msg_id`, so an identical one within ten minutes is the platform's repeat and is dropped.
    pub natural: bool,
    /// Deliveries of one order key go to a receiver one after the other.
    pub order: Option<String>,
    /// Call ids, to search for.
    pub calls: Vec<String>,
    /// Ids of tasks and workflows, to search for.
    pub tasks: Vec<String>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is on disk under this id.
    Stored(EntryId),
    /// An identical one with a natural id is on disk since less than ten minutes.
    Duplicate,
}

/// Why the inbox cannot serve now. To the platform each of them is 503 with Retry-After.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// What waits for its receivers fills the store, or the disk is full.
    Full,
    /// More is queued for the disk than is allowed.
    Busy,
    /// The disk fails, or the database is corrupt or locked by somebody else.
    Failed,
    /// The inbox was closed.
    Closed,
    /// The process before this one has it, in good hands, and gives it away when its calls with keys have ended.
    Elsewhere,
}

impl Unavailable {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Closed => "closed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => {
                "the inbox is full: raise inbox.max_bytes, free space on its disk, or bring its receivers back"
            }
            Self::Busy => "the disk of the inbox does not keep up: wait and try again",
            Self::Failed => "the disk or the database of the inbox fails: see the log",
            Self::Closed => "the inbox is closed: the gateway stops",
            Self::Elsewhere => {
                "an upgrade is under way, and the process before this one still has the inbox: wait and try again"
            }
        })
    }
}

impl std::error::Error for Unavailable {}

/// Tells the one who waits.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Unavailable>>;

/// What a callback is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call ended.
    Call,
    /// Calls of a task that nobody answered.
    CallsUnanswered,
    /// A message of a workflow.
    Waba,
    /// A predictive task.
    PredictTask,
    /// A contact of a predictive task.
    PredictContact,
    /// An agent of a predictive task.
    PredictAgent,
    /// Anything else.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Call,
        Self::CallsUnanswered,
        Self::Waba,
        Self::PredictTask,
        Self::PredictContact,
        Self::PredictAgent,
        Self::Other,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::CallsUnanswered => "calls_unanswered",
            Self::Waba => "waba",
            Self::PredictTask => "predict.task",
            Self::PredictContact => "predict.contact",
            Self::PredictAgent => "predict.agent",
            Self::Other => "other",
        }
    }

    /// The kind of a stable word.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How the database writes it. Never renumber these.
    pub(super) const fn row(self) -> i64 {
        match self {
            Self::Other => 0,
            Self::Call => 1,
            Self::CallsUnanswered => 2,
            Self::Waba => 3,
            Self::PredictTask => 4,
            Self::PredictContact => 5,
            Self::PredictAgent => 6,
        }
    }

    /// As the database wrote it.
    pub(super) fn of_row(row: i64) -> Self {
        Self::ALL.into_iter().find(|kind| kind.row() == row).unwrap_or(Self::Other)
    }
}

/// A delivery that nobody else has now. Settle it; dropped unsettled it is given back without counting an attempt.
#[must_use = "dropping it gives the lease back"]
pub struct Leased {
    /// Of the entry.
    pub id: EntryId,
    /// Who is to have it.
    pub receiver: Arc<str>,
    /// Where it arrived.
    pub source: Arc<str>,
    /// What it is about.
    pub kind: Kind,
    /// Which attempt this one is; 1 is the first, also after a redrive.
    pub attempt: u32,
    /// When it was received: milliseconds since 1970-01-01 UTC.
    pub received_ms: u64,
    /// An operator sent it again.
    pub redriven: bool,
    /// The trace of the call that it comes of, when its program named one.
    pub(crate) parent: Option<TraceParent>,
    /// The opened body.
    pub body: Bytes,
    /// Gives the lease back.
    pub(super) hold: Arc<Hold>,
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, receiver, attempt, .. } = self;
        write!(f, "Leased({id}, {receiver}, attempt {attempt})")
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has it.
    Delivered,
    /// It is due again after `wait`.
    Retry {
        /// From now.
        wait: Duration,
        /// A stable word.
        outcome: &'static str,
    },
    /// It becomes a dead letter.
    Bury {
        /// A stable word.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_word_and_number() {
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.as_str()), Some(kind));
            assert_eq!(Kind::of_row(kind.row()), kind);
        }
        assert_eq!(Kind::find("task"), None);
    }
}
