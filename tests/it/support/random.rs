//! Random input that can be had again: each run prints its seed. It is no source of secrets.

/// SplitMix64: enough to choose test cases.
pub(crate) struct Random {
    /// What this run began with.
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    /// A new seed for each run. To repeat a run, put its seed here.
    pub(crate) fn new() -> Self {
        let seed = getrandom::u64().expect("randomness for a seed");
        println!("seed {seed:#x}");
        Self::from_seed(seed)
    }

    /// The same run again.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// So many random bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            std::iter::repeat_with(|| self.next().to_le_bytes()).take(len / 8 + 1).flatten().collect();
        bytes.truncate(len);
        bytes
    }
}
