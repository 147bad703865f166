//! SIGTERM and SIGINT: the gateway drains, and a second one ends it at once. SIGUSR2: the binary that lies in the place of
//! this one takes over.
//!
//! SIGHUP is not for here: it never stops anything.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::notify;
use super::succession::{Failed, Handed, Predecessor, Raised};
use crate::clock;
use crate::delivery::Stop;
use crate::http::drain::Drain;
use crate::http::present::Present;
use crate::metrics::Metrics;
use crate::outbound::Outbound;

/// How long after its own grace this process waits at most for the one before it, which closes connections that linger once
/// its calls have ended, in bits of a few seconds. A service manager has to wait for that, too.
const LAST_ONES: Duration = Duration::from_secs(8);

/// Waits for the signal that stops.
pub(super) struct Signals {
    /// `None`: none can be received.
    pub(super) stops: Mutex<Option<Stops>>,
    pub(super) drain: Drain,
    pub(super) callbacks: Drain,
    pub(super) deliveries: Option<Stop>,
    /// Knows the grace that holds when the signal comes.
    pub(super) outbound: Arc<Present<Outbound>>,
    /// `None`: nobody can take over. It keeps the listening sockets, too.
    pub(super) predecessor: Mutex<Option<Predecessor>>,
    /// Whether the process before this one ends its calls while this one serves.
    pub(super) before: watch::Receiver<bool>,
    /// This process was to take over, and will not.
    pub(super) abandoned: Arc<Notify>,
    /// The process that had taken over is: nobody serves any more.
    pub(super) lost: Arc<AtomicBool>,
    pub(super) metrics: Arc<Metrics>,
}

/// The signals that stop.
pub(super) struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// Asks for them, so that one which comes before anybody waits is not lost.
    ///
    /// # Errors
    /// The system gives no pipe.
    pub(super) fn catch() -> io::Result<Self> {
        // Whichever runtime runs later reads them; to ask, one has to be there.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ready when one of them has come.
    pub(super) async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let Some(mut stops) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            tracing::error!("signals cannot be received; stop the gateway with SIGKILL");
            return std::future::pending().await;
        };
        let mut predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let next = loop {
            tokio::select! {
                () = stops.come() => break None,
                () = self.abandoned.notified() => return ShutdownSignal::GracefulTerminate,
                () = asked(&mut predecessor) => {}
            }
            let Some(predecessor) = &mut predecessor else { continue };
            match self.upgrade(predecessor, &mut stops).await {
                Upgrade::Done => return ShutdownSignal::GracefulTerminate,
                Upgrade::Refused => {}
                Upgrade::Stopped(next) => break next,
            }
        };
        // With it go its handles to the listening sockets, so that nobody can connect any more.
        drop(predecessor);
        let in_time = self.stop(&mut stops).await;
        // It was told, too. Without it the starter of this process would take what still runs for left over.
        if let Some(next) = next.filter(|_| in_time) {
            next.finish(self.grace(), &mut stops).await;
        }
        ShutdownSignal::GracefulTerminate
    }
}

/// What became of an upgrade.
enum Upgrade {
    Done,
    Refused,
    /// The gateway is to stop instead, and so is the next process, if there is one.
    Stopped(Option<Raised>),
}

impl Signals {
    fn grace(&self) -> Duration {
        self.outbound.load().rules.grace
    }

    /// Drains. Whether nobody was in a hurry.
    async fn stop(&self, stops: &mut Stops) -> bool {
        let grace = self.grace();
        let end = clock::now() + grace + LAST_ONES;
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
            } => Some(calls + callbacks),
            () = stops.come() => None,
        };
        if let Some(cut) = cut.filter(|cut| *cut > 0) {
            tracing::warn!(calls = cut as u64, "the grace period ended with calls in flight; they are cut");
        }
        let in_time = cut.is_some() && self.outlive(end, stops).await;
        tracing::info!(pid = std::process::id(), "stopped");
        in_time
    }

    /// Waits for the end of the process before this one: whoever takes this one for the gateway may kill what is left when it
    /// ends, or start another beside it. Whether nobody was in a hurry.
    async fn outlive(&self, end: clock::Instant, stops: &mut Stops) -> bool {
        let (mut before, pid) = (self.before.clone(), std::process::id());
        if !*before.borrow() {
            return true;
        }
        tracing::info!(pid, "nothing is left here: waiting for the calls in flight in the process before this one");
        tokio::select! {
            // Whoever cannot tell any more has ended itself.
            ended = timeout(end.saturating_duration_since(clock::now()), before.wait_for(|before| !before)) => {
                if ended.is_err() {
                    tracing::warn!(pid, "the process before this one has not ended within the grace: it is left alone");
                }
                true
            }
            () = stops.come() => false,
        }
    }

    async fn upgrade(&self, predecessor: &mut Predecessor, stops: &mut Stops) -> Upgrade {
        let raised = tokio::select! {
            raised = predecessor.raise() => raised,
            () = stops.come() => return Upgrade::Stopped(None),
        };
        let ended = match raised {
            Err(why) => Err(Failed { why, serves_on: true }),
            Ok(raised) => predecessor.hand_over(raised, self.grace(), stops).await,
        };
        match ended {
            Ok(Handed::Over) => Upgrade::Done,
            Ok(Handed::Stopped(next)) => {
                let pid = std::process::id();
                tracing::info!(pid, to = next.pid(), "told to stop while the next process takes over: it is told, too");
                Upgrade::Stopped(Some(next))
            }
            Err(Failed { why, serves_on: true }) => {
                self.metrics.upgraded("refused");
                let pid = std::process::id();
                tracing::error!(pid, "the upgrade was refused: {why}; this process serves on");
                predecessor.forget_asking();
                Upgrade::Refused
            }
            Err(Failed { why, .. }) => {
                let pid = std::process::id();
                tracing::error!(pid, "{why}; it had taken over and nobody serves any more: start the gateway again");
                self.lost.store(true, Ordering::Release);
                Upgrade::Stopped(None)
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
