//! Sealing: hash, pad, encrypt and write base64, as the plaintext arrives.
//!
//! Each batch is hashed, encrypted into a small buffer on the stack and written as base64 straight into the one
//! allocation of the text. It never holds the plaintext, only what is left of the last group (47 bytes at most).

use std::fmt;

use base64_simd::STANDARD as BASE64;
use bytes::Bytes;

use super::blocks::{Block, Chain};
use super::signed::{Digest, Signed};
use super::{BATCH, BLOCK, Cipher, GROUP, Mode, STEP, text_len};

/// A sealed plaintext.
#[derive(Clone)]
pub struct Sealed {
    /// Standard base64 with padding on one line: the body, or the query, as it goes on the wire.
    pub text: Bytes,
    /// The value of the `Signed` header.
    pub signed: Signed,
}

/// Even a sealed body is a body: only its length is printed.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.text.len())
    }
}

/// Seals a plaintext as it arrives. Made by [`Cipher::sealer`].
pub struct Sealer {
    cipher: Cipher,
    chain: Chain,
    digest: Digest,
    /// The start of the next group: plaintext, after `iv_len` bytes that are ciphertext already.
    carry: [u8; GROUP],
    filled: usize,
    iv_len: usize,
    has_iv: bool,
    text: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(cipher: Cipher, plain_len: Option<usize>) -> Self {
        let mut carry = [0; GROUP];
        let (chain, iv_len) = match cipher.mode() {
            Mode::EcbZero => (Chain::Ecb, 0),
            Mode::CbcFixed(iv) => (Chain::Cbc(*iv), 0),
            Mode::CbcPrefix(source) => {
                let iv = source.fresh();
                carry[..BLOCK].copy_from_slice(&iv);
                (Chain::Cbc(iv), BLOCK)
            }
        };
        let has_iv = iv_len > 0;
        let mut sealer =
            Self { cipher, chain, digest: Digest::new(), carry, filled: iv_len, iv_len, has_iv, text: Vec::new() };
        if let Some(plain_len) = plain_len {
            sealer.expect(plain_len);
        }
        sealer
    }

    /// Makes room at once for a plaintext of `plain_len` bytes in all, when that becomes known on the way. Without
    /// it the text doubles as it grows, and needs up to three times its size while it moves.
    pub fn expect(&mut self, plain_len: usize) {
        // Refused only for an absurd length; then the text grows as it is written, like without a length.
        let more = text_len(plain_len, self.has_iv).saturating_sub(self.text.len());
        let _ = self.text.try_reserve_exact(more);
    }

    /// Takes the next bytes of the plaintext, any number of them.
    pub fn push(&mut self, mut chunk: &[u8]) {
        if self.filled > 0 {
            let (head, rest) = chunk.split_at(chunk.len().min(GROUP - self.filled));
            self.carry(head);
            if self.filled < GROUP {
                return;
            }
            self.flush(GROUP);
            chunk = rest;
        }
        let (groups, tail) = chunk.split_at(chunk.len() - chunk.len() % GROUP);
        let batch_len = match self.chain {
            Chain::Ecb => BATCH,
            // Chained blocks wait for each other like SHA-256 does: in small steps the two run side by side.
            Chain::Cbc(_) => STEP,
        };
        let mut buffer = [Block::default(); BATCH / BLOCK];
        for batch in groups.chunks(batch_len) {
            let (plain, _) = Block::slice_as_chunks(batch);
            let sealed = &mut buffer[..plain.len()];
            self.cipher.schedule().encrypt(&mut self.chain, plain, sealed);
            for (plain, sealed) in batch.chunks(STEP).zip(Block::slice_as_flattened(sealed).chunks(STEP)) {
                self.digest.update(plain);
                append_base64(&mut self.text, sealed);
            }
        }
        self.carry(tail);
    }

    /// Ends the plaintext.
    pub fn finish(self) -> Sealed {
        let (text, signed) = self.into_parts();
        // No copy when the capacity is the length.
        Sealed { text: Bytes::from(text), signed }
    }

    fn into_parts(mut self) -> (Vec<u8>, Signed) {
        let padded = (self.filled / BLOCK + 1) * BLOCK;
        let padding = match self.chain {
            Chain::Ecb => 0,
            Chain::Cbc(_) => (padded - self.filled) as u8,
        };
        self.carry[self.filled..padded].fill(padding);
        self.flush(padded);
        (self.text, self.digest.finish())
    }

    fn carry(&mut self, plain: &[u8]) {
        self.digest.update(plain);
        self.carry[self.filled..][..plain.len()].copy_from_slice(plain);
        self.filled += plain.len();
    }

    /// Encrypts and writes the first `len` bytes of the carried group, a whole number of blocks.
    fn flush(&mut self, len: usize) {
        let mut sealed = self.carry;
        let (plain, _) = Block::slice_as_chunks(&self.carry[self.iv_len..len]);
        let (blocks, _) = Block::slice_as_chunks_mut(&mut sealed[self.iv_len..len]);
        self.cipher.schedule().encrypt(&mut self.chain, plain, blocks);
        append_base64(&mut self.text, &sealed[..len]);
        (self.filled, self.iv_len) = (0, 0);
    }
}

/// The carry is plaintext, so nothing of it is printed.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?}, {} bytes)", self.cipher, self.text.len())
    }
}

fn append_base64(text: &mut Vec<u8>, bytes: &[u8]) {
    // The crate reserves exactly what it writes; without a known length that would copy the text at each batch.
    text.reserve(BASE64.encoded_length(bytes.len()));
    BASE64.encode_append(bytes, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Iv, Scheme};
    use crate::envelope::sealed_len;
    use crate::secret::Secret;

    #[test]
    fn the_text_has_one_allocation_of_the_exact_size() {
        for scheme in [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed([1; 16])), Scheme::CbcPkcs7(Iv::Prefix)] {
            let cipher = Cipher::try_new(&scheme, &Secret::new([2; 16])).expect("a key of 16 bytes");
            for len in (0..400).chain([3071, 3072, 3073, 65_535, 1 << 20]) {
                let plain = vec![b'p'; len];
                let mut sealer = cipher.sealer(Some(len));
                let (start, room) = (sealer.text.as_ptr(), sealer.text.capacity());
                for chunk in plain.chunks(len / 3 + 1) {
                    sealer.push(chunk);
                }
                let (text, _) = sealer.into_parts();
                assert_eq!(text.len(), sealed_len(&scheme, len), "{scheme:?} {len}");
                assert_eq!((text.len(), text.capacity()), (room, room), "{scheme:?} {len}");
                assert_eq!(text.as_ptr(), start, "{scheme:?} {len}");
            }
        }
    }

    #[test]
    fn without_a_length_the_text_grows_by_doubling() {
        let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new([2; 16])).expect("a key of 16 bytes");
        let mut sealer = cipher.sealer(None);
        let (mut moves, mut room) = (0, 0);
        for _ in 0..1000 {
            sealer.push(&[b'p'; 480]);
            moves += usize::from(sealer.text.capacity() != room);
            room = sealer.text.capacity();
        }
        assert!(moves < 20, "{moves} allocations");
    }
}
