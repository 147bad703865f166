//! The ledger: ids, times and outcomes of the calls that may have made a phone ring, so that it can be told afterwards what
//! became of one. Kept beside the callbacks, for an age and up to a size.
//!
//! Never a body, a query, a number or a name of somebody: of the ids that an answer names only keyed tags are written, the
//! same as those of callbacks, so that both are found together. Whoever notes a call never waits for the disk; what does not
//! fit is dropped and counted. Calls are written in blocks of many, because a row for each cost more than the call's own work.

mod block;
mod pending;
mod rows;
mod trace;

use std::time::Duration;

#[cfg(feature = "fuzzing")]
pub(super) use block::{Block, Noted, read};
pub(super) use pending::{Batch, Pending, Pushed};
pub(super) use rows::{Change, Noting};
pub use trace::{Found, Trace};
pub(super) use trace::{Sought, trace};

use crate::trace::TraceParent;

/// The parts of a call whose time is told apart, in the order of [`Call::phases`].
pub const PHASES: [&str; 7] = ["limit_wait", "token", "seal", "connect", "platform", "open", "deliver"];

/// Most ids that are kept of one answer. A task that was created has one.
pub const MOST_IDS: usize = 16;

/// How many times are kept of a call: of each of [`PHASES`], of its key, of all.
const TIMES: usize = PHASES.len() + 2;

/// A request id as the bytes that its 32 hexadecimal digits stand for.
pub type RequestBytes = [u8; 16];

/// A call that ended.
pub struct Call<'a> {
    /// Its request id.
    pub request: RequestBytes,
    /// When it began: milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Name of the program; `-` when it has none.
    pub program: &'a str,
    /// Name of the account.
    pub account: &'a str,
    /// Name of the operation.
    pub operation: &'a str,
    /// The idempotency key that it showed. Its tag is written, never itself.
    pub key: Option<&'a [u8]>,
    /// The ids that the platform's answer names. Their tags are written, never themselves.
    pub named: &'a Named,
    /// Whether it may have reached the platform: `no`, `yes`, `unknown`.
    pub sent: &'static str,
    /// The HTTP status that the program was told; 0 when it was told none.
    pub status: u16,
    /// How it ended: a stable word.
    pub outcome: &'static str,
    /// The code in the platform's answer, where it was read.
    pub code: Option<i64>,
    /// It was sent again with a fresh token.
    pub replayed: bool,
    /// The time of each of [`PHASES`].
    pub phases: [Duration; PHASES.len()],
    /// What its key took: waiting for an earlier call with it, and for the disk.
    pub keeping: Duration,
    /// From its first byte to the last of its answer.
    pub took: Duration,
    /// The trace that its program named. It is not written: callbacks that come of the call are given it.
    pub(crate) parent: Option<TraceParent>,
}

/// Ids, at most [`MOST_IDS`] in all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Named {
    /// Of calls and messages.
    pub calls: Vec<String>,
    /// Of tasks and workflows.
    pub tasks: Vec<String>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    age: Duration,
    /// Most bytes of blocks on disk.
    bytes: u64,
}

impl Bounds {
    /// `age` zero: nothing is kept.
    pub(super) fn new(age: Duration, max_bytes: u64) -> Self {
        Self { age, bytes: max_bytes }
    }

    /// How long a call is kept.
    pub(super) const fn age(self) -> Duration {
        self.age
    }

    fn keeps_any(&self) -> bool {
        !self.age.is_zero()
    }
}
