//! The inbox: callbacks on disk, encrypted, from their acceptance until every receiver has them.
//!
//! Owns the database, the key at rest, and what is waiting, leased, delivered or dead. It never sends anything.

mod age;
mod census;
mod checkpoint;
mod commit;
mod custody;
mod disk;
mod entry;
mod filter;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod header;
mod health;
mod home;
mod id;
mod key;
mod keyed;
mod lease;
pub mod ledger;
mod list;
mod marks;
mod obstacle;
mod opening;
mod pace;
mod pages;
mod parents;
mod place;
mod progress;
mod queue;
mod reading;
mod recovery;
mod room;
mod schema;
mod shared;
mod start;
mod store;
mod vault;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use entry::{Appended, Ids, Kind, Leased, NewCallback, Settlement, Unavailable};
pub use filter::{Batch, Filter, Listed, ListedDelivery, Pace, Shown, State};
pub use id::{EntryId, NotAnEntryId};
pub use keyed::{
    End, Entrance, Flight, KeptAnswer, Key, KeyFilter, KeyId, KeyState, Known, ListedKey, NotAKeyId, Scope, Verdict,
};
pub use start::OpenError;

use crate::clock;
use crate::config;
use crate::metrics::Metrics;
use custody::Custody;
use entry::Answer;
use keyed::Turnstiles;
use queue::{Append, Job, Purged, Quarantine, Settle};
use reading::Reader;
use shared::Shared;
use vault::{Tagged, Vault};

/// The inbox, as a handle. Its threads end with [`Inbox::close`], or when the last handle is dropped.
#[derive(Clone)]
pub struct Inbox(Arc<Threads>);

