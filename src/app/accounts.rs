//! The accounts of a configuration at work: what each has of the one before it stays where it is the same.
//!
//! Connections, tokens and limits are found again by the account's name. Nothing of one account ever serves another.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::{self, Config};
use crate::http::client::Client;
use crate::limit::{AccountLimits, ProgramLimits};
use crate::metrics::Metrics;
use crate::metrics::recent::{Failure, Half};
use crate::outbound::account::{Account, Sealing};
use crate::token::{Cache, Family, HttpLogin, LoginEnvelope, LoginError, Observer, Unavailable};

/// The families and their words in metrics.
pub(super) const FAMILIES: [(Family, &str); 2] = [(Family::Cloud, "cloud"), (Family::CallCentre, "call_centre")];

/// One account as it was.
pub(super) type Former<'a> = (&'a config::Account, &'a Account);

/// The accounts of `config`, in their order, and what was there of them before.
pub(super) fn accounts<'a>(
    config: &Config,
    sealings: Vec<Option<Sealing>>,
    programs: &[ProgramLimits],
    former: impl Fn(&str) -> Option<Former<'a>>,
    metrics: &Arc<Metrics>,
) -> Vec<Arc<Account>> {
    let build = |((index, written), sealing): ((_, &config::Account), _)| {
        Arc::new(account((index, written), sealing, config, programs, former(&written.name), metrics))
    };
    config.accounts.iter().enumerate().zip(sealings).map(build).collect()
}

fn account(
    (index, written): (usize, &config::Account),
    sealing: Option<Sealing>,
    config: &Config,
    programs: &[ProgramLimits],
    former: Option<Former<'_>>,
    metrics: &Arc<Metrics>,
) -> Account {
    let kept =
        former.filter(|(then, _)| has_same_connections(then, written)).map(|(_, account)| account.client.clone());
    let client = kept.unwrap_or_else(|| {
        let ca = written.ca.as_ref().map(config::Authorities::path);
        Arc::new(Client::new(written.upstream.clone(), ca, written.timeouts))
    });
    let [cloud, call_centre] =
        FAMILIES.map(|family| tokens(family, written, &client, sealing.as_ref(), former, metrics));
    let limits = former.map(|(_, account)| &account.limits);
    Account {
        name: written.name.clone(),
        index,
        cloud,
        call_centre,
        client,
        sealing,
        limits: AccountLimits::new(written, &config.operations, programs, limits, metrics, clock::now()),
        series: metrics.account(&written.name),
    }
}

fn tokens(
    (family, label): (Family, &'static str),
    written: &config::Account,
    client: &Arc<Client>,
    sealing: Option<&Sealing>,
    former: Option<Former<'_>>,
    metrics: &Arc<Metrics>,
) -> Cache<HttpLogin> {
    let held =
        former.filter(|(then, _)| has_same_tokens(then, written)).map(|(then, account)| (then, account.tokens(family)));
    if let Some((then, cache)) = held
        && has_same_connections(then, written)
        && then.token == written.token
        && then.app_secret == written.app_secret
    {
        return cache.clone();
    }
    let envelope = sealing.map(|sealing| LoginEnvelope {
        cipher: sealing.cipher.clone(),
        seals: written.encryption.as_ref().is_some_and(|encryption| encryption.seal_login),
    });
    let login = HttpLogin::new(client.clone(), family, written.app_key.clone(), written.app_secret.clone(), envelope);
    let life = written.token.life;
    let observer = TokenObserver { account: written.name.clone(), family: label, life, metrics: metrics.clone() };
    if let Some((then, cache)) = held {
        if then.app_secret == written.app_secret {
            cache.adopt(written.token, login, observer);
        } else {
            cache.renew(written.token, login, observer);
        }
        return cache.clone();
    }
    match family {
        // Every account needs this token, so its absence shows from the start on.
        Family::Cloud => metrics.token_expiry.with_label_values(&[&written.name, label]).set(0),
        // It appears with its first login.
        Family::CallCentre => drop(metrics.token_expiry.remove_label_values(&[&written.name, label])),
    }
    Cache::new(written.token, login, observer)
}

/// Whether a connection that was made for one may be used for the other.
fn has_same_connections(then: &config::Account, now: &config::Account) -> bool {
    then.upstream == now.upstream && then.ca == now.ca && then.timeouts == now.timeouts
}

/// Whether a token that was given to one is the other's: the same key at the same platform, asked for in the same way. With
/// another secret it serves until the first login succeeds.
fn has_same_tokens(then: &config::Account, now: &config::Account) -> bool {
    let envelope = |account: &config::Account| {
        account.encryption.as_ref().map(|sealed| (sealed.scheme.clone(), sealed.key.clone(), sealed.seal_login))
    };
    then.upstream == now.upstream && then.app_key == now.app_key && envelope(then) == envelope(now)
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

    fn token_taken_over(&self, ends_in: Duration) {
        let ends = clock::wall_millis() / 1000 + ends_in.as_secs();
        self.metrics.token_expiry.with_label_values(&[self.account.as_str(), self.family]).set(ends as i64);
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
