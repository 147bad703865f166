//! How much of the store is used, estimated between two looks at the database.
//!
//! It counts bytes and decides nothing else. What is delivered makes room, and remembered answers; what waits never does.

/// What an entry of any size needs beside its sealed body: rows, indexes and the unused end of a page.
const BESIDE: u64 = 512;

/// The bytes of the store.
pub(super) struct Room {
    max: u64,
    used: u64,
    /// Promised to answers that are under way.
    promised: u64,
    /// Added since [`Room::written`].
    added: u64,
    was_short: bool,
}

impl Room {
    pub(super) fn new(max: u64) -> Self {
        Self { max, used: 0, promised: 0, added: 0, was_short: false }
    }

    /// What the database says.
    pub(super) fn look(&mut self, used: u64) {
        self.used = used;
    }

    /// Takes room for a sealed body; false when there is none.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64 + BESIDE;
        let fits = self.used + self.promised + bytes <= self.max;
        if fits {
            self.used += bytes;
            self.added += bytes;
        }
        fits
    }

    /// Promises room for an answer that is to come; false when there is none.
    pub(super) fn promise(&mut self, bytes: u64) -> bool {
        let fits = self.used + self.promised + bytes <= self.max;
        if fits {
            self.promised += bytes;
        }
        fits
    }

    /// What is promised in all, as the rows say.
    pub(super) fn look_at_promises(&mut self, bytes: u64) {
        self.promised = bytes;
    }

    /// Takes what was promised before.
    pub(super) fn redeem(&mut self, bytes: usize) {
        self.used += bytes as u64 + BESIDE;
        self.added += bytes as u64 + BESIDE;
    }

    /// Bytes that were added since it was asked last, and something for the rest of a commit.
    pub(super) fn written(&mut self) -> u64 {
        std::mem::take(&mut self.added) * 2 + 4 * u64::from(super::schema::PAGE)
    }

    /// Little is left, a thirty-second part: delivered entries go, the oldest first, and after them answers.
    pub(super) fn is_short(&self) -> bool {
        self.used + self.promised > self.max - self.max / 32
    }

    /// Whether it has become short since it was asked last.
    pub(super) fn became_short(&mut self) -> bool {
        let is_short = self.is_short();
        let was_short = std::mem::replace(&mut self.was_short, is_short);
        is_short && !was_short
    }

    /// After something was refused: whether it is too early to say that there is room again.
    pub(super) fn is_full(&self) -> bool {
        self.used + self.promised + self.max / 128 > self.max
    }
}
