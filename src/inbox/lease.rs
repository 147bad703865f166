//! Who has which delivery now, and when the next of a receiver is due. In memory: one process owns the database, so after
//! a crash nothing is leased.
//!
//! It never touches the disk, and its lock is held for a few instructions only.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::id::EntryId;
use crate::clock;

/// Due times are wall time, which may be set forward: nobody sleeps longer than this before he looks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Most bytes of bodies that are leased to a receiver at the same time: one body of the greatest usual size for each of a few
/// attempts, or thousands of small ones. A single larger one is leased alone.
pub(super) const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// The leases of all receivers.
pub(super) struct Desk {
    receivers: Mutex<Receivers>,
}

#[derive(Default)]
struct Receivers {
    configured: Vec<String>,
    /// Of those, and of former ones while they are in use, so their number is bounded.
    counters: HashMap<Arc<str>, Arc<Counter>>,
    /// The store is away.
    closed: bool,
}

/// The leases of one receiver.
pub(super) struct Counter {
    name: Arc<str>,
    state: Mutex<Due>,
    /// Wakes everybody in [`Counter::due`].
    changed: Notify,
}

/// What is known about the next delivery without asking the disk.
struct Due {
    leased: HashSet<EntryId>,
    /// Of their bodies.
    bytes: u64,
    /// Something that is due was not leased, because there was no room for its bytes.
    waits_for_room: bool,
    /// Something may be due now: ask the disk.
    maybe: bool,
    /// Else nothing is before this wall time.
    next_ms: Option<u64>,
    /// The store is away, so nothing can be leased.
    closed: bool,
}

impl Desk {
    pub(super) fn new(receivers: &[String]) -> Self {
        let desk = Self { receivers: Mutex::default() };
        desk.reconfigure(receivers.to_vec());
        desk
    }

    /// The counter of a receiver, made when it is new.
    pub(super) fn counter(&self, receiver: &str) -> Arc<Counter> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = receivers.counters.get(receiver) {
            return counter.clone();
        }
        let closed = receivers.closed;
        let due = Due { leased: HashSet::new(), bytes: 0, waits_for_room: false, maybe: true, next_ms: None, closed };
        let name: Arc<str> = receiver.into();
        let counter = Arc::new(Counter { name: name.clone(), state: Mutex::new(due), changed: Notify::new() });
        receivers.counters.insert(name, counter.clone());
        counter
    }

    /// Whether this is a receiver of the configuration.
    pub(super) fn knows(&self, receiver: &str) -> bool {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner).configured.iter().any(|known| known == receiver)
    }

    /// These are the receivers from now on; what is leased to others stays leased. The ones that are new.
    pub(super) fn reconfigure(&self, receivers: Vec<String>) -> Vec<String> {
        let mut known = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = receivers.iter().filter(|name| !known.configured.contains(name)).cloned().collect();
        // Who holds a counter may be about to lease: a second one would give the same delivery away twice.
        // A lease holds its counter, too.
        let is_held = |counter: &Arc<Counter>| Arc::strong_count(counter) > 1;
        known.counters.retain(|name, counter| is_held(counter) || receivers.iter().any(|kept| **kept == **name));
        known.configured = receivers;
        fresh
    }

    /// The receivers of the present configuration.
    pub(super) fn configured(&self) -> Vec<String> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner).configured.clone()
    }

    /// Nothing can be leased until [`Desk::reopen`].
    pub(super) fn close(&self) {
        self.change(true, |due| due.closed = true);
    }

    /// The store is there again, and may hold anything.
    pub(super) fn reopen(&self) {
        self.change(false, |due| (due.closed, due.maybe) = (false, true));
    }

    fn change(&self, closed: bool, change: impl Fn(&mut Due)) {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        receivers.closed = closed;
        for counter in receivers.counters.values() {
            counter.change(&change);
        }
    }
}

