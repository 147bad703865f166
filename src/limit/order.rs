//! Who of those who wait comes before whom, with the number of those before anybody found without counting them.
//!
//! Keys in sorted chunks: finding the chunk is a search, those in front of it are a sum over chunks. It knows no calls.

/// Most keys of a chunk: half of them are moved by the dearest insertion, 4 KiB.
const CHUNK: usize = 512;

/// A virtual time and the lane that has it: the lane decides between two of the same time.
pub(super) type Key = (u64, usize);

/// Keys, none of them twice.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Descending, like the keys in each, so that the least is taken from an end. None is empty.
    chunks: Vec<Vec<Key>>,
    len: usize,
}

impl Order {
    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The least.
    pub(super) fn first(&self) -> Option<Key> {
        self.chunks.last()?.last().copied()
    }

    /// How many are less than this one.
    pub(super) fn before(&self, key: Key) -> usize {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get(at) else { return 0 };
        let here = chunk.len() - chunk.partition_point(|other| *other >= key);
        // Whichever side is shorter: the sum is what this costs when many wait.
        let sum = |chunks: &[Vec<Key>]| chunks.iter().map(Vec::len).sum::<usize>();
        let (above, below) = self.chunks.split_at(at);
        here + if at < self.chunks.len() / 2 { self.len - sum(above) - chunk.len() } else { sum(&below[1..]) }
    }

    pub(super) fn insert(&mut self, key: Key) {
        self.len += 1;
        // Into the last chunk whose least key is not above it, or the one with the least keys of all.
        let at = self.chunk_of(key).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push(key);
            self.chunks.push(chunk);
            return;
        };
        let place = chunk.partition_point(|other| *other > key);
        chunk.insert(place, key);
        if chunk.len() == CHUNK {
            let mut lesser = Vec::with_capacity(CHUNK);
            lesser.extend(chunk.drain(CHUNK / 2..));
            self.chunks.insert(at + 1, lesser);
        }
    }

    /// Takes it out, if it is there.
    pub(super) fn remove(&mut self, key: Key) {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let place = chunk.partition_point(|other| *other > key);
        if chunk.get(place) != Some(&key) {
            return;
        }
        chunk.remove(place);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
    }

    /// The first chunk whose least key is this one or less: where it is, or would be. Their number when all are above it.
    fn chunk_of(&self, key: Key) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|least| *least > key))
    }
}

impl FromIterator<Key> for Order {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut order = Self::default();
        keys.into_iter().for_each(|key| order.insert(key));
        order
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_sorted_set_that_knows_how_many_come_before() {
        let mut seed = 7_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        for (range, steps) in [(10, 200), (1 << 30, 6_000), (2_000, 20_000)] {
            let (mut order, mut counted) = (Order::default(), BTreeSet::new());
            for step in 0..steps {
                let key = (below(range), below(3) as usize);
                // Grows in the first half and shrinks in the second.
                match below(if step < steps / 2 { 3 } else { 8 }) {
                    0 | 1 if counted.insert(key) => order.insert(key),
                    2..5 => {
                        order.remove(key);
                        counted.remove(&key);
                    }
                    _ => {
                        if let Some(first) = counted.pop_first() {
                            assert_eq!(order.first(), Some(first));
                            order.remove(first);
                        }
                    }
                }
                assert_eq!((order.len(), order.first()), (counted.len(), counted.first().copied()));
                if step % 16 == 0 {
                    let key = (below(range + 2), below(4) as usize);
                    assert_eq!(order.before(key), counted.range(..key).count(), "{key:?}");
                }
            }
            let sizes: Vec<_> = order.chunks.iter().map(Vec::len).collect();
            assert!(sizes.iter().all(|size| (1..CHUNK).contains(size)), "{sizes:?}");
        }
    }

    #[test]
    fn what_it_is_made_of_does_not_matter() {
        let keys: Vec<Key> = (0..5_000).map(|number| (number * 7_919 % 5_003, 0)).collect();
        let order: Order = keys.iter().copied().collect();
        assert!(order.chunks.len() > 9);
        for key in &keys {
            assert_eq!(order.before(*key), keys.iter().filter(|other| *other < key).count());
        }
    }
}
