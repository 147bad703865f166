//! Random-looking bytes for tokens, ids and jitter.
//! Never for keys: whoever asks for strength is in the wrong room.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One stream of numbers, seeded once from the system.
pub(super) struct Noise(AtomicU64);

impl Noise {
    /// Fails when the system has no randomness to seed it.
    pub(super) fn try_new() -> io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
        Ok(Self(AtomicU64::new(u64::from_le_bytes(seed))))
    }

    fn next(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }

    /// `N` bytes.
    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }

    /// 32 hex digits, the shape of the platform's ids.
    pub(super) fn id(&self) -> String {
        self.bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Between nothing and `most`.
    pub(super) fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
