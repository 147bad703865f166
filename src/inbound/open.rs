//! Opening a callback: from the bytes that arrived to JSON that may be stored, with what is known of it.
//!
//! Pure and without a wait, so that it can run anywhere. Why a body does not open is a word for operators, never for
//! the peer.

use std::sync::Arc;

use bytes::Bytes;

use super::kind;
use super::source::Source;
use crate::config::SourceEncryption;
use crate::envelope::OpenError;
use crate::inbox::Ids;
use crate::inbox::Kind;

/// A callback whose content is proved to be what was signed, as far as the source asks for it, and to be JSON.
pub(super) struct Opened {
    /// The JSON text.
    pub(super) text: Bytes,
    pub(super) was_sealed: bool,
    pub(super) kind: Kind,
    pub(super) ids: Ids,
    /// Who is to have it.
    pub(super) receivers: Vec<Arc<str>>,
}

/// What the header says of a body.
#[derive(Clone)]
pub(super) struct Marks {
    /// Whether it is sealed; `None` when the markers contradict each other.
    pub(super) sealed: Option<bool>,
    /// The value of `Signed`.
    pub(super) signed: Option<Vec<u8>>,
}

/// Why a body could not be opened: a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unopened(pub(super) &'static str);

/// Opens a body.
pub(super) fn open(source: &Source, marks: &Marks, body: Bytes) -> Result<Opened, Unopened> {
    let was_sealed = is_sealed(source.encryption, marks)?;
    let text = if was_sealed {
        let cipher = source.cipher.as_ref().ok_or(Unopened("no_key"))?;
        let signed = marks.signed.as_deref();
        let plain = cipher.open(&body, signed.unwrap_or_default()).map_err(|error| match error {
            OpenError::Digest if signed.is_none() => Unopened("unsigned"),
            error => Unopened(error.reason()),
        })?;
        Bytes::from(plain)
    } else {
        body
    };
    let json = std::str::from_utf8(&text).map_err(|_| Unopened(OpenError::NotText.reason()))?;
    let (kind, ids) = kind::read(json).ok_or(Unopened("not_json"))?;
    let receivers = source.takers(json);
    Ok(Opened { text, was_sealed, kind, ids, receivers })
}

/// Whether a body has to be opened, or whether it can not be what the source is configured for.
fn is_sealed(encryption: SourceEncryption, marks: &Marks) -> Result<bool, Unopened> {
    match (encryption, marks.sealed) {
        (SourceEncryption::Off, _) => Ok(false),
        (_, None) => Err(Unopened("ambiguous")),
        (SourceEncryption::Required, Some(false)) => Err(Unopened("plain")),
        (_, Some(sealed)) => Ok(sealed),
    }
}
