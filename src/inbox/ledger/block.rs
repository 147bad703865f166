//! A block of the ledger as bytes: the ids of its calls, and everything else of them.
//!
//! Pure. Ids stand apart from the rest, sixteen bytes each and nothing between them, so that a search looks at them alone.
//! Whatever stands on disk, reading comes to an end and never panics: a block that is not whole is none.

use super::{RequestBytes, TIMES};
use crate::inbox::vault::{TAG, Tag};

/// The first byte of what is no id. Another one is of a later version.
const FORM: u8 = 1;

/// What is noted of a call, as bits.
const KEYED: u64 = 1;
const REPLAYED: u64 = 2;
const CODED: u64 = 4;
/// Above them: how many ids its answer named.
const NAMED: u32 = 3;

/// What many calls have in common, as rows of `name`: program, account, operation, whether it was sent, outcome.
pub(in crate::inbox) type Kind = [i64; 5];

/// A call as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inbox) struct Noted<'a> {
    /// Its request id.
    pub(in crate::inbox) request: RequestBytes,
    /// When it began: milliseconds since 1970-01-01 UTC.
    pub(in crate::inbox) at_ms: u64,
    /// The tag of its idempotency key.
    pub(in crate::inbox) key: Option<Tag>,
    /// Tags of what its answer named.
    pub(in crate::inbox) tags: &'a [Tag],
    pub(in crate::inbox) status: u16,
    pub(in crate::inbox) code: Option<i64>,
    pub(in crate::inbox) replayed: bool,
    /// Microseconds of each phase, of the key, of all.
    pub(in crate::inbox) micros: [u32; TIMES],
}

/// A block that is being written.
#[derive(Debug, Default)]
pub(in crate::inbox) struct Block {
    /// Of each call: its request, the tag of its key, the tags of what was named.
    ids: Vec<u8>,
    kinds: Vec<u8>,
    /// How many.
    named: u64,
    calls: Vec<u8>,
    last_ms: u64,
    newest_ms: u64,
}

impl Block {
    /// Adds a kind of calls. Its number in this block.
    pub(in crate::inbox) fn name(&mut self, kind: Kind) -> u64 {
        kind.iter().for_each(|row| write(&mut self.kinds, zigzag(*row)));
        self.named += 1;
        self.named - 1
    }

    /// Adds a call of this kind.
    pub(in crate::inbox) fn add(&mut self, kind: u64, call: &Noted<'_>) {
        self.ids.extend_from_slice(&call.request);
        call.key.iter().for_each(|key| self.ids.extend_from_slice(key));
        self.ids.extend_from_slice(call.tags.as_flattened());
        let bit = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        let bits = bit(call.key.is_some(), KEYED) | bit(call.replayed, REPLAYED) | bit(call.code.is_some(), CODED);
        let calls = &mut self.calls;
        write(calls, kind);
        write(calls, zigzag(call.at_ms.wrapping_sub(self.last_ms).cast_signed()));
        write(calls, bits | (call.tags.len() as u64) << NAMED);
        write(calls, call.status.into());
        call.code.iter().for_each(|code| write(calls, zigzag(*code)));
        call.micros.iter().for_each(|micros| write(calls, u64::from(*micros)));
        (self.last_ms, self.newest_ms) = (call.at_ms, self.newest_ms.max(call.at_ms));
    }

    /// When the newest of its calls began.
    pub(in crate::inbox) fn newest_ms(&self) -> u64 {
        self.newest_ms
    }

    /// The ids, and the rest: what [`read`] takes.
    pub(in crate::inbox) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        let mut rest = Vec::with_capacity(self.kinds.len() + self.calls.len() + 8);
        rest.push(FORM);
        write(&mut rest, self.named);
        rest.extend_from_slice(&self.kinds);
        rest.extend_from_slice(&self.calls);
        (self.ids, rest)
    }
}

