//! What waits for the writer about keys: claims, ends, and what operators settle.
//!
//! It holds tags and sealed answers only. It never touches a row.

use std::sync::Arc;

use super::kinds::KeyId;
use crate::inbox::entry::Answer;
use crate::inbox::id::EntryId;
use crate::inbox::vault::Tag;

/// A change, and who waits to hear whether it was made.
pub(in crate::inbox) struct Work {
    pub(in crate::inbox) change: Change,
    pub(in crate::inbox) answer: Answer<bool>,
}

/// A change of one row.
pub(in crate::inbox) enum Change {
    /// The call may leave.
    Claim(Box<Claim>),
    /// It was not carried out: the row goes.
    Free(KeyId),
    /// Nobody knows how it ended.
    Doubt(KeyId),
    /// The platform answered.
    Kept(KeyId, Kept),
    /// An operator says how one of unknown end ended; `None`: not carried out.
    Settle(KeyId, Option<Kept>),
}

/// A key that is to be used.
pub(in crate::inbox) struct Claim {
    pub(super) id: KeyId,
    pub(super) tag: Tag,
    pub(super) alone: Tag,
    pub(super) body: Tag,
    pub(super) program: Arc<str>,
    pub(super) account: Arc<str>,
    pub(super) operation: Arc<str>,
}

/// An answer that there was. Without a sealed text it is known and not remembered; status 0: nobody knows the answer.
pub(in crate::inbox) struct Kept {
    pub(super) status: u16,
    pub(super) bytes: usize,
    pub(super) sealed: Option<(EntryId, Vec<u8>)>,
}

#[cfg(test)]
impl Change {
    /// The key of this number is to be used.
    pub(in crate::inbox) fn claim(number: u8) -> Self {
        let (id, tag, name) = (KeyId(number.into()), [number; 16], "-");
        let (program, account, operation) = (name.into(), name.into(), name.into());
        Self::Claim(Box::new(Claim { id, tag, alone: tag, body: tag, program, account, operation }))
    }

    /// The platform answered: these sealed bytes, under this number.
    pub(in crate::inbox) fn answered(nonce: EntryId, sealed: Vec<u8>) -> Self {
        Self::Kept(KeyId(nonce.row()), Kept { status: 200, bytes: sealed.len(), sealed: Some((nonce, sealed)) })
    }
}

impl Work {
    /// Bytes of memory that it holds.
    pub(in crate::inbox) fn bytes(&self) -> usize {
        let (Change::Kept(_, kept) | Change::Settle(_, Some(kept))) = &self.change else { return 0 };
        kept.sealed.as_ref().map_or(0, |(_, sealed)| sealed.len())
    }

    /// Whether it begins something. What ends something is always taken: it is bounded by what was begun.
    pub(in crate::inbox) fn begins(&self) -> bool {
        matches!(self.change, Change::Claim(_))
    }
}
