//! What goes on beside the calls: tokens are kept fresh, idle connections looked at, names looked up again.
//!
//! It follows the present configuration: what is new is kept up at once, what is gone is left alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::clock;
use crate::http::present::Present;
use crate::outbound::Outbound;
use crate::outbound::account::Account;
use crate::token::{Cache, HttpLogin};

/// How often idle connections are looked at, so that one the platform closed does not stay half open.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often the names of the platforms are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// Keeps tokens fresh and addresses known, away from the calls.
pub(super) struct Upkeep {
    pub(super) outbound: Arc<Present<Outbound>>,
}

/// A token that is kept fresh until this is dropped.
struct Kept {
    cache: Cache<HttpLogin>,
    _until: oneshot::Sender<()>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let (mut kept, mut changes) = (Vec::new(), self.outbound.changes());
        keep(&mut kept, &self.outbound.load().accounts);
        let (mut sweep, mut resolve) = (interval(SWEEP_EVERY), interval(RESOLVE_EVERY));
        let mut resolving = JoinSet::new();
        loop {
            tokio::select! {
                _ = sweep.tick() => self.outbound.load().accounts.iter().for_each(|account| {
                    account.client.sweep();
                    account.limits.recover(clock::now());
                }),
                // Side by side: a name server that hangs for one holds up nobody.
                _ = resolve.tick(), if resolving.is_empty() => {
                    self.outbound.load().accounts.iter().for_each(|account| {
                        resolving.spawn(look_up(account.clone()));
                    });
                }
                Some(_) = resolving.join_next() => {}
                Ok(()) = changes.changed() => keep(&mut kept, &self.outbound.load().accounts),
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Keeps the tokens of these accounts, and no others.
fn keep(kept: &mut Vec<Kept>, accounts: &[Arc<Account>]) {
    let is_present = |cache: &Cache<_>| accounts.iter().any(|own| own.cloud.is(cache) || own.call_centre.is(cache));
    kept.retain(|kept| is_present(&kept.cache));
    for account in accounts {
        for (cache, always) in [(&account.cloud, true), (&account.call_centre, false)] {
            if kept.iter().any(|kept| kept.cache.is(cache)) {
                continue;
            }
            let (until, stopped) = oneshot::channel::<()>();
            let cache = cache.clone();
            kept.push(Kept { cache: cache.clone(), _until: until });
            if always {
                tokio::spawn(cache.keep_fresh(stopped));
            } else {
                tokio::spawn(cache.keep_fresh_while_used(stopped));
            }
        }
    }
}

async fn look_up(account: Arc<Account>) {
    if let Err(error) = account.client.resolve().await {
        let account = account.name.as_str();
        tracing::warn!(account, kind = ?error.kind(), "the platform's name does not resolve; keeping the known addresses");
    }
}