/// The calls of a block in their order; `None` when it is not whole, or not of this version.
pub(in crate::inbox) fn read<'a>(ids: &'a [u8], rest: &[u8]) -> Option<Vec<(Kind, Noted<'a>)>> {
    let (mut ids, []) = ids.as_chunks::<TAG>() else { return None };
    let mut rest = Rest(rest.strip_prefix(&[FORM])?);
    let named = rest.number()?;
    // Each is five bytes or more, so no number makes room for what is not there.
    let mut kinds = Vec::new();
    for _ in 0..named {
        let mut kind = Kind::default();
        for row in &mut kind {
            *row = rest.signed()?;
        }
        kinds.push(kind);
    }
    let (mut calls, mut last_ms) = (Vec::new(), 0_u64);
    while !rest.0.is_empty() {
        let kind = *kinds.get(usize::try_from(rest.number()?).ok()?)?;
        last_ms = last_ms.wrapping_add(rest.signed()?.cast_unsigned());
        let bits = rest.number()?;
        let status = rest.number()?.try_into().ok()?;
        let code = if bits & CODED == 0 { None } else { Some(rest.signed()?) };
        let mut micros = [0; TIMES];
        for time in &mut micros {
            *time = rest.number()?.try_into().ok()?;
        }
        let request = *ids.split_off_first()?;
        let key = if bits & KEYED == 0 { None } else { Some(*ids.split_off_first()?) };
        let tags = ids.split_off(..usize::try_from(bits >> NAMED).ok()?)?;
        let replayed = bits & REPLAYED != 0;
        calls.push((kind, Noted { request, at_ms: last_ms, key, tags, status, code, replayed, micros }));
    }
    ids.is_empty().then_some(calls)
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// What [`write()`] wrote.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.0.split_off_first()?;
            let part = u64::from(byte & 0x7f);
            number |= part << shift;
            if byte < 0x80 {
                // What was shifted out makes it another number.
                return (number >> shift == part).then_some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}

/// A number that is small in either direction as one that is small.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// Seven bits in each byte, the least first; the highest bit says that more follow.
fn write(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [[1, 2, 3, 4, 5], [i64::MIN, i64::MAX, 0, -1, 1 << 40], [1, 2, 3, 4, 6]];

    fn usual() -> Noted<'static> {
        Noted {
            request: [1; 16],
            at_ms: 1_790_000_000_000,
            key: None,
            tags: &[[2; TAG]],
            status: 200,
            code: Some(200),
            replayed: false,
            micros: [0, 0, 11, 25, 2_100, 9, 14, 0, 2_200],
        }
    }

    fn calls() -> Vec<(Kind, Noted<'static>)> {
        let call = usual();
        let largest = Noted {
            request: [0xff; 16],
            at_ms: u64::MAX,
            key: Some([0xff; TAG]),
            tags: &[[0xff; TAG]; 32],
            status: u16::MAX,
            code: Some(i64::MAX),
            replayed: true,
            micros: [u32::MAX; TIMES],
        };
        let least = Noted {
            request: [0; 16],
            at_ms: 0,
            key: None,
            tags: &[],
            status: 0,
            code: None,
            replayed: false,
            micros: [0; TIMES],
        };
        vec![
            (KINDS[0], call.clone()),
            (KINDS[0], Noted { at_ms: call.at_ms - 7, key: Some([3; TAG]), ..call.clone() }),
            (KINDS[1], largest),
            (KINDS[2], Noted { replayed: true, code: None, ..call.clone() }),
            (KINDS[0], least),
            (KINDS[1], Noted { code: Some(i64::MIN), tags: &[[4; TAG], [5; TAG]], ..call }),
        ]
    }

    fn written(calls: &[(Kind, Noted<'_>)]) -> (Vec<u8>, Vec<u8>) {
        let mut block = Block::default();
        KINDS.iter().for_each(|kind| _ = block.name(*kind));
        for (kind, call) in calls {
            let number = KINDS.iter().position(|known| known == kind).expect("a kind");
            block.add(number as u64, call);
        }
        block.finish()
    }

    #[test]
    fn a_block_is_read_as_it_was_written() {
        for count in 0..=calls().len() {
            let calls = &calls()[..count];
            let (ids, rest) = written(calls);
            assert_eq!(read(&ids, &rest).as_deref(), Some(calls));
        }
    }

    #[test]
    fn a_block_knows_its_newest_call_wherever_it_stands() {
        for (times, newest) in [(&[][..], 0), (&[5], 5), (&[5, 9, 7], 9), (&[9, 5], 9)] {
            let mut block = Block::default();
            let kind = block.name(KINDS[0]);
            times.iter().for_each(|at_ms| block.add(kind, &Noted { at_ms: *at_ms, ..usual() }));
            assert_eq!(block.newest_ms(), newest, "{times:?}");
        }
    }

    #[test]
    fn a_usual_call_takes_no_more_than_its_ids_and_some_twenty_bytes() {
        let later = |ms| (KINDS[0], Noted { at_ms: usual().at_ms + ms, ..usual() });
        let (one, two) = (written(&[later(0)]), written(&[later(0), later(30)]));
        assert_eq!((two.0.len() - one.0.len(), two.1.len() - one.1.len()), (32, 18));
    }

    #[test]
    fn a_block_that_is_not_whole_is_none() {
        let (ids, rest) = written(&calls());
        for length in 0..ids.len() {
            assert_eq!(read(&ids[..length], &rest), None, "{length} bytes of ids");
        }
        for length in 0..rest.len() {
            assert_eq!(read(&ids, &rest[..length]), None, "{length} bytes of the rest");
        }
        assert_eq!(read(&[ids.clone(), vec![0; TAG]].concat(), &rest), None, "an id too much");
        assert_eq!(read(&ids, &[&rest[..], &[0]].concat()), None, "a byte too much");
        assert_eq!(read(&ids, &[&[FORM + 1], &rest[1..]].concat()), None, "of a later version");
    }

    #[test]
    fn a_block_that_was_changed_is_read_to_an_end() {
        let (ids, rest) = written(&calls());
        for bit in 0..rest.len() * 8 {
            let mut changed = rest.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Some(calls) = read(&ids, &changed) {
                let taken = |call: &Noted<'_>| 1 + usize::from(call.key.is_some()) + call.tags.len();
                assert_eq!(calls.iter().map(|(_, call)| taken(call)).sum::<usize>() * TAG, ids.len(), "bit {bit}");
            }
        }
        // As many kinds as nothing holds.
        assert_eq!(read(&[], &[FORM, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), None);
    }

    #[test]
    fn numbers_are_read_as_they_are_written_and_no_larger_ones() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            assert_eq!(bytes.len(), (64 - number.leading_zeros()).div_ceil(7).max(1) as usize);
            let mut rest = Rest(&bytes);
            assert_eq!((rest.number(), rest.0), (Some(number), &[][..]));
        }
        for number in [0, -1, 1, -64, 63, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, zigzag(number));
            assert_eq!(Rest(&bytes).signed(), Some(number));
        }
        assert_eq!([0, -1, 1, -64, 63].map(zigzag), [0, 1, 2, 127, 126]);
        for wrong in [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Rest(wrong).number(), None, "{wrong:?}");
        }
        let beyond = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(Rest(&beyond).number(), None, "2^64 and more");
    }
}