impl Counter {
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Due)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// A delivery may be due now.
    pub(super) fn ready(&self) {
        self.change(|due| due.maybe = true);
    }

    /// A delivery will be due at this wall time.
    pub(super) fn ready_at(&self, due_ms: u64) {
        self.change(|due| due.next_ms = Some(due.next_ms.map_or(due_ms, |next| next.min(due_ms))));
    }

    /// Called before the disk is asked, so that what arrives in between is not overlooked.
    pub(super) fn ask(&self) {
        let mut due = self.lock();
        (due.maybe, due.next_ms) = (false, None);
    }

    /// Called after the disk answered: more is due now, or nothing before `next_ms`.
    pub(super) fn answered(&self, more: bool, next_ms: Option<u64>) {
        self.change(|due| {
            due.maybe |= more;
            due.next_ms = due.next_ms.into_iter().chain(next_ms).min();
        });
    }

    /// How many deliveries are leased.
    pub(super) fn leased(&self) -> usize {
        self.lock().leased.len()
    }

    /// Whether it is leased.
    pub(super) fn holds(&self, id: EntryId) -> bool {
        self.lock().leased.contains(&id)
    }

    /// Leases it with the bytes of its body. The first always has room, however large it is.
    pub(super) fn take(self: &Arc<Self>, id: EntryId, bytes: u64) -> Taken {
        let mut due = self.lock();
        if due.leased.contains(&id) {
            return Taken::Held;
        }
        if due.bytes > 0 && due.bytes.saturating_add(bytes) > MOST_BYTES {
            // Whoever gives something back says that it is worth asking again.
            due.waits_for_room = true;
            return Taken::NoRoom;
        }
        due.leased.insert(id);
        due.bytes += bytes;
        Taken::Leased(Hold { counter: self.clone(), id, bytes, settled: AtomicBool::new(false) })
    }

    /// Ends when something may be due.
    pub(super) async fn due(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that a change after it wakes us.
            changed.as_mut().enable();
            let Some(rest) = self.rest(clock::wall_millis()) else { return };
            let _ = tokio::time::timeout(rest, changed).await;
        }
    }

    /// How long nothing is due unless something changes; `None`: something may be due now.
    fn rest(&self, now_ms: u64) -> Option<Duration> {
        let mut due = self.lock();
        let wait = due.next_ms.map(|next| next.saturating_sub(now_ms));
        due.maybe |= wait == Some(0);
        match (due.closed, due.maybe) {
            (true, _) => Some(LONGEST_SLEEP),
            (false, true) => None,
            (false, false) => Some(wait.map_or(LONGEST_SLEEP, Duration::from_millis).min(LONGEST_SLEEP)),
        }
    }
}

/// What became of asking for a lease.
pub(super) enum Taken {
    /// It is leased.
    Leased(Hold),
    /// Somebody has it.
    Held,
    /// Too many bytes are leased.
    NoRoom,
}

/// A leased delivery. Dropped, it is given back, and its bytes with it.
pub(super) struct Hold {
    counter: Arc<Counter>,
    id: EntryId,
    bytes: u64,
    /// Nothing of it is due any more.
    settled: AtomicBool,
}

