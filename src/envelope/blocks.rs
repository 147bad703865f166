//! AES over whole blocks: one block by itself (ECB) or chained to the one before (CBC), and random IVs.
//!
//! The only file that names the `aes` and `cbc` crates. It knows nothing of padding, base64 or digests, and it
//! never sees a partial block.

use std::sync::atomic::{AtomicU64, Ordering};

use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, IvState, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use zeroize::Zeroizing;

use super::KeyError;

/// One AES block, 16 bytes.
pub(super) type Block = aes::Block;

/// A key, expanded for both directions. The `aes` crate picks the instructions at run time.
pub(super) enum Schedule {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

/// What a block is chained to: nothing, or the ciphertext block before it (at first the IV).
#[derive(Clone, Copy)]
pub(super) enum Chain {
    Ecb,
    Cbc(Block),
}

impl Schedule {
    pub(super) fn try_new(key: &[u8]) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Length(key.len());
        match key.len() {
            16 => Aes128::new_from_slice(key).map(Self::Aes128).map_err(refused),
            24 => Aes192::new_from_slice(key).map(Self::Aes192).map_err(refused),
            _ => Aes256::new_from_slice(key).map(Self::Aes256).map_err(refused),
        }
    }

    /// Encrypts `from` into the equally long `to` and moves the chain on.
    pub(super) fn encrypt(&self, chain: &mut Chain, from: &[Block], to: &mut [Block]) {
        match self {
            Self::Aes128(aes) => encrypt(aes, chain, from, to),
            Self::Aes192(aes) => encrypt(aes, chain, from, to),
            Self::Aes256(aes) => encrypt(aes, chain, from, to),
        }
    }

    /// Decrypts in place and moves the chain on.
    pub(super) fn decrypt(&self, chain: &mut Chain, blocks: &mut [Block]) {
        match self {
            Self::Aes128(aes) => decrypt(aes, chain, blocks),
            Self::Aes192(aes) => decrypt(aes, chain, blocks),
            Self::Aes256(aes) => decrypt(aes, chain, blocks),
        }
    }
}

#[expect(clippy::expect_used, reason = "the one caller cuts both slices to the same length")]
fn encrypt<A: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
    aes: &A,
    chain: &mut Chain,
    from: &[Block],
    to: &mut [Block],
) {
    match chain {
        Chain::Ecb => aes.encrypt_blocks_b2b(from, to),
        Chain::Cbc(last) => {
            let mut mode = cbc::Encryptor::inner_iv_init(aes, last);
            let done = mode.encrypt_blocks_b2b(from, to);
            *last = mode.iv_state();
            done
        }
    }
    .expect("equally long slices");
}

fn decrypt<A: BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>>(
    aes: &A,
    chain: &mut Chain,
    blocks: &mut [Block],
) {
    match chain {
        Chain::Ecb => aes.decrypt_blocks(blocks),
        Chain::Cbc(last) => {
            let mut mode = cbc::Decryptor::inner_iv_init(aes, last);
            mode.decrypt_blocks(blocks);
            *last = mode.iv_state();
        }
    }
}

/// Unpredictable IVs that cannot run out: a counter, encrypted with a random key of its own (the method of NIST SP
/// 800-38A, appendix C, with a key that seals nothing else). Never the same IV twice.
pub(super) struct IvSource {
    schedule: Schedule,
    next: AtomicU64,
}

impl IvSource {
    pub(super) fn try_new() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self { schedule: Schedule::try_new(key.as_slice())?, next: AtomicU64::new(0) })
    }

    pub(super) fn fresh(&self) -> Block {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut counter, mut iv) = (Block::default(), Block::default());
        counter[..8].copy_from_slice(&count.to_le_bytes());
        self.schedule.encrypt(&mut Chain::Ecb, &[counter], std::slice::from_mut(&mut iv));
        iv
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_ivs_differ_within_a_source_and_between_sources() {
        let mut seen = HashSet::new();
        for _ in 0..4 {
            let source = IvSource::try_new().expect("this machine has randomness");
            for _ in 0..1000 {
                assert!(seen.insert(<[u8; 16]>::from(source.fresh())));
            }
        }
    }
}
