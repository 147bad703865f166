//! Assembles the half that takes callbacks: the public listener, and what goes on beside it.
//!
//! What is wrong with it is found at the start, like everything else; afterwards its troubles are its own, and calls go
//! out whatever becomes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::base::Base;
use super::generation::Generation;
use super::{StartError, unbound};
use crate::http::door::Public;
use crate::http::listener::{Listener, Site};
use crate::http::present::Present;
use crate::http::tls::Tls;
use crate::inbound::{Inbound, Upkeep};

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
    pub(super) fn try_new(
        generation: &Generation,
        base: &Base,
        site: impl FnOnce(&'static str, SocketAddr) -> Site,
    ) -> Result<Option<Self>, StartError> {
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
        let (site, threads) = (site("inbound", rules.listen), rules.threads.number());
        let listener = Listener::try_new("inbound", site, inbound.clone(), threads, base.callbacks.clone())
            .map_err(|error| unbound("inbound", rules.listen, &error))?;
        Ok(Some(Self { listener: listener.public(public), upkeep: Upkeep { inbound, tls } }))
    }

    /// Where the platform calls, with the port that port 0 became.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }
}
