//! Opening: read base64, decrypt, hash and unpad, as the text arrives.
//!
//! Each batch is decoded into the one allocation of the plaintext, decrypted there and hashed up to what may
//! still be padding. It hands out nothing before the signature was checked.

use std::fmt;

use base64_simd::STANDARD as BASE64;

use super::blocks::{Block, Chain};
use super::signed::Digest;
use super::{BATCH_GROUPS, BLOCK, Cipher, Mode, OpenError, TEXT_GROUP};

/// SHA-256 works on blocks of this many bytes; hashing whole ones spares it a copy.
const HASH_BLOCK: usize = 64;

/// Opens a text as it arrives. Made by [`Cipher::opener`]. After an error it stays failed.
pub struct Opener {
    cipher: Cipher,
    chain: Chain,
    /// The next block is the prefixed IV.
    iv_due: bool,
    digest: Digest,
    /// The start of the next group of base64.
    carry: [u8; TEXT_GROUP],
    filled: usize,
    /// Decrypted, with what may be padding at its end.
    plain: Vec<u8>,
    /// How much of `plain` went into the digest.
    hashed: usize,
    reading: Reading,
}

/// Where in the text the opener is. Servers add line ends, so spaces, CR and LF around the text are tolerated;
/// inside they are an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Before,
    Text,
    After,
    Failed(OpenError),
}

impl Opener {
    pub(super) fn new(cipher: Cipher, text_len: Option<usize>) -> Self {
        let (chain, iv_due) = match cipher.mode() {
            Mode::EcbZero => (Chain::Ecb, false),
            Mode::CbcFixed(iv) => (Chain::Cbc(*iv), false),
            Mode::CbcPrefix(_) => (Chain::Cbc(Block::default()), true),
        };
        let mut plain = Vec::new();
        if let Some(text_len) = text_len {
            // Refused only for an absurd length; then the plaintext grows as it is read, like without a length.
            let _ = plain.try_reserve_exact(text_len / 4 * 3);
        }
        Self {
            cipher,
            chain,
            iv_due,
            digest: Digest::new(),
            carry: [0; TEXT_GROUP],
            filled: 0,
            plain,
            hashed: 0,
            reading: Reading::Before,
        }
    }

