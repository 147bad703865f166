//! What goes on beside the callbacks: how long until one is lost, the certificate's files, the addresses of relays.
//!
//! A scrape reads what was computed here and computes nothing itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Inbound;
use super::relay::Relay;
use crate::clock;
use crate::http::present::Present;
use crate::http::tls::Tls;

/// How often the time to loss is computed; it counts seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the certificate's files are read: two small files.
const READ_EVERY: Duration = Duration::from_secs(2);

/// How often the names of relays' receivers are looked up again, and our certificates for them read.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// Runs beside the listener.
pub(crate) struct Upkeep {
    pub(crate) inbound: Arc<Present<Inbound>>,
    /// What the listener shows.
    pub(crate) tls: Option<Arc<Tls>>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let (mut look, mut read, mut refresh) = (every(LOOK_EVERY), every(READ_EVERY), every(REFRESH_EVERY));
        let clock = async {
            loop {
                look.tick().await;
                self.look();
            }
        };
        let certificate = async {
            let mut complained = None;
            loop {
                read.tick().await;
                self.read_certificate(&mut complained).await;
            }
        };
        // Side by side: a name server or a file system that hangs stops neither the clock nor another relay.
        let relays = async {
            let (mut refreshing, mut at_it) = (JoinSet::new(), Vec::<Arc<Relay>>::new());
            loop {
                tokio::select! {
                    _ = refresh.tick() => {
                        for relay in self.inbound.load().sources.all().filter_map(|source| source.relay()) {
                            if !at_it.iter().any(|busy| Arc::ptr_eq(busy, relay)) {
                                let relay = relay.clone();
                                at_it.push(relay.clone());
                                refreshing.spawn(async move {
                                    relay.refresh().await;
                                    relay
                                });
                            }
                        }
                    }
                    Some(done) = refreshing.join_next() => match done {
                        Ok(done) => at_it.retain(|busy| !Arc::ptr_eq(busy, &done)),
                        // Which one it was is not known any more.
                        Err(_) => at_it.clear(),
                    },
                }
            }
        };
        tokio::select! {
            () = clock => {}
            () = certificate => {}
            () = relays => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl Upkeep {
    /// Shows how long until the most urgent refused callback of each source is lost, and tells what strangers were refused.
    fn look(&self) {
        let inbound = self.inbound.load();
        inbound.refusals.tell(clock::now());
        let callbacks = &inbound.metrics.callbacks;
        for source in inbound.sources.all() {
            let (left, lost) = source.losses.look(clock::now());
            callbacks.time_to_loss.with_label_values(&[&source.name]).set(left.as_secs() as i64);
            callbacks.lost.with_label_values(&[&source.name]).inc_by(lost);
            if lost > 0 {
                let source = &*source.name;
                tracing::error!(source, lost, "callbacks are lost: they were refused, and the platform tries no more");
            }
        }
    }

    /// Shows a new certificate once its files have changed; a broken pair keeps the former one and is told once.
    async fn read_certificate(&self, complained: &mut Option<String>) {
        let Some(tls) = &self.tls else { return };
        let inbound = self.inbound.load();
        let Some(files) = inbound.rules.tls.clone() else { return };
        let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { return };
        // Its files are another's by now: what was read is not what is to be shown.
        if !Arc::ptr_eq(&inbound, &self.inbound.load()) {
            return;
        }
        let replaced = match read {
            Ok(pair) => tls.replace(pair).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match replaced {
            Ok(replaced) => {
                *complained = None;
                if replaced {
                    tracing::info!("the certificate of the inbound listener was replaced");
                }
            }
            Err(error) if complained.as_ref() != Some(&error) => {
                tracing::warn!("inbound.tls: {error}; the former certificate is shown on");
                *complained = Some(error);
            }
            Err(_) => {}
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
