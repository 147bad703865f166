//! Assembles the half that takes callbacks: the sources, the public listener, what goes on beside it.
//!
//! What is wrong with it is found at the start, like everything else; afterwards its troubles are its own, and calls go
//! out whatever becomes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::base::Base;
use super::generation::Generation;
use super::{StartError, unbound};
use crate::config::{self, Config};
use crate::envelope::Cipher;
use crate::http::door::Public;
use crate::http::listener::Listener;
use crate::http::present::Present;
use crate::http::tls::Tls;
use crate::inbound::condition::Condition;
use crate::inbound::relay::Relay;
use crate::inbound::source::{Mode, Source, Sources};
use crate::inbound::{Inbound, Upkeep};
use crate::inbox::Inbox;

/// Everything that callbacks need beside the inbox, bound.
pub(super) struct Callbacks {
    pub(super) listener: Listener<Inbound>,
    pub(super) upkeep: Upkeep,
}

impl Callbacks {
    /// Binds. `None`: no callbacks are configured.
    ///
    /// # Errors
    /// A certificate that cannot be shown, an address that is taken.
    pub(super) fn try_new(generation: &Generation, base: &Base) -> Result<Option<Self>, StartError> {
        let Some(((inbound, rules), listening)) =
            generation.inbound.clone().zip(generation.config.inbound.as_ref()).zip(generation.rules().inbound)
        else {
            return Ok(None);
        };
        let tls = match &rules.tls {
            Some(identity) => {
                let of_tls = |error: &dyn std::fmt::Display| StartError(format!("[inbound] tls: {error}"));
                let pair = identity.read().map_err(|error| of_tls(&error))?;
                let expiry = base.metrics.callbacks.certificate_expiry.with_label_values(&["inbound"]);
                Some(Arc::new(Tls::try_new(pair, expiry).map_err(|error| of_tls(&error))?))
            }
            None => None,
        };
        let inbound = Arc::new(Present::new(inbound, listening));
        let (proxies, per_address) = (rules.trusted_proxies.clone(), rules.max_connections_per_address);
        let public = Public { tls: tls.clone(), per_address, proxies };
        let listener =
            Listener::try_new("inbound", rules.listen, inbound.clone(), rules.threads.number(), base.drain.clone())
                .map_err(|error| unbound("inbound", rules.listen, &error))?;
        Ok(Some(Self { listener: listener.public(public), upkeep: Upkeep { inbound, tls } }))
    }

    /// Where the platform calls, with the port that port 0 became.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }
}

/// The sources of a configuration. What the `former` ones refused is not forgotten, and ways that are the same stay.
pub(super) fn sources(
    config: &Config,
    ciphers: &[Option<Cipher>],
    inbox: Option<&Inbox>,
    former: Option<&Inbound>,
) -> Result<Sources, StartError> {
    let mut sources = Sources::default();
    for source in &config.sources {
        let former = former.and_then(|former| former.sources.named(&source.name));
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
                let kept = former.and_then(Source::relay).filter(|relay| relay.is_to(receiver, timeout));
                Mode::Relay(kept.cloned().unwrap_or_else(|| Arc::new(Relay::new(receiver, timeout))))
            }
            (config::Mode::Store, None) => {
                return Err(StartError(format!("source {:?} stores and there is no [inbox]; add one", source.name)));
            }
        };
        let quarantine = inbox.filter(|_| source.quarantine > 0).map(|inbox| (inbox.clone(), source.quarantine));
        let cipher = ciphers.get(source.account).cloned().flatten();
        sources.insert(source.path.clone(), Source::new(source, cipher, mode, quarantine, former));
    }
    Ok(sources)
}
