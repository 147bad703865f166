//! Another configuration while the gateway runs: on SIGHUP, and when an operator asks.
//!
//! One at a time: it is read and built whole, then swapped; one that cannot be used is refused, and the former one serves
//! on. It never stops anything, and never touches a connection.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::base::Base;
use super::generation::Generation;
use super::notify;
use crate::admin::{Admin, Asked, Reloaded};
use crate::clock;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::http::present::Present;
use crate::http::tls::{Certified, Tls};
use crate::inbound::Inbound;
use crate::log;
use crate::outbound::Outbound;

/// How often it is looked whether the calls of a former configuration have ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// SIGHUP, which ends a process that does not ask for it.
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Asks for it. What comes from now on is told to whoever reads this, once for all that came meanwhile.
    ///
    /// # Errors
    /// The system gives no pipe, or has no such signal.
    pub(crate) fn catch() -> io::Result<Self> {
        // Whichever runtime runs later reads it; to ask, one has to be there.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map(Self)
    }
}

/// What serves, and can be replaced.
pub(super) struct Served {
    pub(super) base: Base,
    pub(super) generation: Generation,
    pub(super) outbound: Arc<Present<Outbound>>,
    pub(super) admin: Arc<Present<Admin>>,
    pub(super) inbound: Option<Arc<Present<Inbound>>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) delivery: Option<Delivery>,
}

/// Runs beside the listeners.
pub(super) struct Reloader {
    /// Taken when it starts.
    asking: Mutex<Option<(Hangups, mpsc::Receiver<Asked>)>>,
    files: Arc<Files>,
    served: Arc<Mutex<Served>>,
}

/// What a new configuration is read from and compared with.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) written: Config,
}

/// Why a configuration is not used.
struct Refused {
    /// A value of `config_reload_total{outcome}`.
    reason: &'static str,
    sentence: String,
}

/// What may still serve calls of a former configuration.
type Former = (Weak<Outbound>, Option<Weak<Inbound>>);

#[async_trait]
impl BackgroundService for Reloader {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some((mut hangups, mut asking)) = lock(&self.asking).take() else { return };
        let (mut former, mut look): (Vec<Former>, _) = (Vec::new(), interval(LOOK_EVERY));
        loop {
            let mut asked: Vec<Asked> = Vec::new();
            tokio::select! {
                _ = hangups.0.recv() => {}
                Some(operator) = asking.recv() => asked.push(operator),
                _ = look.tick(), if !former.is_empty() => {
                    self.forget(&mut former);
                    continue;
                }
                _ = shutdown.changed() => return,
            }
            // Whoever asked before it begins is told of this one.
            asked.extend(std::iter::from_fn(|| asking.try_recv().ok()));
            let (files, served) = (self.files.clone(), self.served.clone());
            notify::reloading();
            // Files may hang, and certificate authorities take their time.
            let reloaded = tokio::task::spawn_blocking(move || reload(&files, &mut lock(&served))).await;
            let reloaded = reloaded.unwrap_or_else(|_| {
                let sentence = "the gateway failed while it built the configuration; report its log line".to_owned();
                Err(Refused { reason: "internal", sentence })
            });
            let told = self.tell(reloaded, &mut former);
            notify::ready();
            asked.into_iter().for_each(|operator| drop(operator.send(told.clone())));
        }
    }
}

impl Reloader {
    pub(super) fn new(
        files: Files,
        hangups: Hangups,
        asking: mpsc::Receiver<Asked>,
        served: Arc<Mutex<Served>>,
    ) -> Self {
        Self { asking: Mutex::new(Some((hangups, asking))), files: Arc::new(files), served }
    }

