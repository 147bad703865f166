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
mod notify;
mod reload;
mod signals;
mod sources;
mod succession;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::watch;

use base::Base;
use callbacks::Callbacks;
use generation::Generation;
pub(crate) use reload::Hangups;
use reload::Reloader;
use reload::{Files, Served};
use signals::{Signals, Stops};
use succession::{Beginning, Listening, Predecessor, Successor};
pub(crate) use succession::{Inheritance, Upgrades};
use upkeep::Upkeep;

use crate::admin::{Admin, Looks, Reloads};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::http::listener::{Listener, Site};
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
    /// `None`: it was not started to take over.
    successor: Option<Successor>,
}

/// Of outbound, of admin, and of inbound if it listens.
pub(crate) type Addresses = (SocketAddr, SocketAddr, Option<SocketAddr>);

/// Why a gateway cannot start: one sentence that says what to do.
#[derive(Debug)]
pub(crate) struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Where a gateway came from: it is read again for another configuration, and started again for another binary.
pub(crate) struct Origin {
    /// The configuration file.
    pub(crate) path: PathBuf,
    /// As it was written there when the gateway started.
    pub(crate) written: Config,
    /// Where the binary lay.
    pub(crate) binary: PathBuf,
    /// Whether whoever started this process goes on when it ends and another one has taken over.
    pub(crate) upgradable: bool,
    /// Whether a service manager has to be told who goes on.
    pub(crate) is_watched: bool,
    /// Who asks for another configuration.
    pub(crate) hangups: Hangups,
    /// Who asks for another binary.
    pub(crate) upgrades: Upgrades,
    /// What the process before this one gives, if this one is to take over.
    pub(crate) inheritance: Option<Inheritance>,
}

