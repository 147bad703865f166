//! Which bodies arrived in the last ten minutes, to tell the platform's repeats from new callbacks.
//!
//! In memory and bounded. The digest of each entry is part of its row, written by the same commit, so the marks are read
//! back at the start. It never sees a body.

use std::collections::{HashMap, VecDeque};

use super::vault::Tag;

/// The platform tries again within five minutes; twice that, as its own page advises.
pub(super) const WINDOW_MS: u64 = 10 * 60 * 1000;

/// Most marks: about 60 MiB. Beyond some 1,700 callbacks a second the window is shorter than ten minutes, and a repeat
/// from before it is stored again, which receivers have to expect anyway.
const MOST: usize = 1 << 20;

/// Digests by the time they arrived.
#[derive(Default)]
pub(super) struct Marks {
    newest: HashMap<Tag, u64>,
    /// In the order of arrival; one digest may stand here more than once.
    arrivals: VecDeque<(u64, Tag)>,
    /// What the transaction has replaced or made: the digest and what was there before.
    undo: Vec<(Tag, Option<u64>)>,
}

impl Marks {
    /// Whether it arrived within the ten minutes before. Of a clock that was set back by more than that nothing is known,
    /// and what is not known to be a repeat is none.
    pub(super) fn contains(&self, digest: &Tag, now_ms: u64) -> bool {
        self.newest.get(digest).is_some_and(|then| now_ms.abs_diff(*then) < WINDOW_MS)
    }

    /// Remembers it, until [`Marks::undo`] or for good after [`Marks::keep`].
    pub(super) fn insert(&mut self, digest: Tag, now_ms: u64) {
        let before = self.newest.insert(digest, now_ms);
        self.arrivals.push_back((now_ms, digest));
        self.undo.push((digest, before));
    }

    /// The transaction was committed. Forgets what is too old.
    pub(super) fn keep(&mut self, now_ms: u64) {
        self.undo.clear();
        while let Some((then, digest)) = self.arrivals.front() {
            if self.arrivals.len() <= MOST && now_ms.abs_diff(*then) < WINDOW_MS {
                break;
            }
            // A later arrival of the same digest keeps it.
            if self.newest.get(digest) == Some(then) {
                self.newest.remove(digest);
            }
            self.arrivals.pop_front();
        }
    }

    /// The transaction was not committed.
    pub(super) fn undo(&mut self) {
        for (digest, before) in self.undo.drain(..).rev() {
            self.arrivals.pop_back();
            match before {
                Some(then) => self.newest.insert(digest, then),
                None => self.newest.remove(&digest),
            };
        }
    }

    /// Most marks that are worth reading back.
    pub(super) const fn most() -> usize {
        MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tag = [1; 16];
    const TWO: Tag = [2; 16];

    #[test]
    fn a_body_is_a_repeat_for_ten_minutes_after_it_came_last() {
        let mut marks = Marks::default();
        marks.insert(ONE, 1_000);
        assert!(marks.contains(&ONE, 1_000 + WINDOW_MS - 1) && !marks.contains(&TWO, 1_000));
        assert!(!marks.contains(&ONE, 1_000 + WINDOW_MS));
        assert_eq!(WINDOW_MS, 600_000);
        marks.insert(ONE, 5_000);
        marks.insert(TWO, 6_000);
        marks.keep(1_000 + WINDOW_MS);
        assert_eq!(
            (marks.newest.len(), marks.arrivals.len()),
            (2, 2),
            "the first arrival is forgotten, the body is not"
        );
        assert!(marks.contains(&ONE, 5_000 + WINDOW_MS - 1));
        marks.keep(5_000 + WINDOW_MS);
        assert_eq!((marks.newest.len(), marks.arrivals.len()), (1, 1));
        marks.keep(6_000 + WINDOW_MS);
        assert!(marks.newest.is_empty() && marks.arrivals.is_empty());
    }

    #[test]
    fn what_came_after_a_clock_was_set_back_is_taken_for_new_and_what_is_in_the_future_forgotten() {
        let mut marks = Marks::default();
        marks.insert(ONE, 5 * WINDOW_MS);
        assert!(marks.contains(&ONE, 4 * WINDOW_MS + 1), "a little");
        assert!(!marks.contains(&ONE, 4 * WINDOW_MS), "by much");
        marks.keep(4 * WINDOW_MS + 1);
        assert_eq!(marks.newest.len(), 1);
        marks.keep(4 * WINDOW_MS);
        assert!(marks.newest.is_empty() && marks.arrivals.is_empty());
    }

    #[test]
    fn what_was_not_committed_is_as_if_it_had_not_come() {
        let mut marks = Marks::default();
        marks.insert(ONE, 1_000);
        marks.keep(1_000);
        marks.insert(ONE, 2_000);
        marks.insert(TWO, 3_000);
        marks.insert(TWO, 4_000);
        marks.undo();
        assert_eq!(marks.newest, HashMap::from([(ONE, 1_000)]));
        assert_eq!(marks.arrivals, [(1_000, ONE)]);
        marks.undo();
        assert!(marks.contains(&ONE, 1_000), "what was committed stays");
    }
}