    /// In the log, in the series, and for whoever asked.
    fn tell(&self, reloaded: Result<(Former, Vec<String>), Refused>, former: &mut Vec<Former>) -> Reloaded {
        let served = lock(&self.served);
        let (metrics, now) = (&served.base.metrics, clock::wall_millis() / 1000);
        match reloaded {
            Ok((replaced, warnings)) => {
                former.push(replaced);
                metrics.config_reloaded("ok", now);
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let Config { accounts, programs, sources, receivers, .. } = &served.generation.config;
                tracing::info!(
                    accounts = accounts.len() as u64,
                    programs = programs.len() as u64,
                    sources = sources.len() as u64,
                    receivers = receivers.len() as u64,
                    "another configuration serves"
                );
                Reloaded::Done { path: self.files.path.clone(), warnings }
            }
            Err(Refused { reason, sentence }) => {
                metrics.config_reloaded(reason, now);
                tracing::error!(reason, "{sentence}; the former configuration serves on");
                Reloaded::Refused { reason, sentence }
            }
        }
    }

    /// Forgets the series of names that are gone, once nobody counts under them any more.
    fn forget(&self, former: &mut Vec<Former>) {
        let has_ended = |(outbound, inbound): &Former| {
            outbound.strong_count() == 0 && inbound.as_ref().is_none_or(|inbound| inbound.strong_count() == 0)
        };
        let before = former.len();
        former.retain(|former| !has_ended(former));
        if former.len() < before {
            let served = lock(&self.served);
            served.base.metrics.retain(|of, name| served.generation.has(of, name));
        }
    }
}

/// Reads, builds, swaps. Blocking, inside a runtime.
fn reload(files: &Files, served: &mut Served) -> Result<(Former, Vec<String>), Refused> {
    let mut config =
        Config::load(&files.path).map_err(|error| Refused { reason: "invalid", sentence: error.to_string() })?;
    let of_file = |sentence: &dyn std::fmt::Display| format!("{}: {sentence}", files.path.display());
    let invalid = |sentence: &dyn std::fmt::Display| Refused { reason: "invalid", sentence: of_file(sentence) };
    let fixed = files.written.fixed_in(&config);
    if !fixed.is_empty() {
        let sentence = format!(
            "{} cannot change while the gateway runs; restart it, or put the former values back",
            fixed.join(", ")
        );
        return Err(Refused { reason: "restart", sentence: of_file(&sentence) });
    }
    let warnings = std::mem::take(&mut config.warnings);
    let identity = config.inbound.as_ref().and_then(|rules| rules.tls.clone());
    let of_tls = |error: &dyn std::fmt::Display| invalid(&format_args!("[inbound] tls: {error}"));
    let shown = match (&served.tls, identity) {
        (Some(tls), Some(identity)) => {
            let pair = identity.read().map_err(|error| of_tls(&error))?;
            Some((tls.clone(), Tls::certify(pair).map_err(|error| of_tls(&error))?))
        }
        _ => None,
    };
    let next = Generation::try_new(config, Some(&served.generation), &served.base).map_err(|error| invalid(&error))?;
    Ok((swap(served, next, shown), warnings))
}

/// Nothing here fails.
fn swap(served: &mut Served, next: Generation, shown: Option<(Arc<Tls>, Certified)>) -> Former {
    let rules = next.rules();
    served.outbound.replace(next.outbound.clone(), rules.outbound);
    if let (Some(face), Some(inbound), Some(rules)) = (&served.inbound, &next.inbound, rules.inbound) {
        face.replace(inbound.clone(), rules);
    }
    served.admin.replace(next.admin.clone(), rules.admin);
    if let Some((tls, certified)) = shown {
        tls.show(certified);
    }
    if let Some(inbox) = &served.base.inbox {
        inbox.reconfigure(next.config.receivers.iter().map(|receiver| receiver.name.clone()).collect());
    }
    if let Some(delivery) = &served.delivery {
        delivery.replace(&next.config.receivers);
    }
    log::reshape(next.config.log.format);
    let former = std::mem::replace(&mut served.generation, next);
    // Their names may be others' from now on.
    for (cache, family) in former.outbound.accounts.iter().flat_map(|account| account.caches()) {
        let is_present = served.generation.outbound.accounts.iter().any(|account| account.tokens(family).is(cache));
        if !is_present {
            cache.retire();
        }
    }
    (Arc::downgrade(&former.outbound), former.inbound.as_ref().map(Arc::downgrade))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