impl Hold {
    /// The delivery was settled on disk: it ends without being given back.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let settled = *self.settled.get_mut();
        let mut due = self.counter.lock();
        due.leased.remove(&self.id);
        due.bytes = due.bytes.saturating_sub(self.bytes);
        let again = !settled || std::mem::take(&mut due.waits_for_room);
        due.maybe |= again;
        drop(due);
        if again {
            self.counter.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn other_receivers_are_known_and_what_is_held_of_a_former_one_is_not_given_away_twice() {
        let desk = Desk::new(&names(&["books", "crm"]));
        let known = |desk: &Desk| ["books", "crm", "new"].map(|name| desk.knows(name));
        assert_eq!((known(&desk), desk.configured()), ([true, true, false], names(&["books", "crm"])));
        let id = EntryId::try_new(1, 1).expect("it fits");
        let Taken::Leased(hold) = desk.counter("crm").take(id, 1) else { panic!("nobody has it") };
        let asking = desk.counter("books");
        desk.counter("new").ask();
        assert_eq!(desk.reconfigure(names(&["new", "more"])), names(&["new", "more"]), "these are new");
        assert_eq!((known(&desk), desk.configured()), ([false, false, true], names(&["new", "more"])));
        assert!(desk.counter("crm").holds(id), "it is leased");
        assert!(Arc::ptr_eq(&asking, &desk.counter("books")), "somebody is about to lease");
        assert!(!desk.counter("new").lock().maybe, "what is known of a receiver that stays is kept");
        drop((hold, asking));
        assert_eq!(desk.reconfigure(names(&["more", "books"])), names(&["books"]));
        let receivers = desk.receivers.lock().expect("no panic");
        assert!(receivers.counters.is_empty() || !receivers.counters.contains_key("crm"), "nobody needs it");
    }

    #[test]
    fn a_store_that_is_away_is_away_for_receivers_that_are_asked_for_later_too() {
        let desk = Desk::new(&names(&["books"]));
        desk.counter("books").ask();
        desk.close();
        assert!(desk.counter("books").lock().closed && desk.counter("crm").lock().closed);
        desk.reopen();
        for name in ["books", "crm", "new"] {
            let counter = desk.counter(name);
            let due = counter.lock();
            assert!(!due.closed && due.maybe, "{name}: it may hold anything");
        }
    }

    #[test]
    fn the_next_due_time_is_the_earliest_of_all_that_were_told() {
        let desk = Desk::new(&names(&["books"]));
        let counter = desk.counter("books");
        counter.ask();
        counter.ready_at(300);
        counter.ready_at(100);
        counter.ready_at(200);
        assert_eq!(counter.lock().next_ms, Some(100));
        let known = || {
            let due = counter.lock();
            (due.next_ms, due.maybe)
        };
        counter.answered(false, Some(50));
        assert_eq!(known(), (Some(50), false));
        counter.answered(true, None);
        assert_eq!(known(), (Some(50), true));
        counter.ask();
        assert_eq!(known(), (None, false));
    }

    #[test]
    fn whoever_waits_rests_until_the_next_is_due_and_never_for_long() {
        let desk = Desk::new(&names(&["books"]));
        let counter = desk.counter("books");
        let rest = |now_ms| counter.rest(now_ms);
        assert_eq!(rest(0), None, "nobody has asked the disk yet");
        counter.ask();
        assert_eq!(rest(0), Some(LONGEST_SLEEP), "nothing is there");
        counter.ready_at(100_000);
        assert_eq!(rest(0), Some(LONGEST_SLEEP), "the wall clock may be set forward");
        assert_eq!(rest(99_000), Some(Duration::from_secs(1)));
        desk.close();
        assert_eq!(rest(99_000), Some(LONGEST_SLEEP), "nothing can be leased");
        desk.reopen();
        assert_eq!(rest(99_000), None, "it may hold anything");
        counter.ask();
        counter.ready_at(100_000);
        assert_eq!(rest(100_000), None, "it is time");
        assert_eq!(rest(99_000), None, "and stays so until the disk is asked");
    }

    #[test]
    fn bytes_are_leased_up_to_their_bound_and_whoever_gives_some_back_says_so() {
        let desk = Desk::new(&names(&["books"]));
        let counter = desk.counter("books");
        let id = |number| EntryId::try_new(1, number).expect("it fits");
        let take = |number, bytes| match counter.take(id(number), bytes) {
            Taken::Leased(hold) => Some(hold),
            Taken::Held | Taken::NoRoom => None,
        };
        let first = take(1, MOST_BYTES - 10).expect("room");
        assert!(matches!(counter.take(id(1), 1), Taken::Held));
        let second = take(2, 10).expect("exactly as much as there is room for");
        counter.ask();
        first.settle();
        drop(first);
        assert!(!counter.lock().maybe, "nobody waits for room, and nothing is due again");
        let third = take(3, MOST_BYTES - 10).expect("room");
        assert!(take(4, 1).is_none());
        second.settle();
        drop(second);
        assert!(counter.lock().maybe, "one waits for room");
        drop(third);
        assert_eq!(counter.leased(), 0);
        assert!(take(5, 2 * MOST_BYTES).is_some(), "a larger one goes alone");
    }
}
