//! The lane of one receiver: it waits for what is due, takes as much as the receiver has free places, and settles what
//! becomes of each. It shares nothing with the lanes of other receivers but the inbox.
//!
//! It never decides when a callback comes again (that is `schedule`) nor which comes first (that is the inbox's).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::attempt::{Ended, Outcome, Target};
use super::probe::{Allowance, Change, Probe};
use super::schedule::{Failed, Schedule};
use super::stop::Stop;
use crate::clock;
use crate::config;
use crate::inbox::{Inbox, Leased, Settlement, Unavailable};
use crate::metrics::Metrics;
use crate::metrics::recent::{Failure, Half, Recent};

/// How long to wait before the store is asked again after it failed, doubling up to the longest.
const STORE_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_STORE_PAUSE: Duration = Duration::from_secs(5);

/// Everything that attempts at one receiver share.
pub(super) struct Lane {
    receiver: Arc<str>,
    /// As it is configured.
    written: config::Receiver,
    /// Nothing more is to be taken: the receiver is gone, or another lane leads to it.
    retired: watch::Sender<bool>,
    pub(super) target: Target,
    schedule: Schedule,
    inbox: Inbox,
    /// A place for each delivery at the same time.
    places: Arc<Semaphore>,
    concurrency: u32,
    /// Its lock is held for a few comparisons.
    probe: Mutex<Probe>,
    series: Series,
}

/// The receiver's series, found once.
struct Series {
    attempts: [IntCounter; Outcome::WORDS.len()],
    attempt_seconds: Histogram,
    delivery_seconds: Histogram,
    gone: IntCounter,
    buried: IntCounter,
    expired: IntCounter,
    recent: Recent,
}

impl Lane {
    /// For one receiver; nothing runs yet. Callbacks are tried until they are older than `retain`.
    pub(super) fn new(receiver: &config::Receiver, retain: Duration, inbox: Inbox, metrics: &Metrics) -> Self {
        let name = receiver.name.as_str();
        let callbacks = &metrics.callbacks;
        let dead = |reason| callbacks.dead.with_label_values(&[name, reason]);
        Self {
            receiver: name.into(),
            written: receiver.clone(),
            retired: watch::Sender::new(false),
            target: Target::new(receiver),
            schedule: Schedule::new(&receiver.retry, retain),
            inbox,
            places: Arc::new(Semaphore::new(receiver.concurrency)),
            concurrency: u32::try_from(receiver.concurrency).unwrap_or(u32::MAX),
            probe: Mutex::default(),
            series: Series {
                attempts: Outcome::WORDS.map(|word| callbacks.attempts.with_label_values(&[name, word])),
                attempt_seconds: callbacks.attempt_seconds.with_label_values(&[name]),
                delivery_seconds: callbacks.delivery_seconds.with_label_values(&[name]),
                gone: dead(Outcome::Gone.word()),
                buried: dead(Outcome::Buried.word()),
                expired: dead(EXPIRED),
                recent: metrics.recent.clone(),
            },
        }
    }

    /// Name of the receiver.
    pub(super) fn receiver(&self) -> &str {
        &self.receiver
    }

    /// Whether it leads to this receiver, as it is configured now.
    pub(super) fn is_to(&self, receiver: &config::Receiver) -> bool {
        self.written == *receiver
    }

