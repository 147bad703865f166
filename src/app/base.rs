//! What was bound, opened, reserved or counted at the start and is the same for every configuration after that.
//!
//! It is made once. What a configuration may change does not belong here.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::admin::{History, Reloads};
use crate::clock;
use crate::config::Config;
use crate::http::drain::{Drain, Stage};
use crate::inbound::Refusals;
use crate::inbox::Inbox;
use crate::limit::Budget;
use crate::metrics::Metrics;

/// How long a callback waits for its share of the memory: the platform waits meanwhile, and will try again.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// Shared by all generations.
pub(super) struct Base {
    pub(super) metrics: Arc<Metrics>,
    /// Of calls and of what operators ask.
    pub(super) drain: Drain,
    /// Of callbacks, which another process takes over later than calls.
    pub(super) callbacks: Drain,
    /// `None`: nothing is stored.
    pub(super) inbox: Option<Inbox>,
    /// For the bodies of calls.
    pub(super) outbound_memory: Budget,
    /// For the bodies of callbacks.
    pub(super) inbound_memory: Budget,
    pub(super) refusals: Arc<Refusals>,
    /// What the status page knows of the last hour.
    pub(super) history: History,
    /// How operators ask for another configuration, where there may be one.
    pub(super) reloads: Option<Reloads>,
}

impl Base {
    /// Opens and reserves. `succeeds`: another process still serves, and has the inbox.
    ///
    /// # Errors
    /// An inbox that cannot be ours.
    pub(super) fn try_new(
        config: &Config,
        metrics: Arc<Metrics>,
        reloads: Option<Reloads>,
        succeeds: bool,
    ) -> Result<Self, StartError> {
        // What only the assembly can know is wrong before anything is opened.
        super::check(config)?;
        let names: Vec<_> = config.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        let open = if succeeds { Inbox::succeed } else { Inbox::open };
        let inbox = config.inbox.as_ref().map(|rules| open(rules, &names, metrics.clone())).transpose();
        let stage = if succeeds { Stage::Waiting } else { Stage::Serving };
        let inbound = config.inbound.as_ref().map_or(0, |rules| rules.memory);
        metrics.config_serves(clock::wall_millis() / 1000);
        metrics.memory_budget.set((config.outbound.memory + inbound) as i64);
        Ok(Self {
            drain: Drain::new(stage),
            callbacks: Drain::new(stage),
            // It opens now or later; a mistake is told at once.
            inbox: inbox.map_err(|error| StartError(format!("[inbox] {error}")))?,
            outbound_memory: Budget::new(config.outbound.memory, config.outbound.memory_wait, &metrics.memory_in_use),
            inbound_memory: Budget::new(inbound, MEMORY_WAIT, &metrics.memory_in_use),
            refusals: Arc::default(),
            history: History::new(),
            reloads,
            metrics,
        })
    }
}
