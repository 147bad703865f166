//! A gate that calls pass as fast as its rate, as many at a time as it has places, in fair turns.
//!
//! Here calls wait and are told; whose turn it is, is decided in `turns`. A call leaves the queue when its future is dropped,
//! and its place when the place is. The gate knows no calls and no answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, IntGauge};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::fair::Fair;
use super::fields::{Met, Policy};
use super::spent::Spent;
use super::turns::{Asked, Due, Held, NotNow, Seen, Turns};
use crate::clock::{self, Instant};
use crate::config::{Frequency, Quota};

/// Most calls of one program that wait at one gate: at 1,000 calls a second more than four seconds' worth, and less
/// than a mebibyte of memory.
const MOST_WAITING: usize = 4096;

/// What a gate is made of.
#[derive(Debug)]
pub(super) struct GateRules {
    /// What `RateLimit` calls it.
    pub(super) name: &'static str,
    /// `None`: any rate.
    pub(super) quota: Option<Quota>,
    /// How far the rate may be lowered; `None`: it is fixed.
    pub(super) least: Option<Frequency>,
    /// Calls at the same time; `None`: any number.
    pub(super) concurrency: Option<u32>,
    /// The share of each lane, one for each program that may wait there.
    pub(super) shares: Vec<u32>,
}

/// A handle of one configuration: cheap to clone. The gate itself outlives configurations.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) policy: Option<Policy>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Shows the present rate in calls per second.
    shown: Option<Gauge>,
    state: Mutex<State>,
    /// The rules are other ones, so whoever sleeps looks again.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    turns: Turns<oneshot::Sender<Place>>,
    /// Whether a task lets calls pass as time goes on.
    is_driven: bool,
    /// Calls per second, at the full rate.
    full: f64,
}

/// A place behind the gate. Dropping it frees it for the next one.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Shared>,
    has_left: bool,
    pub(super) seen: Seen,
}

impl Gate {
    /// With its whole burst. `shown` shows the rate.
    pub(super) fn new(rules: GateRules, shown: Option<Gauge>, now: Instant) -> Self {
        let GateRules { name, quota, least, concurrency, shares } = rules;
        let full = per_second(quota);
        shown.iter().for_each(|shown| shown.set(full));
        let turns = Turns::new(quota, least, concurrency, Fair::new(shares, MOST_WAITING), now);
        let state = Mutex::new(State { turns, is_driven: false, full });
        let policy = quota.map(|quota| Policy::new(name, quota));
        Self { policy, shared: Arc::new(Shared { shown, state, changed: Notify::new() }) }
    }

    /// A gate that goes on where `former` is, if there is one.
    pub(super) fn succeed(former: Option<&Self>, rules: GateRules, shown: Option<Gauge>, now: Instant) -> Self {
        match former {
            Some(former) => former.adopt(rules, now),
            None => Self::new(rules, shown, now),
        }
    }

    /// The same gate under other rules: what is used up stays so, and who waits keeps his place. Inside a runtime.
    fn adopt(&self, rules: GateRules, now: Instant) -> Self {
        let GateRules { name, quota, least, concurrency, shares } = rules;
        let (due, drive) = {
            let mut state = self.shared.lock();
            let part = state.turns.adopt(quota, least, concurrency, &shares, now);
            state.full = per_second(quota);
            self.show(&state, Some(part.unwrap_or(0.0)));
            let (due, held) = state.turns.advance(now);
            let drive = Turns::<oneshot::Sender<Place>>::next(held, now).is_some() && !state.is_driven;
            state.is_driven |= drive;
            (due, drive)
        };
        self.shared.give(due);
        self.shared.changed.notify_waiters();
        if drive {
            self.shared.drive(now);
        }
        Self { policy: quota.map(|quota| Policy::new(name, quota)), shared: self.shared.clone() }
    }

    /// Passes now, or waits for its turn until `deadline`. `waiting` counts those who wait. `now` is another one afterwards if
    /// it waited.
    ///
    /// # Errors
    /// [`NotNow`], at once where the wait is known to be longer, else at the deadline.
    pub(super) async fn enter(
        &self,
        lane: usize,
        deadline: Instant,
        now: &mut Instant,
        waiting: &IntGauge,
    ) -> Result<Place, NotNow> {
        let mut turn = None;
        let asked = {
            let now = *now;
            let mut state = self.shared.lock();
            let (due, asked) = state.turns.ask(lane, deadline.saturating_duration_since(now), now, || {
                let (give, taken) = oneshot::channel();
                turn = Some(taken);
                give
            });
            // Whoever waits now waits for what the next look says.
            let drive = matches!(asked, Asked::Waits(_)) && !state.is_driven;
            state.is_driven |= drive;
            drop(state);
            self.shared.give(due);
            if drive {
                self.shared.drive(now);
            }
            asked
        };
        let ticket = match asked {
            Asked::Passed(seen) => return Ok(self.shared.place(seen)),
            Asked::Refused(not_now) => return Err(not_now),
            Asked::Waits(ticket) => ticket,
        };
        // Both are there when it waits; whoever is told nothing any more is told to come again.
        let ended = NotNow { wait: Duration::ZERO, held: Held::Queue };
        let mut turn = turn.ok_or(ended)?;
        let queued = Queued::new(self, lane, ticket, waiting);
        let taken = tokio::select! {
            biased;
            place = &mut turn => Some(place),
            () = sleep_until(deadline) => None,
        };
        *now = clock::now();
        if let Some(place) = taken {
            return place.map_err(|_| ended);
        }
        if queued.leave() {
            return Err(self.estimate(lane, *now));
        }
        // Its turn came in this moment.
        turn.await.map_err(|_| ended)
    }