    /// Takes nothing more; attempts under way may end.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
    }

    async fn is_retired(&self) {
        // The sender lives as long as this lane, so the wait cannot fail.
        let _ = self.retired.subscribe().wait_for(|&retired| retired).await;
    }

    /// Delivers until `stop` begins or the lane is retired; then attempts under way may end, until the grace is over. What is
    /// left then is given back by being dropped.
    pub(super) async fn run(self: Arc<Self>, stop: Stop) {
        let mut attempts = JoinSet::new();
        tokio::select! {
            biased;
            () = stop.begun() => {}
            () = self.is_retired() => {}
            () = self.take_what_is_due(&mut attempts) => {}
        }
        tokio::select! {
            () = async { while attempts.join_next().await.is_some() {} } => {}
            () = stop.over() => {}
        }
    }

    /// Never ends. It is given up at any await without losing anything: what it holds is given back by `Drop`.
    async fn take_what_is_due(self: &Arc<Self>, attempts: &mut JoinSet<()>) {
        let mut store = Pause::default();
        loop {
            let mut places = self.places().await;
            while attempts.try_join_next().is_some() {}
            match self.inbox.lease(&self.receiver, places.num_permits()).await {
                Ok(leased) if leased.is_empty() => {
                    store.over();
                    drop(places);
                    self.inbox.due(&self.receiver).await;
                }
                Ok(leased) => {
                    store.over();
                    for leased in leased {
                        // There are as many places as were asked for.
                        let Some(place) = places.split(1) else { break };
                        attempts.spawn(self.clone().deliver(leased, place));
                    }
                }
                Err(_) => {
                    drop(places);
                    store.wait().await;
                }
            }
        }
    }

    /// At least one free place, and all that are free; while the receiver is down one place, when its time has come and
    /// nothing else is under way.
    async fn places(&self) -> OwnedSemaphorePermit {
        loop {
            let allowance = self.probe().allowance();
            match allowance {
                Allowance::Full => {
                    let mut places = self.permits(1).await;
                    if self.probe().allowance() == allowance {
                        let free = self.places.available_permits();
                        if let Ok(more) = self.places.clone().try_acquire_many_owned(free as u32) {
                            places.merge(more);
                        }
                        return places;
                    }
                }
                Allowance::One(at) => {
                    let mut places = self.permits(self.concurrency).await;
                    tokio::time::sleep_until(at).await;
                    if self.probe().allowance() == allowance
                        && let Some(place) = places.split(1)
                    {
                        return place;
                    }
                }
            }
        }
    }

    async fn permits(&self, number: u32) -> OwnedSemaphorePermit {
        match self.places.clone().acquire_many_owned(number).await {
            Ok(permits) => permits,
            // Only a closed semaphore refuses, and nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    fn probe(&self) -> MutexGuard<'_, Probe> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One delivery: an attempt, and what is written about it. Its place is free when both are done, so that a receiver
    /// never has more under way than the store knows.
    async fn deliver(self: Arc<Self>, leased: Leased, place: OwnedSemaphorePermit) {
        let begun = clock::now();
        let ended = self.target.attempt(&leased).await;
        let now = clock::now();
        let change = self.probe().attempt_ended(ended.outcome.is_answer(), now, chance());
        let age = Duration::from_millis(clock::wall_millis().saturating_sub(leased.received_ms));
        let settlement = self.settlement(&leased, ended.outcome);
        self.observe(&leased, ended, now - begun, age);
        self.tell(change);
        self.settle(leased, settlement).await;
        drop(place);
    }

    /// What an outcome means for the callback.
    fn settlement(&self, leased: &Leased, outcome: Outcome) -> Settlement {
        let asked = match outcome {
            Outcome::Delivered => return Settlement::Delivered,
            Outcome::Gone | Outcome::Buried => return Settlement::Bury { reason: outcome.word() },
            Outcome::Throttled(asked) => Some(asked),
            _ => None,
        };
        let age = self.inbox.age(leased, self.schedule.retain());
        let failed = Failed { attempt: leased.attempt, age, redriven: leased.redriven, asked, chance: chance() };
        match self.schedule.next(failed) {
            Some(wait) => Settlement::Retry { wait, outcome: outcome.word() },
            None => Settlement::Bury { reason: EXPIRED },
        }
    }

    /// Writes it down, however long the store is away: the lease is kept all the time, so nobody delivers it again.
    async fn settle(&self, leased: Leased, settlement: Settlement) {
        let mut pause = Pause::default();
        loop {
            match self.inbox.settle(&leased, settlement).await {
                Ok(()) => break,
                // Nothing can be written any more. The next start delivers it again, under the same id.
                Err(Unavailable::Closed) => return,
                Err(error) => {
                    if pause.is_first() {
                        let (receiver, entry, reason) = (self.receiver(), leased.id, error.word());
                        tracing::warn!(receiver, %entry, reason, "an attempt could not be written down; trying again");
                    }
                    pause.wait().await;
                }
            }
        }
        match settlement {
            Settlement::Bury { reason } => match reason {
                EXPIRED => self.series.expired.inc(),
                _ if reason == Outcome::Gone.word() => self.series.gone.inc(),
                _ => self.series.buried.inc(),
            },
            Settlement::Delivered | Settlement::Retry { .. } => {}
        }
    }

    fn observe(&self, leased: &Leased, ended: Ended, took: Duration, age: Duration) {
        self.series.attempts[ended.outcome.index()].inc();
        if ended.outcome == Outcome::Delivered {
            self.series.delivery_seconds.observe(age.as_secs_f64());
        }
        self.series.attempt_seconds.observe(took.as_secs_f64());
        if ended.outcome != Outcome::Delivered {
            self.series.recent.note(
                Failure {
                    half: Half::Delivery,
                    word: ended.outcome.word(),
                    name: self.receiver(),
                    operation: "-",
                    fault: "-",
                    status: ended.status.unwrap_or(0),
                    code: None,
                },
                clock::wall_millis(),
            );
        }
        tracing::info!(
            receiver = self.receiver(),
            source = &*leased.source,
            kind = leased.kind.as_str(),
            entry = %leased.id,
            outcome = ended.outcome.word(),
            status = ended.status,
            attempt = leased.attempt,
            took_us = took.as_micros() as u64,
            trace_id = leased.parent.as_ref().map(|parent| parent.trace_id()),
            "attempt"
        );
    }

    fn tell(&self, change: Change) {
        let receiver = self.receiver();
        match change {
            Change::None => {}
            Change::WentDown => tracing::warn!(receiver, "the receiver does not answer; one attempt at a time"),
            Change::CameUp => tracing::info!(receiver, "the receiver answers again"),
        }
    }
}

/// Why a callback that nobody took in time becomes a dead letter.
const EXPIRED: &str = "expired";

/// The waits of somebody who asks a store that is away.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn is_first(&self) -> bool {
        self.0 == 0
    }

    fn over(&mut self) {
        self.0 = 0;
    }

    async fn wait(&mut self) {
        let wait = (STORE_PAUSE * (1 << self.0.min(6))).min(LONGEST_STORE_PAUSE);
        self.0 = self.0.saturating_add(1);
        tokio::time::sleep(wait).await;
    }
}

/// A random number from 0 up to 1. The middle when the system has none: jitter is a courtesy, not a duty.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
}
