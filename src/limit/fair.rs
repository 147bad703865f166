//! Who goes next: first come first served inside a program, fair shares between programs (start-time fair queueing).
//!
//! Each program that waits has a virtual time; the one with the least goes next, and its time advances by what one call
//! of its share is worth. It is pure: it knows no clock and wakes nobody.

use std::collections::VecDeque;

/// What one call of a program with share 1 adds to its virtual time.
const UNIT: u64 = 1 << 20;

/// Calls that wait, by program.
#[derive(Debug)]
pub(super) struct Fair<T> {
    lanes: Vec<Lane<T>>,
    /// The lanes in which somebody waits, in no order.
    active: Vec<Active>,
    /// Virtual time: that of the call that went last.
    time: u64,
    tickets: u64,
    len: usize,
    /// Most calls that may wait in one lane.
    most: usize,
}

#[derive(Debug)]
struct Lane<T> {
    stride: u64,
    /// Where it goes on when somebody waits in it again.
    resumes: u64,
    /// By ascending ticket.
    waiting: VecDeque<(u64, T)>,
    /// Its place in `active`.
    place: usize,
}

impl<T> Lane<T> {
    fn new(share: u32) -> Self {
        Self { stride: stride(share), resumes: 0, waiting: VecDeque::new(), place: usize::MAX }
    }
}

/// What one call adds to the virtual time of a lane with this share.
fn stride(share: u32) -> u64 {
    UNIT / u64::from(share.max(1))
}

/// What choosing needs of a lane, side by side in memory.
#[derive(Debug)]
struct Active {
    /// Virtual time of its first call.
    head: u64,
    stride: u64,
    inverse: f64,
    len: u64,
    lane: usize,
}