/// The threads of an inbox, and what they share. They run also while it cannot be opened.
struct Threads {
    shared: Arc<Shared>,
    /// Leases.
    deliveries: Reader,
    /// Answers operators.
    operators: Reader,
    /// Finds keys of calls.
    keys: Reader,
    turnstiles: Arc<Turnstiles>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Inbox {
    /// Makes or opens the database, checks the key, migrates forward, starts the threads. Blocking.
    ///
    /// While a disk, a lock, rights or damage stand in the way there is an inbox all the same: it takes nothing,
    /// [`Inbox::check`] says why, and it is tried again every few seconds until it opens.
    ///
    /// # Errors
    /// One sentence that says what to do, when the configuration means a database or a key that cannot be ours.
    pub fn open(rules: &config::Inbox, receivers: &[String], metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        start::start(rules, receivers, metrics, Custody::Here).map(|threads| Self(Arc::new(threads)))
    }

    /// The same while the process before this one still has the database: it is looked at now, and opened after
    /// [`Inbox::take_over`].
    ///
    /// # Errors
    /// The same sentence.
    pub fn succeed(rules: &config::Inbox, receivers: &[String], metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        start::start(rules, receivers, metrics, Custody::Elsewhere).map(|threads| Self(Arc::new(threads)))
    }

    /// Whether [`Inbox::open`] would refuse these rules. Makes and changes nothing, also while a gateway uses the database.
    /// Blocking.
    ///
    /// # Errors
    /// The same sentence.
    pub fn check_rules(rules: &config::Inbox) -> Result<(), OpenError> {
        start::check(rules)
    }

    /// Keeps a callback. Returns once its bytes are synced.
    ///
    /// # Errors
    /// Nothing is acknowledged then, and it may be tried again.
    pub async fn append(&self, callback: NewCallback) -> Result<Appended, Unavailable> {
        let vault = self.vault()?;
        let NewCallback { source, receivers, kind, body, ids, received_ms } = callback;
        let id = vault.next_id().ok_or(Unavailable::Failed)?;
        // Sealed here, in the thread of whoever brings it, so that the writer only writes.
        let mut tags = Vec::with_capacity((ids.calls.len() + ids.tasks.len()) * vault::TAG);
        for (what, ids) in [(Tagged::Call, &ids.calls), (Tagged::Task, &ids.tasks)] {
            ids.iter().for_each(|id| tags.extend_from_slice(&vault.tag(what, &[id.as_bytes()])));
        }
        let append = Box::new(Append {
            id,
            parent: self.0.shared.parents.find(&tags),
            digest: vault.tag(Tagged::Content, &[source.as_bytes(), &body]),
            chain: ids.order.map(|order| vault.tag(Tagged::Order, &[order.as_bytes()])),
            sealed: vault.seal(id, &source, &body),
            bytes: body.len(),
            natural: ids.natural,
            kind: kind.row(),
            source,
            receivers,
            received_ms,
            tags,
        });
        self.write(|answer| Job::Append(append, answer)).await
    }

    /// Keeps a body that could not be opened, sealed like the rest. The oldest of the source beyond `most` go.
    ///
    /// # Errors
    /// Nothing is kept then.
    pub async fn quarantine(
        &self,
        source: &str,
        body: Bytes,
        reason: &'static str,
        most: usize,
    ) -> Result<(), Unavailable> {
        let vault = self.vault()?;
        let id = vault.next_id().ok_or(Unavailable::Failed)?;
        let sealed = vault.seal(id, source, &body);
        let (received_ms, bytes) = (clock::wall_millis(), body.len());
        let kept = Box::new(Quarantine { id, source: source.into(), received_ms, bytes, reason, most, sealed });
        self.write(|answer| Job::Quarantine(kept, answer)).await
    }

    /// At most `most` deliveries of a receiver that are due, oldest first; nobody else has them. Empty when none is due.
    ///
    /// # Errors
    /// Nothing is leased then; [`Inbox::due`] tells when to ask again.
    pub async fn lease(&self, receiver: &str, most: usize) -> Result<Vec<Leased>, Unavailable> {
        if let Err(why @ (Unavailable::Failed | Unavailable::Closed | Unavailable::Elsewhere)) =
            self.0.shared.health.check()
        {
            return Err(why);
        }
        let counter = self.0.shared.desk.counter(receiver);
        let (vault, shared) = (self.vault()?.clone(), self.0.shared.clone());
        let asked = counter.clone();
        let leased = self.0.deliveries.ask(move |connection| {
            let candidates = list::lease(connection, &asked, most, clock::wall_millis())?;
            let (mut leased, mut unreadable) = (Vec::with_capacity(candidates.len()), Vec::new());
            for candidate in candidates {
                let list::Candidate { id, source, kind, attempts, received_ms, redriven, parent, sealed, hold } =
                    candidate;
                let id = vault.mark(id);
                let Ok(body) = vault.open(id, &source, sealed) else {
                    tracing::error!(entry = %id, "an entry of the inbox cannot be opened and is set aside");
                    unreadable.push((id, hold));
                    continue;
                };
                let (receiver, attempt, hold) = (asked.name().clone(), attempts + 1, Arc::new(hold));
                let body = Bytes::from(body);
                leased.push(Leased { id, receiver, source, kind, attempt, received_ms, redriven, parent, body, hold });
            }
            if !unreadable.is_empty() {
                // When it is refused, the next lease finds them again.
                let _ = shared.queue.push(Job::Corrupt(unreadable));
            }
            Ok(leased)
        });
        let leased = leased.await;
        if leased.is_err() {
            counter.ready();
        }
        leased
    }

    /// Ends when [`Inbox::lease`] may find something for the receiver. Asks no disk.
    pub async fn due(&self, receiver: &str) {
        let counter = self.0.shared.desk.counter(receiver);
        counter.due().await;
    }

    /// Records how an attempt ended. Returns once that is synced.
    ///
    /// # Errors
    /// Nothing is recorded. The lease stays, so that nobody makes the delivery again while settling it is tried again;
    /// dropping it gives it back.
    pub async fn settle(&self, leased: &Leased, settlement: Settlement) -> Result<(), Unavailable> {
        let Leased { id, receiver, hold, .. } = leased;
        let settle = Settle { id: *id, receiver: receiver.clone(), settlement, hold: hold.clone() };
        self.write(|answer| Job::Settle(settle, answer)).await
    }

    /// Other receivers are configured from now on. What waits for one that is not stays, and is told in the log.
    pub fn reconfigure(&self, receivers: Vec<String>) {
        let shared = &self.0.shared;
        let fresh = shared.desk.reconfigure(receivers.clone());
        start::declare(&fresh, shared.max_bytes, &shared.metrics);
        // While the store is away, it is told at the next start.
        let _ = shared.queue.push(Job::Receivers(receivers));
    }

    /// Whether callbacks are taken.
    ///
    /// # Errors
    /// Why they are not.
    pub fn check(&self) -> Result<(), Unavailable> {
        self.0.shared.health.check()
    }

    /// What an operator is to do while [`Inbox::check`] refuses: one sentence.
    pub fn advice(&self) -> Option<String> {
        let why = self.check().err()?;
        Some(self.0.shared.health.sentence().map_or_else(|| why.to_string(), |sentence| (*sentence).to_owned()))
    }

    /// At most `most` entries that fit, in the order of their ids, after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, filter: Filter, after: Option<EntryId>, most: usize) -> Result<Vec<Listed>, Unavailable> {
        let vault = self.vault()?.clone();
        self.0.operators.ask(move |connection| list::list(connection, &vault, &filter, after, most)).await
    }

