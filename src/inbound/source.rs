//! A configured origin of callbacks at work: who may call, what opens its bodies, who gets them.
//!
//! Made once in `app`. A path leads to one source or to none, and looking for it takes the same time for each path of
//! a length.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::condition::Condition;
use super::loss::Losses;
use super::relay::Relay;
use crate::config::{self, SourceEncryption};
use crate::envelope::Cipher;
use crate::inbox::Inbox;

/// One origin.
pub(crate) struct Source {
    pub(super) name: Arc<str>,
    pub(super) encryption: SourceEncryption,
    /// The account's; `None`: it has no key.
    pub(super) cipher: Option<Cipher>,
    /// Empty: everybody.
    pub(super) allow: Vec<IpNet>,
    pub(super) mode: Mode,
    /// Where bodies that could not be opened are kept, and how many.
    pub(super) quarantine: Option<(Inbox, usize)>,
    /// One for all configurations that have a source of this name.
    pub(super) losses: Arc<Losses>,
}

/// What becomes of its callbacks.
pub(crate) enum Mode {
    /// They are stored for those receivers that take them.
    Store(Inbox, Vec<(Arc<str>, Option<Condition>)>),
    /// They are passed on while the platform waits.
    Relay(Arc<Relay>),
}

/// All origins, by their paths.
#[derive(Default)]
pub(crate) struct Sources(HashMap<String, Arc<Source>>);

impl Source {
    /// A source of the configuration, with its account's cipher. What its `former` self refused is not forgotten.
    pub(crate) fn new(
        source: &config::Source,
        cipher: Option<Cipher>,
        mode: Mode,
        quarantine: Option<(Inbox, usize)>,
        former: Option<&Self>,
    ) -> Self {
        Self {
            name: source.name.as_str().into(),
            encryption: source.encryption,
            cipher,
            allow: source.allow.clone(),
            mode,
            quarantine,
            losses: former.map_or_else(Arc::default, |former| former.losses.clone()),
        }
    }

    /// Where its callbacks are passed on to.
    pub(crate) fn relay(&self) -> Option<&Arc<Relay>> {
        match &self.mode {
            Mode::Relay(relay) => Some(relay),
            Mode::Store(..) => None,
        }
    }

    /// Whether anybody is configured to have what is stored.
    pub(super) fn has_receivers(&self) -> bool {
        matches!(&self.mode, Mode::Store(_, receivers) if !receivers.is_empty())
    }

    /// The receivers that take this JSON.
    pub(super) fn takers(&self, json: &str) -> Vec<Arc<str>> {
        let Mode::Store(_, receivers) = &self.mode else { return Vec::new() };
        let takes = |condition: &Option<Condition>| condition.as_ref().is_none_or(|condition| condition.holds(json));
        receivers.iter().filter(|(_, condition)| takes(condition)).map(|(name, _)| name.clone()).collect()
    }
}

impl Sources {
    /// A source under its path.
    pub(crate) fn insert(&mut self, path: String, source: Source) {
        self.0.insert(path, Arc::new(source));
    }

    /// The source of a path. The hash is keyed, so that its time tells nothing of how much of a path was right.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Source>> {
        self.0.get(path)
    }

    /// The source of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Source> {
        self.0.values().find(|source| &*source.name == name).map(AsRef::as_ref)
    }

    /// Each of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.0.values()
    }
}