impl Gateway {
    /// Builds everything and binds the listeners. `origin` is where the configuration is read again from.
    ///
    /// # Errors
    /// A rule that names no operation, a key that does not fit, an inbox that cannot be ours, or an address that is taken.
    pub(crate) fn try_new(config: &Config, metrics: Arc<Metrics>, origin: Option<Origin>) -> Result<Self, StartError> {
        let (reloads, asked) = Reloads::new();
        let mut origin = origin;
        let mut inheritance = origin.as_mut().and_then(|origin| origin.inheritance.take());
        let base = Base::try_new(config, metrics, origin.is_some().then_some(reloads), inheritance.is_some())?;
        let delivery = base.inbox.as_ref().zip(config.inbox.as_ref());
        let delivery =
            delivery.map(|(inbox, rules)| Delivery::new(&config.receivers, rules.retain, inbox, &base.metrics));
        let generation = Generation::try_new(config.clone(), None, &base)?;
        let rules = generation.rules();
        let outbound = Arc::new(Present::new(generation.outbound.clone(), rules.outbound));
        let admin = Arc::new(Present::new(generation.admin.clone(), rules.admin));
        let mut site = |name: &str, address| match &mut inheritance {
            Some(inheritance) => inheritance.site(name, address),
            None => Site::Address(address),
        };
        let callbacks = Callbacks::try_new(&generation, &base, &mut site)?;
        let bound = |error| unbound("outbound", config.outbound.listen, &error);
        let (place, threads) = (site("outbound", config.outbound.listen), config.outbound.threads.number());
        let listener = Listener::try_new("outbound", place, outbound.clone(), threads, base.drain.clone());
        let listener = listener.map_err(bound)?;
        let bound = |error| unbound("admin", config.admin.listen, &error);
        let place = site("admin", config.admin.listen);
        let admin_listener = Listener::try_new("admin", place, admin.clone(), 1, base.drain.clone()).map_err(bound)?;
        let upkeep = Upkeep { outbound: outbound.clone() };
        let looks = Looks { metrics: base.metrics.clone(), history: base.history.clone() };
        let (before, is_before) = watch::channel(false);
        let mut signals = Signals {
            // Before anybody is told that it listens, who may stop it at once.
            stops: Mutex::new(Stops::catch().ok()),
            drain: base.drain.clone(),
            callbacks: base.callbacks.clone(),
            deliveries: delivery.as_ref().map(Delivery::stop),
            outbound: outbound.clone(),
            predecessor: Mutex::default(),
            before: is_before,
            abandoned: Arc::default(),
            lost: Arc::default(),
            metrics: base.metrics.clone(),
        };
        let inbox = base.inbox.clone();
        let mut arrivals = vec![("outbound", listener.arrivals()), ("admin", admin_listener.arrivals())];
        arrivals.extend(callbacks.as_ref().map(|callbacks| ("inbound", callbacks.listener.arrivals())));
        let successor = inheritance.map(|inheritance| {
            inheritance.endow(&config.accounts, &outbound.load().accounts);
            Successor {
                heir: Mutex::new(Some(inheritance.heir())),
                arrivals: arrivals.clone(),
                drain: base.drain.clone(),
                callbacks: base.callbacks.clone(),
                inbox: inbox.clone(),
                outbound: outbound.clone(),
                metrics: base.metrics.clone(),
                abandoned: signals.abandoned.clone(),
                before,
                addresses: None,
            }
        });
        let reloader = match origin {
            None => None,
            Some(Origin { path, written, binary, upgradable, is_watched, hangups, upgrades, .. }) => {
                let sockets = [
                    ("outbound", config.outbound.listen, Some(listener.socket())),
                    ("admin", config.admin.listen, Some(admin_listener.socket())),
                    (
                        "inbound",
                        config.inbound.as_ref().map_or(config.admin.listen, |rules| rules.listen),
                        callbacks.as_ref().map(|callbacks| callbacks.listener.socket()),
                    ),
                ];
                let listening = sockets.into_iter().filter_map(|(name, address, socket)| {
                    let socket = socket?.map_err(|error| unbound(name, address, &error));
                    Some(socket.map(|socket| Listening { name, address, socket }))
                });
                let listening = listening.collect::<Result<_, _>>()?;
                let (inbound, tls) = callbacks.as_ref().map_or((None, None), |callbacks| {
                    (Some(callbacks.upkeep.inbound.clone()), callbacks.upkeep.tls.clone())
                });
                let (drain, on_callbacks) = (base.drain.clone(), base.callbacks.clone());
                let served = Served {
                    base,
                    generation,
                    outbound: outbound.clone(),
                    admin,
                    inbound,
                    tls,
                    delivery: delivery.clone(),
                };
                let served = Arc::new(Mutex::new(served));
                signals.predecessor = Mutex::new(Some(Predecessor {
                    origin: Beginning { binary, config: path.clone(), upgradable, is_watched, upgrades },
                    listening,
                    arrivals,
                    served: served.clone(),
                    outbound,
                    drain,
                    callbacks: on_callbacks,
                    deliveries: signals.deliveries.clone(),
                    inbox: inbox.clone(),
                }));
                Some(Reloader::new(Files { path, written }, hangups, asked, served))
            }
        };
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
            successor,
        })
    }

    /// Says where it listens: at once, or when it has taken over, because before that another process accepts there.
    pub(crate) fn tell_when_it_listens(&mut self) {
        let Ok(addresses) = self.addresses() else { return };
        match &mut self.successor {
            Some(successor) => successor.addresses = Some(addresses),
            None => tell_listening(addresses),
        }
    }

    /// Where programs call, where operators look and where the platform calls back, with the ports that port 0 became.
    pub(crate) fn addresses(&self) -> std::io::Result<Addresses> {
        let inbound = self.callbacks.as_ref().map(Callbacks::address).transpose()?;
        Ok((self.outbound.address()?, self.admin.address()?, inbound))
    }

    /// Runs until SIGTERM or SIGINT; calls in flight may finish within the grace period. Returns whether that was meant to be
    /// the end: it is not when the process that had taken over is lost.
    pub(crate) fn run(self) -> bool {
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
        match self.successor {
            Some(successor) => drop(server.add_service(background_service("succession", successor))),
            // Its sockets listen already.
            None => notify::ready(),
        }
        let lost = self.signals.lost.clone();
        server.run(RunArgs { shutdown_signal: Box::new(self.signals) });
        // Last: whoever took a callback or settles a delivery has ended.
        if let Some(inbox) = self.inbox {
            inbox.close();
        }
        !lost.load(Ordering::Acquire)
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

fn tell_listening((outbound, admin, inbound): Addresses) {
    let (inbound, pid) = (inbound.map(tracing::field::display), std::process::id());
    tracing::info!(%outbound, %admin, inbound, pid, version = env!("CARGO_PKG_VERSION"), "listening");
}

fn unbound(name: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    StartError(format!("[{name}] listen = \"{address}\" cannot be bound ({error}); free the port or choose another"))
}