    /// Takes the next bytes of the text, any number of them.
    ///
    /// # Errors
    ///
    /// [`OpenError::Base64`] as soon as it is seen; the rest of the text need not be read.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), OpenError> {
        if let Reading::Failed(error) = self.reading {
            return Err(error);
        }
        self.read(chunk).inspect_err(|error| self.reading = Reading::Failed(*error))
    }

    /// Ends the text and gives the plaintext. `signed` is the value of the `Signed` header, empty when there was
    /// none: then the signature does not match.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`] but [`OpenError::NotText`].
    pub fn finish(mut self, signed: &[u8]) -> Result<Vec<u8>, OpenError> {
        if let Reading::Failed(error) = self.reading {
            return Err(error);
        }
        let carry = self.carry;
        let start = self.decode(&carry[..self.filled])?;
        self.decrypt(start)?;
        if self.plain.is_empty() {
            return Err(OpenError::Length);
        }
        let (end, padded) = match self.chain {
            Chain::Ecb => (end_without_zeros(&self.plain, self.hashed).unwrap_or(self.hashed), true),
            Chain::Cbc(_) => end_without_pkcs7(&self.plain),
        };
        // With bad padding the digest is computed all the same, so that the time does not tell either.
        self.digest.update(&self.plain[self.hashed..end]);
        let matches = self.digest.finish().matches(signed);
        self.plain.truncate(end);
        match (padded, matches) {
            (true, true) => Ok(self.plain),
            (true, false) => Err(OpenError::Digest),
            (false, _) => Err(OpenError::Padding),
        }
    }

    fn read(&mut self, chunk: &[u8]) -> Result<(), OpenError> {
        let chunk = if self.reading == Reading::Before { trim_start(chunk) } else { chunk };
        let mut text = trim_end(chunk);
        if self.reading == Reading::After && !text.is_empty() {
            return Err(OpenError::Base64);
        }
        if text.len() < chunk.len() {
            self.reading = Reading::After;
        } else if !text.is_empty() {
            self.reading = Reading::Text;
        }

        if self.filled > 0 {
            let (head, rest) = text.split_at(text.len().min(TEXT_GROUP - self.filled));
            self.carry(head);
            if self.filled < TEXT_GROUP {
                return Ok(());
            }
            let carry = self.carry;
            self.filled = 0;
            self.open_groups(&carry)?;
            text = rest;
        }
        let (groups, tail) = text.split_at(text.len() - text.len() % TEXT_GROUP);
        for batch in groups.chunks(BATCH_GROUPS * TEXT_GROUP) {
            self.open_groups(batch)?;
        }
        self.carry(tail);
        Ok(())
    }

    fn carry(&mut self, text: &[u8]) {
        self.carry[self.filled..][..text.len()].copy_from_slice(text);
        self.filled += text.len();
    }

    /// Opens whole groups from the middle of the text.
    fn open_groups(&mut self, text: &[u8]) -> Result<(), OpenError> {
        let start = self.decode(text)?;
        if self.plain.len() - start != text.len() / 4 * 3 {
            return Err(OpenError::Base64); // `=` may stand at the end of the text only
        }
        self.decrypt(start)?;
        let settled = match self.chain {
            // Zeros at the end may be padding, and so may all those before them: they wait for a byte after them.
            Chain::Ecb => end_without_zeros(&self.plain, start).unwrap_or(0),
            Chain::Cbc(_) => self.plain.len() - BLOCK,
        };
        let settled = settled - settled % HASH_BLOCK;
        if settled > self.hashed {
            self.digest.update(&self.plain[self.hashed..settled]);
            self.hashed = settled;
        }
        Ok(())
    }

    /// Appends the bytes of `text` to `plain`, still encrypted, and gives where they start.
    fn decode(&mut self, text: &[u8]) -> Result<usize, OpenError> {
        let start = self.plain.len();
        // The crate reserves exactly what it writes; without a known length that would copy the bytes at each batch.
        self.plain.reserve(text.len() / 4 * 3);
        BASE64.decode_append(text, &mut self.plain).map_err(|_| OpenError::Base64)?;
        Ok(start)
    }

    /// Decrypts `plain` from `start` on, and takes the prefixed IV out of it.
    fn decrypt(&mut self, start: usize) -> Result<(), OpenError> {
        if self.iv_due
            && let Some((iv, _)) = self.plain.split_first_chunk::<BLOCK>()
        {
            self.chain = Chain::Cbc(Block::from(*iv));
            self.iv_due = false;
            self.plain.drain(..BLOCK);
        }
        let (blocks, rest) = Block::slice_as_chunks_mut(&mut self.plain[start..]);
        if !rest.is_empty() {
            return Err(OpenError::Length);
        }
        self.cipher.schedule().decrypt(&mut self.chain, blocks);
        Ok(())
    }
}

/// Nothing of the text or the plaintext is printed.
impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({:?}, {} bytes)", self.cipher, self.plain.len())
    }
}

/// An opened plaintext as text.
///
/// # Errors
///
/// [`OpenError::NotText`] when it is not UTF-8.
pub fn into_text(plain: Vec<u8>) -> Result<String, OpenError> {
    String::from_utf8(plain).map_err(|_| OpenError::NotText)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\r' | b'\n')
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    &text[start..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &text[..end]
}

/// Where `plain` ends without its trailing zeros, or `None` when all is zero from `start` on.
fn end_without_zeros(plain: &[u8], start: usize) -> Option<usize> {
    plain[start..].iter().rposition(|byte| *byte != 0).map(|last| start + last + 1)
}

/// Where `plain`, at least a block, ends without its PKCS#7 padding, and whether that padding is good; if not, nothing
/// is cut off. Looks at the whole last block whatever it holds.
fn end_without_pkcs7(plain: &[u8]) -> (usize, bool) {
    let Some(block) = plain.last_chunk::<BLOCK>() else { return (plain.len(), false) };
    let padding = block[BLOCK - 1];
    let mut bad = padding == 0 || usize::from(padding) > BLOCK;
    for (from_end, byte) in (0..).zip(block.iter().rev()) {
        bad |= from_end < padding && *byte != padding;
    }
    (plain.len() - if bad { 0 } else { usize::from(padding) }, !bad)
}
