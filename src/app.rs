//! Assembles the gateway: one of each shared thing, one service for each listener. Nothing else sees everybody.
//!
//! Everything that can be wrong with a configuration is found here, before the first connection is accepted. A disk that
//! cannot be used at this moment is not of that kind: it costs callbacks, and calls go out.

mod callbacks;
pub(crate) mod descriptors;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use tokio::signal::unix::{SignalKind, signal};

use callbacks::Callbacks;

use crate::admin::{Access, Admin, History, Looks};
use crate::clock;
use crate::config::{self, Config};
use crate::delivery::{Delivery, Stop};
use crate::envelope::Cipher;
use crate::http::client::Client;
use crate::http::listener::{Drain, Listener, Rules};
use crate::inbox::Inbox;
use crate::limit::{AccountLimits, Budget, ProgramLimits};
use crate::metrics::Metrics;
use crate::metrics::recent::{Failure, Half};
use crate::outbound::Outbound;
use crate::outbound::account::{Account, Sealing};
use crate::outbound::record::CallSeries;
use crate::outbound::route::Routes;
use crate::program::Programs;
use crate::token::{Cache, Family, HttpLogin, LoginEnvelope, LoginError, Observer, Unavailable};

/// How often idle connections are looked at, so that one the platform closed does not stay half open.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often the names of the platforms are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

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
    drain: Drain,
    grace: Duration,
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
    /// Builds everything and binds the listeners.
    ///
    /// # Errors
    /// A rule that names no operation, a key that does not fit, an inbox that cannot be ours, or an address that is taken.
    pub(crate) fn try_new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let drain = Drain::new();
        let limits = ProgramLimits::all(&config.programs, &[], clock::now());
        let accounts = check(config)?
            .into_iter()
            .zip(&config.accounts)
            .map(|(sealing, account)| Arc::new(assemble(account, sealing, config, &limits, &metrics)))
            .collect::<Vec<_>>();
        let rules = &config.outbound;
        metrics.memory_budget.set(rules.memory as i64);
        let listener_rules = Rules {
            header_timeout: rules.header_timeout,
            keepalive_timeout: rules.keepalive_timeout,
            max_connections: rules.max_connections,
            max_header: rules.max_header,
            write_timeout: rules.body_timeout,
        };
        let ciphers: Vec<_> =
            accounts.iter().map(|account| account.sealing.as_ref().map(|sealing| sealing.cipher.clone())).collect();
        let inbox = config.inbox.as_ref().map(|rules| open_inbox(rules, config, &metrics)).transpose()?;
        let delivery = inbox.as_ref().zip(config.inbox.as_ref());
        let delivery = delivery.map(|(inbox, rules)| Delivery::new(&config.receivers, rules.retain, inbox, &metrics));
        let callbacks = Callbacks::try_new(config, &ciphers, inbox.as_ref(), &metrics, &drain)?;
        let history = History::new();
        let looks = Looks { metrics: metrics.clone(), history: history.clone() };
        let admin = Admin {
            metrics: metrics.clone(),
            tokens: accounts.iter().map(|account| (account.name.clone(), account.cloud.clone())).collect(),
            inbound: config.inbound.is_some(),
            inbox: inbox.clone(),
            access: Access::new(&config.admin),
            history: history.clone(),
        };
        let routes = Routes::try_new(&config.operations).map_err(StartError)?;
        let counts = metrics.call_counts(callers(config), routes.names().chain(["-"]));
        let outbound = Outbound {
            limits,
            programs: Programs::try_new(&config.programs, &rules.tokens, clock::now()).map_err(StartError)?,
            routes,
            budget: Budget::new(rules.memory, rules.memory_wait, &metrics.memory_in_use),
            inbox: inbox.clone(),
            rules: rules.clone(),
            accounts: accounts.clone(),
            series: CallSeries::new(metrics, counts, inbox.as_ref()),
            drain: drain.clone(),
        };
        Ok(Self {
            outbound: Listener::try_new(
                "outbound",
                rules.listen,
                Arc::new(outbound),
                listener_rules,
                rules.threads,
                drain.clone(),
            )
            .map_err(|error| unbound("outbound", rules.listen, &error))?,
            admin: Listener::try_new(
                "admin",
                config.admin.listen,
                Arc::new(admin),
                Rules { max_connections: descriptors::ADMIN_CONNECTIONS, ..listener_rules },
                1,
                drain.clone(),
            )
            .map_err(|error| unbound("admin", config.admin.listen, &error))?,
            callbacks,
            inbox,
            delivery,
            upkeep: Upkeep { accounts },
            looks,
            drain,
            grace: rules.grace,
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
        let deliveries = self.delivery.as_ref().map(Delivery::stop);
        if let Some(delivery) = self.delivery {
            server.add_service(background_service("delivery", delivery));
        }
        let signals = Signals { drain: self.drain, deliveries, grace: self.grace };
        server.run(RunArgs { shutdown_signal: Box::new(signals) });
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

/// Opens the inbox, or has it tried again while the gateway runs.
fn open_inbox(rules: &config::Inbox, config: &Config, metrics: &Arc<Metrics>) -> Result<Inbox, StartError> {
    let names: Vec<_> = config.receivers.iter().map(|receiver| receiver.name.clone()).collect();
    Inbox::open(rules, &names, metrics.clone()).map_err(|error| StartError(format!("[inbox] {error}")))
}

fn unbound(name: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    StartError(format!("[{name}] listen = \"{address}\" cannot be bound ({error}); free the port or choose another"))
}

/// Everything that is wrong with a configuration beyond its text; on success each account's cipher.
///
/// # Errors
/// One sentence that says what to do.
pub(crate) fn check(config: &Config) -> Result<Vec<Option<Sealing>>, StartError> {
    let routes = Routes::try_new(&config.operations).map_err(StartError)?;
    routes.check_allowed(&config.programs).map_err(StartError)?;
    config
        .accounts
        .iter()
        .map(|account| {
            let Some(encryption) = &account.encryption else {
                let sealed = config.operations.iter().find(|rule| rule.sealed == Some(true));
                return match sealed {
                    // What should be sealed must never leave plain.
                    Some(rule) => Err(StartError(format!(
                        "[[operation]] {:?} asks for encryption, but account {:?} has none; give the account a key",
                        rule.name, account.name
                    ))),
                    None => Ok(None),
                };
            };
            let cipher = Cipher::try_new(&encryption.scheme, &encryption.key)
                .map_err(|error| StartError(format!("account {:?}: {error}", account.name)))?;
            let content_type = HeaderValue::from_str(&encryption.content_type).map_err(|_| {
                StartError(format!(
                    "account {:?}: content_type is not a header value; write a media type",
                    account.name
                ))
            })?;
            Ok(Some(Sealing {
                cipher,
                scheme: encryption.scheme.clone(),
                content_type,
                empty_query: encryption.empty_query,
            }))
        })
        .collect()
}

fn assemble(
    account: &config::Account,
    sealing: Option<Sealing>,
    config: &Config,
    programs: &[ProgramLimits],
    metrics: &Arc<Metrics>,
) -> Account {
    let client = Arc::new(Client::new(account.upstream.clone(), account.ca.as_deref(), account.timeouts));
    let tokens = |family: Family, label: &'static str| {
        let envelope = sealing.as_ref().map(|sealing| LoginEnvelope {
            cipher: sealing.cipher.clone(),
            seals: account.encryption.as_ref().is_some_and(|encryption| encryption.seal_login),
        });
        let login =
            HttpLogin::new(client.clone(), family, account.app_key.clone(), account.app_secret.clone(), envelope);
        let observer = TokenObserver {
            account: account.name.clone(),
            family: label,
            life: account.token.life,
            metrics: metrics.clone(),
        };
        Cache::new(account.token, login, observer)
    };
    // Every account needs this token, so its absence shows from the start on.
    metrics.token_expiry.with_label_values(&[&account.name, "cloud"]).set(0);
    Account {
        name: account.name.clone(),
        cloud: tokens(Family::Cloud, "cloud"),
        call_centre: tokens(Family::CallCentre, "call_centre"),
        client,
        sealing,
        limits: AccountLimits::new(account, &config.operations, programs, None, metrics, clock::now()),
        series: metrics.account(&account.name),
    }
}

/// Whose calls are counted: each program with the accounts it may use, and with `-` for what was refused before one was
/// known.
fn callers(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    let named = config.programs.iter().map(|program| (program.name.as_str(), program.account));
    named.chain([("-", None)]).flat_map(move |(name, bound)| {
        let may = move |index: usize| bound.is_none_or(|bound| bound == index);
        let accounts = config.accounts.iter().enumerate().filter(move |(index, _)| may(*index));
        // Where there are programs, a call without one has no account.
        let accounts = accounts.filter(move |_| name != "-" || config.programs.is_empty());
        accounts.map(|(_, account)| account.name.as_str()).chain(["-"]).map(move |account| (name, account))
    })
}

/// Turns what happens to a token into metrics and log lines.
struct TokenObserver {
    account: String,
    family: &'static str,
    life: Duration,
    metrics: Arc<Metrics>,
}

impl Observer for TokenObserver {
    fn login_ended(&self, outcome: Result<u64, LoginError>, took: Duration) {
        let (account, family) = (self.account.as_str(), self.family);
        let word = outcome.map_or_else(LoginError::reason, |_| "ok");
        self.metrics.token_refreshes.with_label_values(&[account, family, word]).inc();
        let took_us = took.as_micros() as u64;
        match outcome {
            Ok(generation) => {
                let ends = clock::wall_millis() / 1000 + self.life.saturating_sub(took).as_secs();
                self.metrics.token_expiry.with_label_values(&[account, family]).set(ends as i64);
                tracing::info!(account, family, generation, took_us, "token refreshed");
            }
            Err(error) => {
                let (half, fault) = (Half::Login, "platform");
                self.metrics.recent.note(
                    Failure { half, word, name: account, operation: "-", fault, status: 0, code: None },
                    clock::wall_millis(),
                );
                tracing::warn!(account, family, reason = word, took_us, "login failed: {error}");
            }
        }
    }

    fn login_withheld(&self, unavailable: &Unavailable) {
        let wait_ms = unavailable.retry_after.as_millis() as u64;
        let reason = unavailable.reason.reason();
        self.metrics.token_refreshes.with_label_values(&[&self.account, self.family, "withheld"]).inc();
        tracing::warn!(account = self.account.as_str(), family = self.family, reason, wait_ms, "login withheld");
    }

    fn token_refused(&self, generation: u64) {
        self.metrics.token_expiry.with_label_values(&[self.account.as_str(), self.family]).set(0);
        tracing::warn!(
            account = self.account.as_str(),
            family = self.family,
            generation,
            "token refused by the platform"
        );
    }
}

/// Keeps tokens fresh and addresses known, away from the calls.
struct Upkeep {
    accounts: Vec<Arc<Account>>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        let stopped = |mut shutdown: ShutdownWatch| async move {
            let _ = shutdown.wait_for(|&stopping| stopping).await;
        };
        for account in &self.accounts {
            tokio::spawn(account.cloud.clone().keep_fresh(stopped(shutdown.clone())));
            tokio::spawn(account.call_centre.clone().keep_fresh_while_used(stopped(shutdown.clone())));
        }
        let mut shutdown = shutdown;
        let (mut sweep, mut resolve) = (tokio::time::interval(SWEEP_EVERY), tokio::time::interval(RESOLVE_EVERY));
        loop {
            tokio::select! {
                _ = sweep.tick() => self.accounts.iter().for_each(|account| {
                    account.client.sweep();
                    account.limits.recover(clock::now());
                }),
                _ = resolve.tick() => self.resolve().await,
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Upkeep {
    async fn resolve(&self) {
        for account in &self.accounts {
            if let Err(error) = account.client.resolve().await {
                let account = account.name.as_str();
                tracing::warn!(account, kind = ?error.kind(), "the platform's name does not resolve; keeping the known addresses");
            }
        }
    }
}

/// SIGTERM and SIGINT drain; a second signal ends at once.
struct Signals {
    drain: Drain,
    deliveries: Option<Stop>,
    grace: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be received; stop the gateway with SIGKILL");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(grace_s = self.grace.as_secs(), "draining: no new connections, calls in flight may finish");
        let deliveries = async {
            if let Some(deliveries) = &self.deliveries {
                deliveries.stop(self.grace).await;
            }
        };
        let cut = tokio::select! {
            (cut, ()) = async { tokio::join!(self.drain.drain(self.grace), deliveries) } => cut,
            _ = terminate.recv() => 0,
            _ = interrupt.recv() => 0,
        };
        if cut > 0 {
            tracing::warn!(calls = cut as u64, "the grace period ended with calls in flight; they are cut");
        }
        tracing::info!("stopped");
        ShutdownSignal::GracefulTerminate
    }
}
