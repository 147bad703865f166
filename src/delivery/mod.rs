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
use tokio::sync::watch;
use tokio::task::JoinHandle;
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

/// The lanes of all receivers, to be run as a background service of the pingora server. A handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Delivery(Arc<Lanes>);

struct Lanes {
    present: watch::Sender<Vec<Arc<Lane>>>,
    stop: Stop,
    /// Callbacks are tried until they are older than this.
    retain: Duration,
    inbox: Inbox,
    metrics: Arc<Metrics>,
}

/// A lane that was started, and may be retired by now.
struct Started {
    lane: Arc<Lane>,
    task: JoinHandle<()>,
}

impl Delivery {
    /// One lane for each of these receivers. Callbacks are tried until they are older than `retain`.
    pub(crate) fn new<'a>(
        receivers: impl IntoIterator<Item = &'a config::Receiver>,
        retain: Duration,
        inbox: &Inbox,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (inbox, metrics) = (inbox.clone(), metrics.clone());
        let lanes = Lanes { present: watch::Sender::new(Vec::new()), stop: Stop::new(), retain, inbox, metrics };
        let delivery = Self(Arc::new(lanes));
        delivery.replace(receivers);
        delivery
    }

    /// Delivers to these receivers from now on. A lane that is the same goes on as it is; of another one and of one that is
    /// gone, attempts under way end before anything else is tried at that receiver.
    pub(crate) fn replace<'a>(&self, receivers: impl IntoIterator<Item = &'a config::Receiver>) {
        let Lanes { present, retain, inbox, metrics, .. } = &*self.0;
        present.send_modify(|lanes| {
            let lane = |receiver| {
                let same = lanes.iter().find(|lane| lane.is_to(receiver));
                same.cloned().unwrap_or_else(|| Arc::new(Lane::new(receiver, *retain, inbox.clone(), metrics)))
            };
            let next: Vec<_> = receivers.into_iter().map(lane).collect();
            lanes.iter().filter(|lane| !next.iter().any(|kept| Arc::ptr_eq(kept, lane))).for_each(|lane| lane.retire());
            *lanes = next;
        });
    }

    /// How it is stopped.
    pub(crate) fn stop(&self) -> Stop {
        self.0.stop.clone()
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        self.0.present.borrow().clone()
    }

    /// Starts the lanes that are new. One that takes another's place begins when that one has ended.
    fn start_new(&self, started: &mut Vec<Started>) {
        started.retain(|started| !started.task.is_finished());
        for lane in self.lanes() {
            if started.iter().any(|started| Arc::ptr_eq(&started.lane, &lane)) {
                continue;
            }
            let before = started.iter().position(|started| started.lane.receiver() == lane.receiver());
            let before = before.map(|at| started.swap_remove(at).task);
            let (running, run) = (self.0.stop.enter(), lane.clone().run(self.0.stop.clone()));
            let task = tokio::spawn(async move {
                if let Some(before) = before {
                    // However it ended.
                    let _ = before.await;
                }
                run.await;
                drop(running);
            });
            started.push(Started { lane, task });
        }
    }

    /// Looks the names of the receivers up again, side by side: a name server that hangs for one holds up nobody.
    async fn resolve(&self) {
        let mut asked = tokio::task::JoinSet::new();
        for lane in self.lanes() {
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
        for lane in self.lanes() {
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
        let (mut started, mut changes) = (Vec::new(), self.0.present.subscribe());
        self.start_new(&mut started);
        let (mut sweep, mut resolve) = (interval(SWEEP_EVERY), interval(RESOLVE_EVERY));
        let mut read = interval(READ_EVERY);
        let lanes = async {
            loop {
                tokio::select! {
                    _ = sweep.tick() => self.lanes().iter().for_each(|lane| lane.target.client.sweep()),
                    Ok(()) = changes.changed() => self.start_new(&mut started),
                }
            }
        };
        // Side by side: a name server or a file system that hangs keeps no new lane from starting.
        let names = async {
            loop {
                resolve.tick().await;
                self.resolve().await;
            }
        };
        let files = async {
            loop {
                read.tick().await;
                self.reread().await;
            }
        };
        tokio::select! {
            () = lanes => {}
            () = names => {}
            () = files => {}
            _ = shutdown.changed() => {}
        }
    }
}
