//! One configuration at work: built whole beside the one before it, or not at all.
//!
//! It takes over what outlives a configuration, found again by name: connections and tokens of accounts, what is used up of
//! limits, failed logins, what each source has refused. It binds nothing and swaps nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::accounts::accounts;
use super::base::Base;
use super::check::{Checked, check};
use super::sources::sources;
use super::{StartError, descriptors};
use crate::admin::{Access, Admin};
use crate::clock;
use crate::config::{self, Config};
use crate::http::present::Rules;
use crate::inbound::Inbound;
use crate::limit::ProgramLimits;
use crate::metrics::Caller;
use crate::metrics::catalogue::Configured;
use crate::outbound::Outbound;
use crate::outbound::account::Account;
use crate::outbound::record::CallSeries;
use crate::program::Programs;

/// What a configuration decides.
pub(super) struct Generation {
    pub(super) config: Config,
    pub(super) outbound: Arc<Outbound>,
    pub(super) admin: Arc<Admin>,
    /// `None`: no callbacks are configured.
    pub(super) inbound: Option<Arc<Inbound>>,
}

/// The rules of each listener.
pub(super) struct ListenerRules {
    pub(super) outbound: Rules,
    pub(super) admin: Rules,
    pub(super) inbound: Option<Rules>,
}

impl Generation {
    /// Builds it. What limits calls obeys the new configuration when this returns, a moment before it is swapped.
    ///
    /// # Errors
    /// One sentence that says what to do; then nothing has changed.
    pub(super) fn try_new(config: Config, former: Option<&Self>, base: &Base) -> Result<Self, StartError> {
        // First all that can go wrong.
        let Checked { routes, sealings } = check(&config)?;
        let rules = &config.outbound;
        let programs = match former {
            Some(former) => former.outbound.programs.succeeded_by(&config.programs, &rules.tokens),
            None => Programs::try_new(&config.programs, &rules.tokens, clock::now()).map_err(StartError)?,
        };
        let ciphers: Vec<_> =
            sealings.iter().map(|sealing| sealing.as_ref().map(|sealing| sealing.cipher.clone())).collect();
        let then = former.and_then(|former| former.inbound.as_deref());
        let inbound = match &config.inbound {
            None => None,
            Some(rules) => Some(Arc::new(Inbound {
                sources: sources(&config, &ciphers, base.inbox.as_ref(), then)?,
                budget: base.inbound_memory.clone(),
                rules: rules.clone(),
                metrics: base.metrics.clone(),
                refusals: base.refusals.clone(),
                drain: base.callbacks.clone(),
            })),
        };
        // Nothing below fails.
        for source in &config.sources {
            if then.is_none_or(|then| then.sources.named(&source.name).is_none()) {
                base.metrics.callbacks.source(&source.name);
            }
        }
        let limits = former.map_or(&[][..], |former| &former.outbound.limits);
        let limits = ProgramLimits::all(&config.programs, limits, clock::now());
        let known: HashMap<_, _> = former.iter().flat_map(|former| former.accounts()).collect();
        let known = |name: &str| known.get(name).copied();
        let accounts = accounts(&config, sealings, &limits, known, &base.metrics);
        let admin = Admin {
            metrics: base.metrics.clone(),
            tokens: accounts.iter().map(|account| (account.name.clone(), account.cloud.clone())).collect(),
            inbound: config.inbound.is_some(),
            inbox: base.inbox.clone(),
            access: Access::new(&config.admin),
            history: base.history.clone(),
            reloads: base.reloads.clone(),
        };
        let counts =
            base.metrics.call_counts(config.accounts.len(), callers(&config).into_iter(), routes.names().chain(["-"]));
        let outbound = Outbound {
            limits,
            programs,
            routes,
            budget: base.outbound_memory.waiting(rules.memory_wait),
            inbox: base.inbox.clone(),
            rules: rules.clone(),
            accounts,
            series: CallSeries::new(base.metrics.clone(), counts, base.inbox.as_ref()),
            drain: base.drain.clone(),
        };
        Ok(Self { outbound: Arc::new(outbound), admin: Arc::new(admin), inbound, config })
    }

    /// The accounts by name, as they are written and as they work.
    fn accounts(&self) -> impl Iterator<Item = (&str, (&config::Account, &Account))> {
        let both = self.config.accounts.iter().zip(&self.outbound.accounts);
        both.map(|(written, account)| (written.name.as_str(), (written, &**account)))
    }

    /// Deadlines and bounds of the listeners.
    pub(super) fn rules(&self) -> ListenerRules {
        let rules = &self.config.outbound;
        let outbound = Rules {
            header_timeout: rules.header_timeout,
            keepalive_timeout: rules.keepalive_timeout,
            max_connections: rules.max_connections,
            max_header: rules.max_header,
            write_timeout: rules.body_timeout,
        };
        let inbound = self.config.inbound.as_ref().map(|rules| Rules {
            header_timeout: rules.header_timeout,
            keepalive_timeout: rules.keepalive_timeout,
            max_connections: rules.max_connections,
            max_header: rules.max_header,
            write_timeout: rules.body_timeout,
        });
        let admin = Rules { max_connections: descriptors::ADMIN_CONNECTIONS, ..outbound };
        ListenerRules { outbound, admin, inbound }
    }

    /// Whether this is a name of the configuration, of that kind.
    pub(super) fn has(&self, of: Configured, name: &str) -> bool {
        let Config { programs, accounts, sources, receivers, .. } = &self.config;
        match of {
            Configured::Programs => programs.iter().any(|program| program.name == name),
            Configured::Accounts => accounts.iter().any(|account| account.name == name),
            Configured::Operations => self.outbound.routes.names().any(|operation| operation == name),
            Configured::Sources => sources.iter().any(|source| source.name == name),
            Configured::Receivers => receivers.iter().any(|receiver| receiver.name == name),
            Configured::Version => true,
        }
    }
}

/// Whose calls are counted: each program with the accounts it may use, and with `-` for what was refused before one was
/// known.
fn callers(config: &Config) -> Vec<(Caller, [&str; 2])> {
    let mut callers = vec![(Caller::default(), ["-"; 2])];
    // Where there are programs, a call without one has no account.
    let anonymous = config.programs.is_empty().then_some(("-", None));
    let named = config.programs.iter().map(|program| (program.name.as_str(), program.account));
    for (at, (name, bound)) in anonymous.into_iter().chain(named).enumerate() {
        let program = Some(at);
        callers.push((Caller { program, account: None }, [name, "-"]));
        let accounts = config.accounts.iter().enumerate();
        let accounts = accounts.filter(|(account, _)| bound.is_none_or(|bound| bound == *account));
        callers.extend(
            accounts.map(|(at, account)| (Caller { program, account: Some(at) }, [name, account.name.as_str()])),
        );
    }
    callers
}
