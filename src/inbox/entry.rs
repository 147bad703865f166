//! What goes into the inbox, and what comes out of it: callbacks, their ids, leases and settlements.
//!
//! Types only. Nothing here knows how or where they are kept, and none of them prints a body or an id of a call.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::lease::Hold;

/// Bits of an [`EntryId`] that count the entries of one start; the bits above count the starts.
pub(super) const COUNTER_BITS: u32 = 40;

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
}

impl Unavailable {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Closed => "closed",
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
        })
    }
}

impl std::error::Error for Unavailable {}

/// The id of an entry, unique for ever; receivers know it as `webhook-id`. Printed as `cb_`, 16 hexadecimal digits, `_`, and
/// the 8 of its mark.
///
/// The number of the start stands in the high bits of the first part and a counter below, so a later one is larger. Within
/// a database it says which entry is meant. Every database begins with the same numbers, and a restored one goes on with
/// numbers that its original has used, so the mark, which is random for each start, keeps their ids apart.
#[derive(Clone, Copy)]
pub struct EntryId {
    number: u64,
    /// Of the start that made it; `None` while nobody has asked for it.
    mark: Option<u32>,
}

impl EntryId {
    /// `None` when either of the two does not fit.
    pub(super) fn try_new(epoch: u64, counter: u64) -> Option<Self> {
        let fits = counter >> COUNTER_BITS == 0 && epoch >> (63 - COUNTER_BITS) == 0;
        fits.then_some(Self { number: epoch << COUNTER_BITS | counter, mark: None })
    }

    /// With the mark of its start.
    pub(super) const fn marked(self, mark: Option<u32>) -> Self {
        Self { mark, ..self }
    }

    /// The mark it is known with, or was asked for with.
    pub(super) const fn mark(self) -> Option<u32> {
        self.mark
    }

    /// The number of the start that made it.
    pub(super) const fn epoch(self) -> u64 {
        self.number >> COUNTER_BITS
    }

    /// How the database writes it.
    #[expect(clippy::cast_possible_wrap, reason = "63 bits, see try_new and from_str")]
    pub(super) const fn row(self) -> i64 {
        self.number as i64
    }

    /// As the database wrote it.
    #[expect(clippy::cast_sign_loss, reason = "the database holds what row() gave")]
    pub(super) const fn of_row(row: i64) -> Self {
        Self { number: row as u64, mark: None }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cb_{:016x}", self.number)?;
        self.mark.map_or(Ok(()), |mark| write!(f, "_{mark:08x}"))
    }
}

/// Within a database the number says it all.
impl PartialEq for EntryId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for EntryId {}

impl PartialOrd for EntryId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EntryId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl Hash for EntryId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no [`EntryId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEntryId;

impl fmt::Display for NotAnEntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of an entry: it is written as cb_, 16 hexadecimal digits, _ and 8 more")
    }
}

impl std::error::Error for NotAnEntryId {}

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    /// The mark may be left out. Where it is given, an entry with another one is not the one that is meant.
    fn from_str(text: &str) -> Result<Self, NotAnEntryId> {
        let digits = text.strip_prefix("cb_").ok_or(NotAnEntryId)?;
        let (number, mark) = digits.split_once('_').map_or((digits, None), |(number, mark)| (number, Some(mark)));
        let number = hexadecimal(number, 16).filter(|number| number >> 63 == 0).ok_or(NotAnEntryId)?;
        let mark = match mark {
            Some(mark) => Some(hexadecimal(mark, 8).and_then(|mark| u32::try_from(mark).ok()).ok_or(NotAnEntryId)?),
            None => None,
        };
        Ok(Self { number, mark })
    }
}

/// So many digits in lower case, and nothing else.
fn hexadecimal(digits: &str, length: usize) -> Option<u64> {
    let lower = digits.len() == length && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| lower)
}

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
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = EntryId::try_new(3, 77).expect("it fits");
        assert_eq!(id.to_string(), "cb_000003000000004d");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(EntryId::of_row(id.row()), id);
        assert_eq!(id.epoch(), 3);
        let marked = id.marked(Some(0xab));
        assert_eq!(marked.to_string(), "cb_000003000000004d_000000ab");
        let read: EntryId = marked.to_string().parse().expect("an id");
        assert_eq!((read, read.mark()), (id, Some(0xab)));
        for wrong in [
            "",
            "cb_",
            "cb_4d",
            "000003000000004d",
            "cb_000003000000004D",
            "cb_+00003000000004d",
            "cb_ffffffffffffffff",
            "cb_000003000000004d_",
            "cb_000003000000004d_ab",
            "cb_000003000000004d_000000AB",
            "cb_000003000000004d_000000ab_",
        ] {
            assert_eq!(wrong.parse::<EntryId>(), Err(NotAnEntryId), "{wrong}");
        }
        assert!(EntryId::try_new(1 << 23, 0).is_none() && EntryId::try_new(0, 1 << COUNTER_BITS).is_none());
    }

    #[test]
    fn each_kind_has_its_own_word_and_number() {
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.as_str()), Some(kind));
            assert_eq!(Kind::of_row(kind.row()), kind);
        }
        assert_eq!(Kind::find("task"), None);
    }
}