    /// An entry with its body; `None` when there is none of this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn show(&self, id: EntryId) -> Result<Option<Shown>, Unavailable> {
        let vault = self.vault()?.clone();
        let shown = move |connection: &rusqlite::Connection| {
            Ok(list::show(connection, &vault, id)?.map(|(listed, sealed)| {
                let opened = sealed.and_then(|sealed| vault.open(id, &listed.source, sealed).ok());
                Shown { body: opened.map(Bytes::from), listed }
            }))
        };
        self.0.operators.ask(shown).await
    }

    /// How long ago a callback was taken that is kept for `retain`. A wall clock that was set forward makes none older.
    pub fn age(&self, leased: &Leased, retain: Duration) -> Duration {
        let now_ms = self.0.shared.ages().now_ms(retain, clock::now());
        Duration::from_millis(now_ms.saturating_sub(leased.received_ms))
    }

    /// Sends deliveries of at most `most` entries again, `pace` apart: those that fit; without a state, the dead ones.
    /// Waiting ones become due at once in that sense, too. Call it again with what it returns, until that is `None`.
    ///
    /// # Errors
    /// Nothing of this step is redriven then.
    pub async fn redrive(
        &self,
        filter: Filter,
        after: Option<EntryId>,
        most: usize,
        pace: Pace,
        dry_run: bool,
    ) -> Result<Batch, Unavailable> {
        let filter = Filter { state: filter.state.or(Some(State::Dead)), ..filter };
        let ids = self.ids(filter.clone(), after, most).await?;
        let next = ids.last().copied().filter(|_| ids.len() == most);
        let deliveries = self.0.operators.ask(move |connection| list::deliveries_of(connection, &filter, &ids)).await?;
        let matched = match dry_run {
            true => deliveries.len() as u64,
            false => self.write(|answer| Job::Redrive(deliveries, pace, answer)).await?,
        };
        Ok(Batch { matched, next })
    }

    /// Purges those of at most `most` entries that fit which have nothing waiting; where the filter says waiting, in so many
    /// words, these too. With a receiver only the deliveries to it go, and entries that have none left. Call it again with
    /// what it returns, until that is `None`.
    ///
    /// # Errors
    /// Nothing of this step is purged then.
    pub async fn purge(
        &self,
        filter: Filter,
        after: Option<EntryId>,
        most: usize,
        dry_run: bool,
    ) -> Result<Batch, Unavailable> {
        let waiting_too = filter.state == Some(State::Waiting);
        let receiver = filter.receiver.clone();
        let listed = self.list(filter, after, most).await?;
        let next = listed.last().map(|listed| listed.id).filter(|_| listed.len() == most);
        let is_meant = |delivery: &&ListedDelivery| receiver.as_ref().is_none_or(|only| *only == delivery.receiver);
        let settled = |listed: &Listed| {
            listed.deliveries.iter().filter(is_meant).all(|delivery| delivery.state != State::Waiting)
        };
        let ids: Vec<_> =
            listed.iter().filter(|listed| waiting_too || settled(listed)).map(|listed| listed.id).collect();
        let matched = match dry_run {
            true => ids.len() as u64,
            false => {
                let purged = Purged { receiver: receiver.map(Into::into), waiting_too };
                self.write(|answer| Job::Purge(ids, purged, answer)).await?
            }
        };
        Ok(Batch { matched, next })
    }

    /// Whether calls are noted.
    pub fn keeps_ledger(&self) -> bool {
        self.0.shared.ledger.is_kept()
    }

    /// Notes a call that ended. Never waits; what there is no room for is dropped and counted.
    pub fn note(&self, call: &ledger::Call<'_>) {
        if let (Some(parent), Ok(vault)) = (call.parent, self.vault()) {
            let tasks = call.named.tasks.iter().map(|id| vault.tag(Tagged::Task, &[id.as_bytes()]));
            self.0.shared.parents.insert(tasks, parent);
        }
        if !self.keeps_ledger() {
            return;
        }
        match self.0.shared.ledger.push(call) {
            ledger::Pushed::Waits => {}
            ledger::Pushed::MakesWhole => self.0.shared.queue.wake(),
            ledger::Pushed::Dropped => self.0.shared.metrics.callbacks.noted("dropped", 1),
        }
    }

    /// How many of the calls that were noted are on no disk yet. After [`close`](Self::close) none of them will be.
    pub fn unlisted(&self) -> usize {
        self.0.shared.ledger.len()
    }

    /// What belongs to an id: of a task, a call, a request or a callback, or an idempotency key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trace(&self, id: &str) -> Result<ledger::Trace, Unavailable> {
        let vault = self.vault()?.clone();
        let sought = ledger::Sought::new(&vault, id);
        self.0.operators.ask(move |connection| ledger::trace(connection, &vault, &sought)).await
    }

    /// Writes what is queued, moves the log into the database, ends the writer. Blocking. Whatever is asked later gets
    /// [`Unavailable::Closed`].
    pub fn close(&self) {
        self.0.close();
    }

    /// Seals and opens, since the database was open for the first time.
    fn vault(&self) -> Result<&Arc<Vault>, Unavailable> {
        let shared = &self.0.shared;
        shared.vault.get().ok_or_else(|| shared.health.check().err().unwrap_or(Unavailable::Failed))
    }

    async fn ids(&self, filter: Filter, after: Option<EntryId>, most: usize) -> Result<Vec<EntryId>, Unavailable> {
        Ok(self.list(filter, after, most).await?.into_iter().map(|listed| listed.id).collect())
    }

    async fn write<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.0.shared.queue.push(job(answer))?;
        // The writer answers everybody but those whose job met a bug, or the end.
        answered.await.unwrap_or_else(|_| match self.0.shared.queue.is_closed() {
            true => Err(Unavailable::Closed),
            false => Err(Unavailable::Failed),
        })
    }
}

impl Threads {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the inbox ended too early");
        }
        self.shared.health.set(Err(Unavailable::Closed));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
