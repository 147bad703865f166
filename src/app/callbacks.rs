//! Assembles the half that takes callbacks: the sources, the public listener, what goes on beside it.
//!
//! What is wrong with it is found at the start, like everything else; afterwards its troubles are its own, and calls go
//! out whatever becomes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, unbound};
use crate::config::{self, Config};
use crate::envelope::Cipher;
use crate::http::door::Public;
use crate::http::listener::{Drain, Listener, Rules};
use crate::http::tls::Tls;
use crate::inbound::condition::Condition;
use crate::inbound::relay::Relay;
use crate::inbound::source::{Mode, Source, Sources};
use crate::inbound::{Inbound, Refusals, Upkeep};
use crate::inbox::Inbox;
use crate::limit::Budget;
use crate::metrics::Metrics;

/// How long a callback waits for its share of the memory: the platform waits meanwhile, and will try again.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// Everything that callbacks need beside the inbox, bound.
pub(super) struct Callbacks {
    pub(super) listener: Listener<Inbound>,
    pub(super) upkeep: Upkeep,
}

impl Callbacks {
    /// Binds. `ciphers` are those of the accounts, in their order; the inbox is there when a source stores. `None`: no
    /// callbacks are configured.
    ///
    /// # Errors
    /// A certificate that cannot be shown, an address that is taken.
    pub(super) fn try_new(
        config: &Config,
        ciphers: &[Option<Cipher>],
        inbox: Option<&Inbox>,
        metrics: &Arc<Metrics>,
        drain: &Drain,
    ) -> Result<Option<Self>, StartError> {
        let Some(rules) = &config.inbound else { return Ok(None) };
        let tls = match &rules.tls {
            Some(identity) => {
                let of_tls = |error: &dyn std::fmt::Display| StartError(format!("[inbound] tls: {error}"));
                let pair = identity.read().map_err(|error| of_tls(&error))?;
                let expiry = metrics.callbacks.certificate_expiry.with_label_values(&["inbound"]);
                let tls = Tls::try_new(pair, expiry).map_err(|error| of_tls(&error))?;
                Some((Arc::new(tls), identity.clone()))
            }
            None => None,
        };
        let inbound = Arc::new(Inbound {
            sources: sources(config, ciphers, inbox)?,
            budget: Budget::new(rules.memory, MEMORY_WAIT, &metrics.memory_in_use),
            rules: rules.clone(),
            metrics: metrics.clone(),
            refusals: Refusals::default(),
            drain: drain.clone(),
        });
        metrics.memory_budget.add(rules.memory as i64);
        config.sources.iter().for_each(|source| metrics.callbacks.source(&source.name));
        let upkeep = Upkeep { inbound: inbound.clone(), tls: tls.clone() };
        let listener = listener(rules, inbound, tls.map(|(tls, _)| tls), drain)?;
        Ok(Some(Self { listener, upkeep }))
    }

    /// Where the platform calls, with the port that port 0 became.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }
}

fn listener(
    rules: &config::Inbound,
    inbound: Arc<Inbound>,
    tls: Option<Arc<Tls>>,
    drain: &Drain,
) -> Result<Listener<Inbound>, StartError> {
    let deadlines = Rules {
        header_timeout: rules.header_timeout,
        keepalive_timeout: rules.keepalive_timeout,
        max_connections: rules.max_connections,
        max_header: rules.max_header,
        write_timeout: rules.body_timeout,
    };
    let public = Public { tls, per_address: rules.max_connections_per_address, proxies: rules.trusted_proxies.clone() };
    let listener = Listener::try_new("inbound", rules.listen, inbound, deadlines, rules.threads, drain.clone());
    Ok(listener.map_err(|error| unbound("inbound", rules.listen, &error))?.public(public))
}

fn sources(config: &Config, ciphers: &[Option<Cipher>], inbox: Option<&Inbox>) -> Result<Sources, StartError> {
    let mut sources = Sources::default();
    for source in &config.sources {
        let receivers = source.receivers.iter().map(|&index| &config.receivers[index]);
        let mode = match (source.mode, inbox) {
            (config::Mode::Store, Some(inbox)) => {
                let takers = receivers
                    .map(|receiver| (receiver.name.as_str().into(), receiver.when.as_ref().map(Condition::new)))
                    .collect();
                Mode::Store(inbox.clone(), takers)
            }
            (config::Mode::Relay { timeout }, _) => {
                let receiver = receivers.into_iter().next();
                let receiver = receiver.ok_or_else(|| {
                    StartError(format!("source {:?} relays and has no receiver; name one", source.name))
                })?;
                Mode::Relay(Box::new(Relay::new(receiver, timeout)))
            }
            (config::Mode::Store, None) => {
                return Err(StartError(format!("source {:?} stores and there is no [inbox]; add one", source.name)));
            }
        };
        let quarantine = inbox.filter(|_| source.quarantine > 0).map(|inbox| (inbox.clone(), source.quarantine));
        let cipher = ciphers.get(source.account).cloned().flatten();
        sources.insert(source.path.clone(), Source::new(source, cipher, mode, quarantine));
    }
    Ok(sources)
}
