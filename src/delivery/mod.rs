//! Delivery: brings what the inbox holds to its receivers until they take it, at least once, in those words: after a crash
//! between an answer and its writing down a callback is delivered again, with the same `webhook-id`.
//!
//! Receivers are independent: each has its own lane, connections and concurrency, and one that is down never holds up
//! another. It never receives anything, and never delivers what the inbox did not give it.

mod attempt;
mod lane;
mod probe;
mod schedule;
mod sign;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::interval;

use crate::config;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use lane::Lane;
pub(crate) use stop::Stop;

/// How often idle connections are looked at, so that one that a receiver closed does not stay half open.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often the files of client certificates are read: two small files each.
const READ_EVERY: Duration = Duration::from_secs(2);

/// How often the names of the receivers are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// The lanes of all receivers, to be run as a background service of the pingora server.
pub(crate) struct Delivery {
    lanes: Vec<Arc<Lane>>,
    stop: Stop,
}

impl Delivery {
    /// One lane for each of these receivers. Callbacks are tried until they are older than `retain`.
    pub(crate) fn new<'a>(
        receivers: impl IntoIterator<Item = &'a config::Receiver>,
        retain: Duration,
        inbox: &Inbox,
        metrics: &Metrics,
    ) -> Self {
        let lane = |receiver| Arc::new(Lane::new(receiver, retain, inbox.clone(), metrics));
        Self { lanes: receivers.into_iter().map(lane).collect(), stop: Stop::new() }
    }

    /// How it is stopped.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Looks the names of the receivers up again, side by side: a name server that hangs for one holds up nobody.
    async fn resolve(&self) {
        let mut asked = tokio::task::JoinSet::new();
        for lane in &self.lanes {
            let lane = lane.clone();
            asked.spawn(async move {
                if let Err(error) = lane.target.client.resolve().await {
                    let receiver = lane.receiver();
                    tracing::warn!(receiver, kind = ?error.kind(), "the receiver's name does not resolve; keeping the known addresses");
                }
            });
        }
        while asked.join_next().await.is_some() {}
    }

    /// Shows new client certificates once their files have changed.
    async fn reread(&self) {
        for lane in &self.lanes {
            let receiver = lane.receiver();
            match lane.target.client.reread_identity().await {
                Ok(true) => tracing::info!(receiver, "the client certificate was replaced"),
                Ok(false) => {}
                Err(error) => tracing::warn!(receiver, "identity: {error}; the former certificate is shown on"),
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Delivery {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        for lane in &self.lanes {
            let running = self.stop.enter();
            let run = lane.clone().run(self.stop.clone());
            tokio::spawn(async move {
                run.await;
                drop(running);
            });
        }
        let (mut sweep, mut resolve) = (interval(SWEEP_EVERY), interval(RESOLVE_EVERY));
        let mut read = interval(READ_EVERY);
        loop {
            tokio::select! {
                _ = sweep.tick() => self.lanes.iter().for_each(|lane| lane.target.client.sweep()),
                _ = resolve.tick() => self.resolve().await,
                _ = read.tick() => self.reread().await,
                _ = shutdown.changed() => return,
            }
        }
    }
}
