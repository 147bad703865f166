//! Assembles the gateway: one of each shared thing, one service for each listener. Nothing else sees everybody.
//!
//! Everything that can be wrong is found here, before the first connection is accepted. What a configuration decides is a
//! generation, which another one can replace while the gateway runs.

mod accounts;
mod base;
mod callbacks;
mod check;
pub(crate) mod descriptors;
mod generation;
mod reload;
mod signals;
mod sources;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;

use base::Base;
use callbacks::Callbacks;
use generation::Generation;
use reload::Reloader;
pub(crate) use reload::{Hangups, Origin};
use signals::Signals;
use upkeep::Upkeep;

use crate::admin::{Admin, Looks, Reloads};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::http::listener::Listener;
use crate::http::present::Present;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::outbound::Outbound;

pub(crate) use check::check;

/// A gateway that is bound and ready to run.
pub(crate) struct Gateway {
    outbound: Listener<Outbound>,
    admin: Listener<Admin>,
    callbacks: Option<Callbacks>,
    inbox: Option<Inbox>,
    /// As long as there is an inbox, also without a listener: what waits in it is delivered.
    delivery: Option<Delivery>,
    upkeep: Upkeep,
    looks: Looks,
    signals: Signals,
    /// `None`: the configuration is no file that could be read again.
    reloader: Option<Reloader>,
}

/// Why a gateway cannot start: one sentence that says what to do.
#[derive(Debug)]
pub(crate) struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Gateway {
    /// Builds everything and binds the listeners. `origin` is where the configuration is read again from.
    ///
    /// # Errors
    /// A rule that names no operation, a key that does not fit, an inbox that cannot be ours, or an address that is taken.
    pub(crate) fn try_new(config: &Config, metrics: Arc<Metrics>, origin: Option<Origin>) -> Result<Self, StartError> {
        let (reloads, asked) = Reloads::new();
        let base = Base::try_new(config, metrics, origin.is_some().then_some(reloads))?;
        let delivery = base.inbox.as_ref().zip(config.inbox.as_ref());
        let delivery =
            delivery.map(|(inbox, rules)| Delivery::new(&config.receivers, rules.retain, inbox, &base.metrics));
        let generation = Generation::try_new(config.clone(), None, &base)?;
        let rules = generation.rules();
        let outbound = Arc::new(Present::new(generation.outbound.clone(), rules.outbound));
        let admin = Arc::new(Present::new(generation.admin.clone(), rules.admin));
        let callbacks = Callbacks::try_new(&generation, &base)?;
        let bound = |error| unbound("outbound", config.outbound.listen, &error);
        let threads = config.outbound.threads.number();
        let listener =
            Listener::try_new("outbound", config.outbound.listen, outbound.clone(), threads, base.drain.clone());
        let listener = listener.map_err(bound)?;
        let bound = |error| unbound("admin", config.admin.listen, &error);
        let admin_listener = Listener::try_new("admin", config.admin.listen, admin.clone(), 1, base.drain.clone());
        let admin_listener = admin_listener.map_err(bound)?;
        let upkeep = Upkeep { outbound: outbound.clone() };
        let looks = Looks { metrics: base.metrics.clone(), history: base.history.clone() };
        let signals = Signals {
            drain: base.drain.clone(),
            deliveries: delivery.as_ref().map(Delivery::stop),
            outbound: outbound.clone(),
        };
        let inbox = base.inbox.clone();
        let reloader = origin.map(|origin| {
            let (inbound, tls) = callbacks.as_ref().map_or((None, None), |callbacks| {
                (Some(callbacks.upkeep.inbound.clone()), callbacks.upkeep.tls.clone())
            });
            Reloader::new(
                origin,
                asked,
                reload::Served { base, generation, outbound, admin, inbound, tls, delivery: delivery.clone() },
            )
        });
        Ok(Self {
            outbound: listener,
            admin: admin_listener,
            callbacks,
            inbox,
            delivery,
            upkeep,
            looks,
            signals,
            reloader,
        })
    }

    /// Where programs call, where operators look and where the platform calls back, with the ports that port 0 became.
    pub(crate) fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
        let inbound = self.callbacks.as_ref().map(Callbacks::address).transpose()?;
        Ok((self.outbound.address()?, self.admin.address()?, inbound))
    }

    /// Runs until SIGTERM or SIGINT; calls in flight may finish within the grace period.
    pub(crate) fn run(self) {
        let conf = ServerConf {
            work_stealing: false,
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(1),
            // The framework's defaults are shared by every program built on it.
            pid_file: String::new(),
            upgrade_sock: String::new(),
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        server.add_service(self.outbound);
        server.add_service(self.admin);
        server.add_service(background_service("upkeep", self.upkeep));
        server.add_service(background_service("status", self.looks));
        if let Some(callbacks) = self.callbacks {
            server.add_service(callbacks.listener);
            server.add_service(background_service("inbound upkeep", callbacks.upkeep));
        }
        if let Some(delivery) = self.delivery {
            server.add_service(background_service("delivery", delivery));
        }
        if let Some(reloader) = self.reloader {
            server.add_service(background_service("reload", reloader));
        }
        server.run(RunArgs { shutdown_signal: Box::new(self.signals) });
        // Last: whoever took a callback or settles a delivery has ended.
        if let Some(inbox) = self.inbox {
            inbox.close();
        }
    }
}

/// Whether the inbox is the one that is meant, as far as looking tells.
///
/// # Errors
/// One sentence that says what to do.
pub(crate) fn check_inbox(config: &Config) -> Result<(), StartError> {
    let checked = config.inbox.as_ref().map_or(Ok(()), Inbox::check_rules);
    checked.map_err(|error| StartError(format!("[inbox] {error}")))
}

fn unbound(name: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    StartError(format!("[{name}] listen = \"{address}\" cannot be bound ({error}); free the port or choose another"))
}