    fn estimate(&self, lane: usize, now: Instant) -> NotNow {
        let (due, not_now) = self.shared.lock().turns.estimate(lane, now);
        self.shared.give(due);
        not_now
    }

    /// The platform said no to a request that left at `left`: the rate falls, and nothing passes before `retry_after` is
    /// over. Whether the rate fell.
    pub(super) fn refused(&self, left: Instant, retry_after: Option<Duration>, now: Instant) -> bool {
        let mut state = self.shared.lock();
        let part = state.turns.refused(left, retry_after, now);
        self.show(&state, part);
        part.is_some()
    }

    /// What is used up of it.
    pub(super) fn spent(&self, now: Instant) -> Option<Spent> {
        self.shared.lock().turns.spent(now)
    }

    /// As much was used up elsewhere, before the first call here.
    pub(super) fn owe(&self, spent: &Spent, now: Instant) {
        self.shared.lock().turns.owe(spent, now);
    }

    /// Uses and shows what time has brought back.
    pub(super) fn recover(&self, now: Instant) {
        let mut state = self.shared.lock();
        let part = state.turns.recover(now);
        self.show(&state, part);
    }

    /// Under the lock, so that what is shown is the last.
    fn show(&self, state: &State, part: Option<f64>) {
        if let (Some(part), Some(shown)) = (part, &self.shared.shown) {
            shown.set(state.full * part);
        }
    }

    /// What a call reads that was not let in.
    pub(super) fn tell<'a>(&'a self, not_now: NotNow, met: &mut Met<'a>) {
        if let Some(policy) = &self.policy {
            met.add(policy, 0, not_now.wait);
        }
    }
}

impl Shared {
    fn place(self: &Arc<Self>, seen: Seen) -> Place {
        Place { gate: self.clone(), has_left: false, seen }
    }

    /// Tells those whose turn has come. Never under the lock: a place that nobody takes any more is freed at once.
    fn give(self: &Arc<Self>, due: Due<oneshot::Sender<Place>>) {
        for (turn, seen) in due {
            let _ = turn.send(self.place(seen));
        }
    }

    /// Lets calls pass as time goes on, as long as time alone helps one of them. Only one task does so at a time.
    fn drive(self: &Arc<Self>, now: Instant) {
        let gate = self.clone();
        // Without a runtime the gateway is ending, and nobody waits any more.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut now = now;
            loop {
                // Listens before it looks: a change in between is not missed.
                let changed = gate.changed.notified();
                let (due, next) = {
                    let mut state = gate.lock();
                    let (due, held) = state.turns.advance(now);
                    let next = Turns::<oneshot::Sender<Place>>::next(held, now);
                    state.is_driven = next.is_some();
                    (due, next)
                };
                gate.give(due);
                let Some(next) = next else { return };
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = changed => {}
                }
                now = clock::now();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn per_second(quota: Option<Quota>) -> f64 {
    quota.map_or(0.0, |quota| quota.rate.per_second())
}

impl Place {
    /// A request of this call leaves now; how long it has to wait for that.
    ///
    /// # Errors
    /// [`NotNow`] when that is longer than `longest`, and nothing is charged.
    pub(super) fn leave(&mut self, longest: Duration, now: Instant) -> Result<Duration, NotNow> {
        let wait = self.gate.lock().turns.leave(self.has_left, longest, now)?;
        self.has_left = true;
        Ok(wait)
    }

    /// It has left as far as this gate is concerned, which charges turns only.
    pub(super) fn spend(&mut self) {
        self.has_left = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.turns.release(self.has_left);
        if state.turns.is_idle() {
            return;
        }
        let now = clock::now();
        let (due, held) = state.turns.advance(now);
        let drive = Turns::<oneshot::Sender<Place>>::next(held, now).is_some() && !state.is_driven;
        state.is_driven |= drive;
        drop(state);
        self.gate.give(due);
        if drive {
            self.gate.drive(now);
        }
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct Queued<'a> {
    gate: &'a Gate,
    lane: usize,
    ticket: u64,
    waiting: &'a IntGauge,
}

impl<'a> Queued<'a> {
    fn new(gate: &'a Gate, lane: usize, ticket: u64, waiting: &'a IntGauge) -> Self {
        waiting.inc();
        Self { gate, lane, ticket, waiting }
    }

    /// Leaves the queue. `false`: its turn has come.
    fn leave(&self) -> bool {
        let removed = self.gate.shared.lock().turns.remove(self.lane, self.ticket);
        removed.is_some()
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.leave();
        self.waiting.dec();
    }
}

#[cfg(test)]
mod tests;
