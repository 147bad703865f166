//! What goes on beside the callbacks: how long until one is lost, the certificate's files, the addresses of relays.
//!
//! A scrape reads what was computed here and computes nothing itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Inbound;
use super::source::{Mode, Source};
use crate::clock;
use crate::config::Identity;
use crate::http::tls::Tls;

/// How often the time to loss is computed; it counts seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the certificate's files are read: two small files.
const READ_EVERY: Duration = Duration::from_secs(2);

/// How often the names of relays' receivers are looked up again, and our certificates for them read.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// Runs beside the listener.
pub(crate) struct Upkeep {
    pub(crate) inbound: Arc<Inbound>,
    /// What the listener shows, and where it comes from.
    pub(crate) tls: Option<(Arc<Tls>, Identity)>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // Side by side: a name server or a file system that hangs stops neither the clock nor another relay.
        for source in self.inbound.sources.all().filter(|source| matches!(source.mode, Mode::Relay(_))) {
            tokio::spawn(refresh(source.clone(), shutdown.clone()));
        }
        let (mut look, mut read) = (every(LOOK_EVERY), every(READ_EVERY));
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
        tokio::select! {
            () = clock => {}
            () = certificate => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl Upkeep {
    /// Shows how long until the most urgent refused callback of each source is lost, and tells what strangers were refused.
    fn look(&self) {
        self.inbound.refusals.tell(clock::now());
        let callbacks = &self.inbound.metrics.callbacks;
        for source in self.inbound.sources.all() {
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
        let Some((tls, identity)) = &self.tls else { return };
        let files = identity.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { return };
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

/// Keeps the addresses of one relay's receiver known, and our certificate for it fresh.
async fn refresh(source: Arc<Source>, mut shutdown: ShutdownWatch) {
    let Mode::Relay(relay) = &source.mode else { return };
    let mut ticks = every(REFRESH_EVERY);
    let refreshing = async {
        loop {
            ticks.tick().await;
            relay.refresh().await;
        }
    };
    tokio::select! {
        () = refreshing => {}
        _ = shutdown.changed() => {}
    }
}
