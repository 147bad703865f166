//! Opening: read base64, decrypt, hash and unpad, as the text arrives.
//!
//! The text is decoded into the one allocation of the plaintext, decrypted there and hashed up to what may still
//! be padding. It hands out nothing before the signature was checked.

use std::fmt;

use base64_simd::STANDARD as BASE64;

use super::blocks::{Block, Chain};
use super::signed::Digest;
use super::{BATCH, BLOCK, Cipher, Mode, OpenError, STEP, TEXT_GROUP};

/// Characters that are decoded at a time, beside [`STEP`] bytes that are hashed: about as many, and 8 more than a
/// multiple of the 32 that base64-simd reads at once, because it leaves 6 or more to its slow end.
const TEXT_STEP: usize = 8 * 32 + 8;

/// Bytes of one block of SHA-256, which copies what is not a whole block.
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
    /// Decoded bytes: `hashed <= settled <= decrypted <= plain.len()`, the padding among them.
    plain: Vec<u8>,
    /// How much of `plain` is decrypted.
    decrypted: usize,
    /// How much of that is no padding, whatever follows; a whole number of SHA-256's blocks.
    settled: usize,
    /// How much of that went into the digest. It lags by up to a batch, see [`STEP`].
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
            decrypted: 0,
            settled: 0,
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
        self.decode(&carry[..self.filled])?;
        self.decrypt(self.plain.len())?;
        if self.plain.is_empty() {
            return Err(OpenError::Length);
        }
        let (end, padded) = match self.chain {
            Chain::Ecb => (end_without_zeros(&self.plain, self.hashed).unwrap_or(self.hashed), true),
            Chain::Cbc(_) => end_without_pkcs7(&self.plain),
        };
        // With bad padding the digest is computed all the same, so that the time does not tell either.
        self.hash(end);
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
        self.open_groups(groups)?;
        self.carry(tail);
        Ok(())
    }

    fn carry(&mut self, text: &[u8]) {
        self.carry[self.filled..][..text.len()].copy_from_slice(text);
        self.filled += text.len();
    }

    /// Opens whole groups from the middle of the text.
    fn open_groups(&mut self, text: &[u8]) -> Result<(), OpenError> {
        // base64-simd reserves exactly what it writes, which would copy everything at each step.
        self.plain.reserve(text.len() / 4 * 3);
        for step in text.chunks(TEXT_STEP) {
            if self.decode(step)? != step.len() / 4 * 3 {
                return Err(OpenError::Base64); // `=` may stand at the end of the text only
            }
            if self.plain.len() >= self.decrypted + BATCH {
                self.hash(self.settled);
                self.decrypt(self.decrypted + BATCH)?;
                self.settle();
            }
            self.hash(self.settled.min(self.hashed + STEP));
        }
        Ok(())
    }

    /// Appends the bytes of `text` to `plain`, but for the prefixed IV. Gives how many bytes the text had.
    fn decode(&mut self, text: &[u8]) -> Result<usize, OpenError> {
        let start = self.plain.len();
        BASE64.decode_append(text, &mut self.plain).map_err(|_| OpenError::Base64)?;
        let decoded = self.plain.len() - start;
        if self.iv_due
            && let Some((iv, _)) = self.plain.split_first_chunk::<BLOCK>()
        {
            self.chain = Chain::Cbc(Block::from(*iv));
            self.iv_due = false;
            self.plain.drain(..BLOCK);
        }
        Ok(decoded)
    }

    fn decrypt(&mut self, end: usize) -> Result<(), OpenError> {
        let (blocks, rest) = Block::slice_as_chunks_mut(&mut self.plain[self.decrypted..end]);
        if !rest.is_empty() {
            return Err(OpenError::Length);
        }
        self.cipher.schedule().decrypt(&mut self.chain, blocks);
        self.decrypted = end;
        Ok(())
    }

    /// Moves `settled` on after a whole batch.
    fn settle(&mut self) {
        let end = match self.chain {
            // Zeros at the end may be padding, and so may all those before them: they wait for a byte after them.
            Chain::Ecb => end_without_zeros(&self.plain[..self.decrypted], self.decrypted - BATCH),
            Chain::Cbc(_) => Some(self.decrypted - BLOCK),
        };
        if let Some(end) = end {
            self.settled = end - end % HASH_BLOCK;
        }
    }

    fn hash(&mut self, end: usize) {
        self.digest.update(&self.plain[self.hashed..end]);
        self.hashed = end;
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

#[cfg(test)]
mod tests;
