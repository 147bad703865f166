//! The one way to stop delivering: nothing new is begun, what is under way may end within a grace, the rest is cut.
//!
//! It knows nothing of what is under way; the lanes leave when they are done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Nothing new is begun.
    Draining,
    /// Nothing is waited for.
    Over,
}

/// A handle.
#[derive(Clone)]
pub(crate) struct Stop(Arc<State>);

struct State {
    phase: watch::Sender<Phase>,
    /// Lanes that run.
    running: watch::Sender<usize>,
}

/// A lane that runs; dropping it says that it has left.
pub(super) struct Running(Stop);

impl Stop {
    pub(super) fn new() -> Self {
        let (phase, running) = (watch::Sender::new(Phase::Running), watch::Sender::new(0));
        Self(Arc::new(State { phase, running }))
    }

    /// One more lane runs.
    pub(super) fn enter(&self) -> Running {
        self.0.running.send_modify(|running| *running += 1);
        Running(self.clone())
    }

    /// Begins to stop, and waits until every lane has left. Those that have not by the end of the grace are cut.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.0.phase.send_modify(|phase| *phase = (*phase).max(Phase::Draining));
        if tokio::time::timeout(grace, self.left()).await.is_err() {
            tracing::warn!(
                "the grace period ended with deliveries under way; they are made again after the next start"
            );
            self.0.phase.send_replace(Phase::Over);
            self.left().await;
        }
    }

    async fn left(&self) {
        let _ = self.0.running.subscribe().wait_for(|&running| running == 0).await;
    }

    /// Ready when nothing new is to be begun.
    pub(super) async fn begun(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Ready when nothing is to be waited for any more.
    pub(super) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, phase: Phase) {
        // The sender lives as long as this handle, so the wait cannot fail.
        let _ = self.0.phase.subscribe().wait_for(|&now| now >= phase).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_every_lane_and_no_longer_than_the_grace() {
        let stop = Stop::new();
        stop.stop(Duration::MAX).await;
        stop.begun().await;
        let (stop, begun) = (Stop::new(), crate::clock::now());
        let leaves_early = stop.enter();
        let leaves_when_cut = stop.enter();
        let lanes = async {
            stop.begun().await;
            drop(leaves_early);
            stop.over().await;
            drop(leaves_when_cut);
        };
        tokio::join!(stop.stop(Duration::from_secs(30)), lanes);
        assert_eq!((crate::clock::now() - begun).as_secs(), 30);
    }
}
