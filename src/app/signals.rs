//! SIGTERM and SIGINT: the gateway drains, and a second one ends it at once. SIGUSR2: the binary that lies in the place of
//! this one takes over.
//!
//! SIGHUP is not for here: it never stops anything.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::notify;
use super::succession::{Failed, Predecessor};
use crate::delivery::Stop;
use crate::http::drain::Drain;
use crate::http::present::Present;
use crate::metrics::Metrics;
use crate::outbound::Outbound;

/// Waits for the signal that stops.
pub(super) struct Signals {
    pub(super) drain: Drain,
    pub(super) callbacks: Drain,
    pub(super) deliveries: Option<Stop>,
    /// Knows the grace that holds when the signal comes.
    pub(super) outbound: Arc<Present<Outbound>>,
    /// `None`: nobody can take over. It keeps the listening sockets, too.
    pub(super) predecessor: Mutex<Option<Predecessor>>,
    /// This process was to take over, and will not.
    pub(super) abandoned: Arc<Notify>,
    pub(super) metrics: Arc<Metrics>,
}

/// The signals that stop.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(terminate), Ok(interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("signals cannot be received; stop the gateway with SIGKILL");
            return std::future::pending().await;
        };
        let mut stops = Stops { terminate, interrupt };
        let mut predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        loop {
            tokio::select! {
                () = stops.come() => break,
                () = self.abandoned.notified() => return ShutdownSignal::GracefulTerminate,
                () = asked(&mut predecessor) => {}
            }
            let Some(predecessor) = &mut predecessor else { continue };
            match self.upgrade(predecessor, &mut stops).await {
                Upgrade::Done => return ShutdownSignal::GracefulTerminate,
                Upgrade::Refused => {}
                Upgrade::Stopped => break,
            }
        }
        // With it go its handles to the listening sockets, so that nobody can connect any more.
        drop(predecessor);
        self.stop(&mut stops).await;
        ShutdownSignal::GracefulTerminate
    }
}

/// What became of an upgrade.
enum Upgrade {
    Done,
    Refused,
    /// The gateway is to stop instead.
    Stopped,
}

impl Signals {
    fn grace(&self) -> Duration {
        self.outbound.load().rules.grace
    }

    async fn stop(&self, stops: &mut Stops) {
        let grace = self.grace();
        notify::stopping();
        tracing::info!(grace_s = grace.as_secs(), "draining: no new connections, calls in flight may finish");
        let deliveries = async {
            if let Some(deliveries) = &self.deliveries {
                deliveries.stop(grace).await;
            }
        };
        let cut = tokio::select! {
            (calls, callbacks, ()) = async {
                tokio::join!(self.drain.drain(grace), self.callbacks.drain(grace), deliveries)
            } => calls + callbacks,
            () = stops.come() => 0,
        };
        if cut > 0 {
            tracing::warn!(calls = cut as u64, "the grace period ended with calls in flight; they are cut");
        }
        tracing::info!(pid = std::process::id(), "stopped");
    }

    async fn upgrade(&self, predecessor: &mut Predecessor, stops: &mut Stops) -> Upgrade {
        let raised = tokio::select! {
            raised = predecessor.raise() => raised,
            () = stops.come() => return Upgrade::Stopped,
        };
        let mut is_to_stop = false;
        let ended = match raised {
            Err(why) => Err(Failed { why, serves_on: true }),
            Ok(mut raised) => {
                tracing::info!(
                    pid = raised.pid(),
                    from = std::process::id(),
                    "upgrading: the next process takes over; calls in flight end here"
                );
                let mut handing = pin!(predecessor.hand_over(&mut raised, self.grace()));
                loop {
                    tokio::select! {
                        ended = &mut handing => break ended,
                        // It ends anyway. Who says so twice does not want to wait.
                        () = stops.come() => {
                            if is_to_stop {
                                break Ok(());
                            }
                            is_to_stop = true;
                        }
                    }
                }
            }
        };
        match ended {
            Ok(()) => {
                tracing::info!(pid = std::process::id(), "stopped");
                Upgrade::Done
            }
            Err(Failed { why, serves_on: true }) => {
                self.metrics.upgraded("refused");
                let pid = std::process::id();
                tracing::error!(pid, "the upgrade was refused: {why}; this process serves on");
                predecessor.forget_asking();
                if is_to_stop { Upgrade::Stopped } else { Upgrade::Refused }
            }
            Err(Failed { why, .. }) => {
                tracing::error!("{why}; it had taken over and nobody serves any more: start the gateway again");
                Upgrade::Stopped
            }
        }
    }
}

async fn asked(predecessor: &mut Option<Predecessor>) {
    match predecessor {
        Some(predecessor) => predecessor.asked().await,
        None => std::future::pending().await,
    }
}
