//! The id of an entry, which receivers know as `webhook-id`.
//!
//! It names an entry and tells nothing about it. It never asks the database.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Bits of an [`EntryId`] that count the entries of one start; the bits above count the starts.
pub(super) const COUNTER_BITS: u32 = 40;

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
        assert_eq!(format!("{id:?} {marked:?}"), "cb_000003000000004d cb_000003000000004d_000000ab");
        assert!(NotAnEntryId.to_string().contains("cb_"));
        let other = EntryId::try_new(3, 78).expect("it fits");
        assert!(id != other && id < other && id == marked);
        assert!(EntryId::try_new(1 << 23, 0).is_none() && EntryId::try_new(0, 1 << COUNTER_BITS).is_none());
    }

    #[test]
    fn a_set_finds_an_id_by_its_number_and_keeps_unlike_ones_apart() {
        let hash = |id: EntryId| {
            let mut hasher = std::hash::DefaultHasher::new();
            id.hash(&mut hasher);
            hasher.finish()
        };
        let ids = [1, 2].map(|counter| EntryId::try_new(3, counter).expect("it fits"));
        assert_eq!(hash(ids[0]), hash(ids[0].marked(Some(0xab))));
        assert_ne!(hash(ids[0]), hash(ids[1]));
    }
}