/// As many calls of this program wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl<T> Fair<T> {
    /// A lane for each share; at most `most` calls wait in one.
    pub(super) fn new(shares: impl IntoIterator<Item = u32>, most: usize) -> Self {
        let lanes = shares.into_iter().map(Lane::new).collect();
        Self { lanes, active: Vec::new(), time: 0, tickets: 0, len: 0, most }
    }

    /// From now on the lanes have these shares; further lanes are added. A lane beyond them stays as it is: calls of a program
    /// that is gone may still wait in it.
    pub(super) fn share(&mut self, shares: &[u32]) {
        for (index, share) in shares.iter().enumerate() {
            let stride = stride(*share);
            match self.lanes.get_mut(index) {
                Some(lane) => {
                    lane.stride = stride;
                    if let Some(active) = self.active.get_mut(lane.place) {
                        (active.stride, active.inverse) = (stride, 1.0 / stride as f64);
                    }
                }
                None => self.lanes.push(Lane::new(*share)),
            }
        }
    }

    /// How many wait, in all lanes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of those who wait would go before a call that came to this lane now.
    pub(super) fn ahead(&self, lane: usize) -> usize {
        let Some(own) = self.lanes.get(lane) else { return self.len };
        let depth = own.waiting.len() as u64;
        let head = self.active.get(own.place).map_or(own.resumes.max(self.time), |active| active.head);
        let mine = head + depth * own.stride;
        let before = |active: &Active| {
            if active.lane == lane {
                return active.len;
            }
            // Of two with the same time the first lane goes first.
            let gap = (mine + u64::from(active.lane < lane)).saturating_sub(active.head);
            // A division costs five times as much, and the product is off by less than one.
            let calls = (gap as f64 * active.inverse) as u64;
            let calls = calls.saturating_sub(u64::from(calls * active.stride >= gap + active.stride));
            (calls + u64::from(calls * active.stride < gap)).min(active.len)
        };
        self.active.iter().map(before).sum::<u64>() as usize
    }

    /// Queues a call at the end of its lane, under a ticket by which it can leave.
    ///
    /// # Errors
    /// [`TooMany`] wait in this lane already.
    pub(super) fn push(&mut self, lane: usize, call: T) -> Result<u64, TooMany> {
        let own = self.lanes.get_mut(lane).filter(|own| own.waiting.len() < self.most).ok_or(TooMany)?;
        self.tickets += 1;
        own.waiting.push_back((self.tickets, call));
        self.len += 1;
        if let Some(active) = self.active.get_mut(own.place) {
            active.len += 1;
        } else {
            own.place = self.active.len();
            let head = own.resumes.max(self.time);
            self.active.push(Active { head, stride: own.stride, inverse: 1.0 / own.stride as f64, len: 1, lane });
        }
        Ok(self.tickets)
    }

    /// Takes the call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.active.iter_mut().min_by_key(|active| (active.head, active.lane))?;
        self.time = next.head;
        next.head += next.stride;
        let lane = next.lane;
        let (_, call) = self.lanes.get_mut(lane)?.waiting.pop_front()?;
        self.left(lane);
        Some(call)
    }

    /// Takes a call out of the queue that does not want to wait any longer. `None`: its turn has come.
    pub(super) fn remove(&mut self, lane: usize, ticket: u64) -> Option<T> {
        let waiting = &mut self.lanes.get_mut(lane)?.waiting;
        let at = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        let (_, call) = waiting.remove(at)?;
        self.left(lane);
        Some(call)
    }

    /// A call has left this lane.
    fn left(&mut self, lane: usize) {
        self.len -= 1;
        let place = self.lanes[lane].place;
        self.active[place].len -= 1;
        if self.active[place].len == 0 {
            let gone = self.active.swap_remove(place);
            self.lanes[lane].resumes = gone.head;
            self.lanes[lane].place = usize::MAX;
            if let Some(moved) = self.active.get(place) {
                self.lanes[moved.lane].place = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with so many calls in each lane, each call named by its lane.
    fn queue(shares: &[u32], calls: &[usize]) -> Fair<usize> {
        let mut fair = Fair::new(shares.iter().copied(), 1000);
        for (lane, calls) in calls.iter().enumerate() {
            for _ in 0..*calls {
                fair.push(lane, lane).expect("room");
            }
        }
        fair
    }

    fn served(fair: &mut Fair<usize>, turns: usize) -> Vec<usize> {
        std::iter::repeat_with(|| fair.pop()).take(turns).map_while(|lane| lane).collect()
    }

    #[test]
    fn turns_go_by_share() {
        for (shares, calls, turns, expected) in [
            (&[1, 1][..], &[4, 4][..], 8, &[0, 1, 0, 1, 0, 1, 0, 1][..]),
            (&[1, 2], &[4, 8], 6, &[0, 1, 1, 0, 1, 1]),
            (&[1, 1, 2], &[9, 9, 9], 8, &[0, 1, 2, 2, 0, 1, 2, 2]),
            (&[3, 1], &[1, 5], 6, &[0, 1, 1, 1, 1, 1]),
            (&[1], &[3], 9, &[0, 0, 0]),
        ] {
            let mut fair = queue(shares, calls);
            assert_eq!(served(&mut fair, turns), expected, "{shares:?} {calls:?}");
        }
    }

    #[test]
    fn within_a_program_who_came_first_goes_first() {
        let mut fair = Fair::new([1, 5], 100);
        for call in 0..50 {
            fair.push(call % 2, call).expect("room");
        }
        let order: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
        for lane in 0..2 {
            assert!(order.iter().filter(|call| *call % 2 == lane).is_sorted(), "{order:?}");
        }
        assert!(fair.is_empty());
    }

    #[test]
    fn a_program_that_did_not_wait_saves_nothing_up() {
        let mut fair = queue(&[1, 1], &[100, 0]);
        served(&mut fair, 50);
        for _ in 0..4 {
            fair.push(1, 1).expect("room");
        }
        assert_eq!(served(&mut fair, 8), [1, 0, 1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_program_that_comes_and_goes_gets_no_more_than_its_share() {
        // It never has more than one call waiting, and comes back each time.
        let mut fair = queue(&[1, 1], &[1000, 1]);
        let mut turns = [0; 2];
        for _ in 0..100 {
            let lane = fair.pop().expect("somebody waits");
            turns[lane] += 1;
            if lane == 1 {
                fair.push(1, 1).expect("room");
            }
        }
        assert_eq!(turns, [50, 50]);
    }

    #[test]
    fn what_is_told_to_be_ahead_goes_before() {
        let shares = [1, 2, 3, 7, 100, 1];
        let mut seed = 7_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        for round in 0..200 {
            let mut fair = Fair::new(shares, 1000);
            for call in 0..below(300) {
                fair.push(below(6) as usize, call).expect("room");
                if below(3) == 0 {
                    fair.pop();
                }
            }
            let lane = below(6) as usize;
            let ahead = fair.ahead(lane);
            fair.push(lane, u64::MAX).expect("room");
            let before = std::iter::from_fn(|| fair.pop()).take_while(|call| *call != u64::MAX).count();
            assert_eq!(ahead, before, "round {round}");
        }
    }

    #[test]
    fn shares_change_while_calls_wait_and_a_new_lane_takes_part() {
        let mut fair = queue(&[1, 1], &[100, 100]);
        assert_eq!(served(&mut fair, 4), [0, 1, 0, 1]);
        fair.share(&[1, 3, 1]);
        let next = served(&mut fair, 40);
        assert_eq!(next.iter().filter(|lane| **lane == 1).count(), 30, "{next:?}");
        (0..50).for_each(|_| drop(fair.push(2, 2)));
        let next = served(&mut fair, 50);
        assert_eq!([0, 1, 2].map(|lane| next.iter().filter(|of| **of == lane).count()), [10, 30, 10], "{next:?}");
        fair.share(&[1]);
        assert_eq!(fair.len(), 100 + 100 + 50 - 94, "nobody is lost");
        assert_eq!(served(&mut fair, 1000).len(), 156);
    }

    #[test]
    fn one_who_leaves_frees_its_place_and_those_behind_move_up() {
        let mut fair = Fair::new([1, 1], 3);
        let tickets: Vec<_> = (0..3).map(|call| fair.push(0, call).expect("room")).collect();
        assert_eq!(fair.push(0, 3), Err(TooMany));
        assert_eq!(fair.push(1, 9), Ok(4), "others have their own room");
        assert_eq!((fair.ahead(0), fair.ahead(1)), (4, 3));
        assert_eq!(fair.remove(0, tickets[1]), Some(1));
        assert_eq!(fair.remove(0, tickets[1]), None);
        assert_eq!((fair.ahead(0), fair.len()), (3, 3));
        assert_eq!([fair.pop(), fair.pop(), fair.pop(), fair.pop()], [Some(0), Some(9), Some(2), None]);
        assert_eq!(fair.remove(0, tickets[2]), None, "its turn has come");
        assert_eq!(fair.push(7, 0), Err(TooMany), "no such lane");
    }
}
