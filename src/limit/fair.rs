//! Who goes next: first come first served inside a program, fair shares between programs (start-time fair queueing).
//!
//! Each program that waits has a virtual time; the one with the least goes next, and its time advances by what one call
//! of its share is worth. It is pure: it knows no clock and wakes nobody.

use std::collections::VecDeque;

use super::order::Order;

/// What one call of a program with share 1 adds to its virtual time.
const UNIT: u64 = 1 << 20;

/// Calls that wait, by program.
#[derive(Debug)]
pub(super) struct Fair<T> {
    lanes: Vec<Lane<T>>,
    /// The virtual time of each call that waits. Of two with the same the first lane goes first.
    order: Order,
    /// Virtual time: that of the call that went last.
    time: u64,
    tickets: u64,
    /// Most calls that may wait in one lane.
    most: usize,
}

#[derive(Debug)]
struct Lane<T> {
    stride: u64,
    /// Virtual time of its first call, those behind it a stride apart each; where it goes on, while nobody waits in it.
    head: u64,
    /// By ascending ticket.
    waiting: VecDeque<(u64, T)>,
}

impl<T> Lane<T> {
    fn new(share: u32) -> Self {
        Self { stride: stride(share), head: 0, waiting: VecDeque::new() }
    }

    /// The virtual time of a call with so many of its lane ahead, at this virtual time.
    fn time_of(&self, ahead: usize, time: u64) -> u64 {
        // Who did not wait has saved nothing up.
        let head = if self.waiting.is_empty() { self.head.max(time) } else { self.head };
        head + ahead as u64 * self.stride
    }
}

/// What one call adds to the virtual time of a lane with this share.
fn stride(share: u32) -> u64 {
    UNIT / u64::from(share.max(1))
}

/// As many calls of this program wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl<T> Fair<T> {
    /// A lane for each share; at most `most` calls wait in one.
    pub(super) fn new(shares: impl IntoIterator<Item = u32>, most: usize) -> Self {
        let lanes = shares.into_iter().map(Lane::new).collect();
        Self { lanes, order: Order::default(), time: 0, tickets: 0, most }
    }

    /// From now on the lanes have these shares; further lanes are added. A lane beyond them stays as it is: calls of a program
    /// that is gone may still wait in it.
    pub(super) fn share(&mut self, shares: &[u32]) {
        for (index, share) in shares.iter().enumerate() {
            match self.lanes.get_mut(index) {
                Some(lane) => lane.stride = stride(*share),
                None => self.lanes.push(Lane::new(*share)),
            }
        }
        let times = |(lane, own): (usize, &Lane<T>)| {
            let (head, stride) = (own.head, own.stride);
            (0..own.waiting.len() as u64).map(move |ahead| (head + ahead * stride, lane))
        };
        self.order = self.lanes.iter().enumerate().flat_map(times).collect();
    }

    /// How many wait, in all lanes.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of those who wait would go before a call that came to this lane now.
    pub(super) fn ahead(&self, lane: usize) -> usize {
        let Some(own) = self.lanes.get(lane) else { return self.len() };
        self.order.before((own.time_of(own.waiting.len(), self.time), lane))
    }

    /// Queues a call at the end of its lane, under a ticket by which it can leave.
    ///
    /// # Errors
    /// [`TooMany`] wait in this lane already.
    pub(super) fn push(&mut self, lane: usize, call: T) -> Result<u64, TooMany> {
        let own = self.lanes.get_mut(lane).filter(|own| own.waiting.len() < self.most).ok_or(TooMany)?;
        self.tickets += 1;
        own.head = own.time_of(0, self.time);
        self.order.insert((own.time_of(own.waiting.len(), self.time), lane));
        own.waiting.push_back((self.tickets, call));
        Ok(self.tickets)
    }

    /// Takes the call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let first = self.order.first()?;
        self.order.remove(first);
        let (time, lane) = first;
        self.time = time;
        let own = self.lanes.get_mut(lane)?;
        own.head = time + own.stride;
        own.waiting.pop_front().map(|(_, call)| call)
    }

    /// Takes a call out of the queue that does not want to wait any longer. `None`: its turn has come.
    pub(super) fn remove(&mut self, lane: usize, ticket: u64) -> Option<T> {
        let own = self.lanes.get_mut(lane)?;
        let at = own.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        // Those behind it move up, so it is the last time of the lane that is free.
        self.order.remove((own.time_of(own.waiting.len() - 1, self.time), lane));
        own.waiting.remove(at).map(|(_, call)| call)
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
    fn what_is_told_to_be_ahead_is_what_counting_finds() {
        let mut seed = 11_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        let mut fair = Fair::new((0..40).map(|lane| 1 + lane % 4), 1000);
        let mut tickets = Vec::new();
        for step in 0..20_000 {
            let lane = below(40) as usize;
            match below(10) {
                0..5 => tickets.extend(fair.push(lane, step).map(|ticket| (lane, ticket))),
                5..7 => drop(fair.pop()),
                7..9 if !tickets.is_empty() => {
                    let (lane, ticket) = tickets.swap_remove(below(tickets.len() as u64) as usize);
                    fair.remove(lane, ticket);
                }
                _ if step % 500 == 0 => {
                    let shares: Vec<_> = (0..41).map(|_| 1 + below(9) as u32).collect();
                    fair.share(&shares);
                }
                _ => {}
            }
            let own = &fair.lanes[lane];
            let mine = (own.time_of(own.waiting.len(), fair.time), lane);
            let of_lane = |(lane, own): (usize, &Lane<u64>)| {
                (0..own.waiting.len()).filter(|ahead| (own.time_of(*ahead, fair.time), lane) < mine).count()
            };
            let counted: usize = fair.lanes.iter().enumerate().map(of_lane).sum();
            assert_eq!(fair.ahead(lane), counted, "step {step}");
            assert_eq!(fair.len(), fair.lanes.iter().map(|own| own.waiting.len()).sum::<usize>());
        }
        assert!(fair.len() > 1_000, "{}", fair.len());
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
