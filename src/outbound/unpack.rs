//! The text of a sealed answer on its way to the opener: counted, and unpacked if it is compressed.
//!
//! It holds no text: what arrives is opened at once, so that a small answer which unpacks to a large one costs no
//! more than the limit. It never decides what a program is told.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::envelope::Opener;

/// Why a text cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoilt {
    /// It is over the limit, as it arrived or unpacked.
    TooLarge,
    /// It is not what was sealed: a fixed word for log and metrics.
    Unreadable(&'static str),
}

/// A sealed text, taken piece by piece.
#[expect(clippy::large_enum_variant, reason = "the usual case, which every sealed answer is, stays off the heap")]
pub(super) enum SealedText {
    /// As it was sealed.
    Plain(Counted),
    /// In gzip, and how many more bytes of that may come.
    Packed(Box<MultiGzDecoder<Counted>>, usize),
}

/// Counts what goes into the opener.
pub(super) struct Counted {
    opener: Opener,
    room: usize,
    spoilt: Option<Spoilt>,
}

impl SealedText {
    /// For a text of up to `limit` bytes, in gzip or not.
    pub(super) fn new(opener: Opener, limit: usize, packed: bool) -> Self {
        let counted = Counted { opener, room: limit, spoilt: None };
        if packed { Self::Packed(Box::new(MultiGzDecoder::new(counted)), limit) } else { Self::Plain(counted) }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Spoilt> {
        match self {
            Self::Plain(counted) => counted.push(piece),
            Self::Packed(unpacked, room) => {
                *room = room.checked_sub(piece.len()).ok_or(Spoilt::TooLarge)?;
                unpacked.write_all(piece).map_err(|_| unpacked.get_ref().reason())
            }
        }
    }

    /// The plaintext, once the whole text was taken and its digest is right.
    pub(super) fn finish(self, signed: &[u8]) -> Result<Vec<u8>, Spoilt> {
        let counted = match self {
            Self::Plain(counted) => counted,
            Self::Packed(mut unpacked, _) => {
                unpacked.try_finish().map_err(|_| unpacked.get_ref().reason())?;
                unpacked.finish().map_err(|_| Spoilt::Unreadable(COMPRESSION))?
            }
        };
        counted.opener.finish(signed).map_err(|error| Spoilt::Unreadable(error.reason()))
    }
}

/// Says that the gzip itself is broken.
const COMPRESSION: &str = "compression";

impl Counted {
    fn push(&mut self, text: &[u8]) -> Result<(), Spoilt> {
        self.room = self.room.checked_sub(text.len()).ok_or(Spoilt::TooLarge)?;
        self.opener.push(text).map_err(|error| Spoilt::Unreadable(error.reason()))
    }

    /// What stopped the unpacking: the text, or the gzip around it.
    fn reason(&self) -> Spoilt {
        self.spoilt.unwrap_or(Spoilt::Unreadable(COMPRESSION))
    }
}

impl Write for Counted {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self.push(text) {
            Ok(()) => Ok(text.len()),
            Err(spoilt) => {
                self.spoilt = Some(spoilt);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::config::Scheme;
    use crate::envelope::{Cipher, Sealed};
    use crate::secret::Secret;

    /// Pushes these bytes in pieces of seven; the limit is that of the text.
    fn open(bytes: &[u8], limit: usize, packed: bool, signed: &[u8]) -> Result<Vec<u8>, Spoilt> {
        let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new("airudderredduria")).expect("a key");
        let mut text = SealedText::new(cipher.opener(None), limit, packed);
        for piece in bytes.chunks(7) {
            text.push(piece)?;
        }
        text.finish(signed)
    }

    #[test]
    fn a_text_is_opened_within_its_limit_packed_or_not() {
        let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new("airudderredduria")).expect("a key");
        let plain = "a".repeat(5000);
        let Sealed { text, signed } = cipher.seal(plain.as_bytes());
        let signed = signed.as_str().as_bytes();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&text).expect("memory");
        let packed = encoder.finish().expect("memory");
        let mut spoilt = text.to_vec();
        spoilt[100] = b'*';
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&spoilt).expect("memory");
        let packed_spoilt = encoder.finish().expect("memory");
        let whole = Ok(plain.into_bytes());
        let unreadable = |reason| Err(Spoilt::Unreadable(reason));
        let (len, too_large) = (text.len(), Err(Spoilt::TooLarge));
        for (what, bytes, limit, is_packed, expected) in [
            ("plain", text.as_ref(), len, false, &whole),
            ("plain over the limit", &text, len - 1, false, &too_large),
            ("packed", &packed, len, true, &whole),
            ("packed over the limit", &packed, len - 1, true, &too_large),
            ("packed over the limit as it came", &packed, packed.len() - 1, true, &too_large),
            ("cut", &packed[..packed.len() - 20], len, true, &unreadable("compression")),
            ("without its end", &packed[..packed.len() - 4], len, true, &unreadable("compression")),
            ("not packed", &text, len, true, &unreadable("compression")),
            ("spoilt", &spoilt, len, false, &unreadable("base64")),
            ("spoilt and packed", &packed_spoilt, len, true, &unreadable("base64")),
            ("nothing", b"", len, false, &unreadable("length")),
        ] {
            assert_eq!(&open(bytes, limit, is_packed, signed), expected, "{what}");
        }
        assert_eq!(open(&text, len, false, b""), unreadable("digest"));
    }
}
