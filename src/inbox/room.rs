//! How much of the store is used, estimated between two looks at the database.
//!
//! It counts bytes and decides nothing else. What is delivered makes room, and remembered answers; what waits never does.

use super::pages::on_disk;

/// What an entry needs beside its sealed body, and what each of its deliveries does, at most: rows, and what finds them.
const ENTRY: u64 = 320;
const DELIVERY: u64 = 192;

/// What an entry with a body of so many bytes needs in all.
fn whole(bytes: usize, deliveries: usize) -> u64 {
    on_disk(bytes as u64) + ENTRY + deliveries as u64 * DELIVERY
}

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

    /// Takes room for a sealed body and so many deliveries of it; false when there is none.
    pub(super) fn take(&mut self, bytes: usize, deliveries: usize) -> bool {
        let bytes = whole(bytes, deliveries);
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
        self.used += whole(bytes, 0);
        self.added += whole(bytes, 0);
    }

    /// The ledger has grown by the first and has given back the second.
    pub(super) fn noted(&mut self, written: u64, forgotten: u64) {
        self.used = (self.used + written).saturating_sub(forgotten);
        self.added += written;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_and_what_is_promised_never_pass_the_bound_together() {
        let (one, large) = (whole(100, 1), whole(10_000, 3));
        let mut room = Room::new(10 * one + large);
        room.look(4 * one);
        assert!(room.promise(2 * one) && room.take(100, 1));
        assert!(!room.promise(3 * one + large + 1), "a byte too much");
        assert!(
            room.take(10_000, 3) && room.take(100, 1) && room.take(100, 1) && room.take(100, 1),
            "exactly what is left"
        );
        assert!(!room.promise(1) && !room.take(0, 0));
        room.look_at_promises(0);
        assert!(!room.promise(2 * one + 1) && room.promise(one) && room.promise(one));
        // What was promised is given in any case.
        room.redeem(100);
        assert_eq!(room.used, 8 * one + large + whole(100, 0));
        room.look(10 * one + 1);
        room.look_at_promises(0);
        assert!(!room.take(10_000, 3), "a byte too little");
    }

    #[test]
    fn what_a_commit_writes_is_counted_once() {
        let mut room = Room::new(1 << 20);
        let empty = room.written();
        assert!(empty > 2 * u64::from(crate::inbox::schema::PAGE), "also an empty one writes pages");
        assert!(room.take(1_000, 2));
        room.redeem(500);
        assert_eq!(room.written() - empty, 2 * (whole(1_000, 2) + whole(500, 0)));
        assert_eq!(room.written(), empty);
        assert!(!room.take(2 << 20, 0));
        assert_eq!(room.written(), empty, "what did not fit was not written");
    }

    #[test]
    fn what_the_ledger_gives_back_is_room_again_and_was_written_all_the_same() {
        let mut room = Room::new(10_000);
        room.look(1_000);
        let empty = room.written();
        room.noted(3_000, 0);
        assert_eq!((room.used, room.written() - empty), (4_000, 2 * 3_000));
        room.noted(500, 1_500);
        assert_eq!((room.used, room.written() - empty), (3_000, 2 * 500));
        room.noted(0, 9_000);
        assert_eq!((room.used, room.written()), (0, empty), "what was counted in pages may be a little less");
    }

    #[test]
    fn room_is_short_a_little_before_it_is_full_and_that_is_news_once() {
        let mut room = Room::new(12_800);
        let mut seen = |used, promised| {
            room.look(used);
            room.look_at_promises(promised);
            (room.is_short(), room.is_full(), room.became_short())
        };
        assert_eq!(seen(0, 0), (false, false, false));
        assert_eq!(seen(12_400, 0), (false, false, false));
        assert_eq!(seen(12_300, 101), (true, false, true));
        assert_eq!(seen(12_700, 0), (true, false, false));
        assert_eq!(seen(12_600, 101), (true, true, false));
        assert_eq!(seen(100, 0), (false, false, false));
        assert_eq!(seen(12_401, 0), (true, false, true), "it is news again");
    }
}
