//! Starting the inbox: the first try to open it, and its threads, which run whether it came open or not.
//!
//! A mistake in the configuration is told to whoever starts the gateway. A trouble of the disk is not his: the gateway starts,
//! callbacks are refused, and the writer goes on trying.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use super::age::Ages;
use super::custody::{Custody, Keeper};
use super::filter::State;
use super::health::Health;
use super::home::Home;
use super::lease::Desk;
use super::ledger::{Bounds, Pending};
use super::obstacle::{Nature, Obstacle};
use super::opening::Opening;
use super::parents::Parents;
use super::progress::Progress;
use super::queue::Queue;
use super::reading::Reader;
use super::shared::Shared;
use super::store::number;
use super::writer::Writer;
use super::{Threads, checkpoint};
use crate::clock;
use crate::config;
use crate::metrics::Metrics;

/// Why a gateway is not to start with this inbox, and what to do: one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError(String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// Looks whether a gateway would start with this inbox, and makes and changes nothing. A trouble is no reason not to.
pub(super) fn check(rules: &config::Inbox) -> Result<(), OpenError> {
    match (Opening { rules: rules.clone(), receivers: Vec::new() }).look() {
        Err(Obstacle { nature: Nature::Mistake, sentence }) => Err(OpenError(sentence)),
        _ => Ok(()),
    }
}

/// `custody` says whether the database is there to be opened.
pub(super) fn start(
    rules: &config::Inbox,
    receivers: &[String],
    metrics: Arc<Metrics>,
    custody: Custody,
) -> Result<Threads, OpenError> {
    let opening = Opening { rules: rules.clone(), receivers: receivers.to_vec() };
    let first = match custody {
        Custody::Here => opening.attempt(),
        _ => opening.look().and(Err(Obstacle::elsewhere())),
    };
    if let Err(Obstacle { nature: Nature::Mistake, sentence }) = first {
        return Err(OpenError(sentence));
    }
    let shared = Arc::new(Shared {
        path: rules.path.clone(),
        vault: OnceLock::new(),
        retain: rules.retain,
        keep_answers: rules.keep_answers,
        ages: Mutex::new(Ages::new(rules.retain.max(rules.keep_answers).max(rules.ledger), clock::now())),
        max_bytes: rules.max_bytes,
        queue: Queue::default(),
        desk: Desk::new(receivers),
        parents: Parents::default(),
        ledger: Pending::new(Bounds::new(rules.ledger, rules.ledger_max_bytes)),
        health: Health::default(),
        custody: Keeper::new(custody),
        progress: Progress::default(),
        generation: AtomicU64::new(0),
        metrics,
    });
    declare(receivers, rules.max_bytes, &shared.metrics);
    let no_thread = |_| OpenError("the system starts no thread for the inbox: raise its limit of threads".to_owned());
    let deliveries = Reader::start("inbox-lease", shared.clone()).map_err(no_thread)?;
    let operators = Reader::start("inbox-list", shared.clone()).map_err(no_thread)?;
    let keys = Reader::start("inbox-keys", shared.clone()).map_err(no_thread)?;
    let thread = |name: &str| thread::Builder::new().name(name.to_owned());
    let moving = shared.clone();
    let mover = thread("inbox-move").spawn(move || checkpoint::run(&moving)).map_err(no_thread)?;
    let mut home = Home::new(opening);
    let store = home.move_in(&shared, first);
    let writer = Writer::new(shared.clone(), home, store, mover);
    let writer = thread("inbox-write").spawn(move || writer.run()).map_err(no_thread)?;
    let turnstiles = Arc::default();
    Ok(Threads { shared, deliveries, operators, keys, turnstiles, writer: Mutex::new(Some(writer)) })
}

/// Series that stand at zero are there from the start, so that an alert can rely on them.
pub(super) fn declare(receivers: &[String], max_bytes: u64, metrics: &Metrics) {
    let callbacks = &metrics.callbacks;
    ["written", "dropped"].iter().for_each(|outcome| callbacks.noted(outcome, 0));
    // Also while the database cannot be opened: it says that there is to be an inbox.
    callbacks.inbox_max_bytes.set(number(max_bytes));
    for receiver in receivers {
        for state in [State::Waiting, State::Delivered, State::Dead] {
            callbacks.entries.with_label_values(&[receiver.as_str(), state.as_str()]).set(0);
        }
        for state in [State::Waiting, State::Dead] {
            callbacks.oldest_seconds.with_label_values(&[receiver.as_str(), state.as_str()]).set(0);
        }
    }
}
