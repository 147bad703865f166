//! The old process leaves: what is under way here ends, in the order in which the new process needs it.
//!
//! It says how far it has come, once for each step. It sends no connection over and never serves again.

use std::process::Child;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::pair::Pair;
use super::predecessor::{Predecessor, Progress};
use super::{Message, raised};
use crate::app::notify;
use crate::clock;
use crate::http::drain::Parcel;
use crate::inbox::Inbox;

/// How long calls and deliveries may take that are under way when the new process begins to serve, before the inbox goes to
/// it without waiting for them. Calls with a key are waited for in any case, as long as the grace allows: their ends are
/// written here.
const SOON: Duration = Duration::from_secs(2);

/// How long callbacks under way are waited for. The platform sends them whole; one that trickles comes again.
const CALLBACKS: Duration = Duration::from_secs(5);

/// How long connections may take to go once no call is under way: one that lingers is closed within it.
const LAST_ONES: Duration = Duration::from_secs(3);

/// How often it is looked whether a call with a key is still under way.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Predecessor {
    /// Ends what is under way here, in the order in which the new process needs it.
    ///
    /// # Errors
    /// Nobody could be told who goes on. Nothing but connections has gone over then.
    pub(super) async fn leave(
        &self,
        next: &Pair,
        away: mpsc::UnboundedSender<Parcel>,
        grace: Duration,
        progress: &Progress,
    ) -> Result<(), String> {
        let (pid, to) = (std::process::id(), progress.to);
        let (end, calls) = (clock::now() + grace, self.drain.in_flight());
        let left = || end.saturating_duration_since(clock::now());
        self.drain.finished(SOON.min(grace)).await;
        if let Some(inbox) = &self.inbox {
            while !inbox.is_without_keys_under_way() && !left().is_zero() {
                sleep(LOOK_EVERY).await;
            }
        }
        // Of one that has stopped nobody needs to know.
        if self.origin.is_watched && !progress.is_alone.load(Ordering::Relaxed) {
            progress.announced.store(true, Ordering::Release);
            notify::succeeded_by(to).await?;
        }
        progress.committed.store(true, Ordering::Release);
        if let Some(deliveries) = &self.deliveries {
            deliveries.stop(SOON.min(left())).await;
        }
        self.callbacks.hand_over(away);
        self.callbacks.finished(CALLBACKS.min(left())).await;
        if let Some(inbox) = self.inbox.clone() {
            // When it fails, its lock goes with this process.
            let _ = tokio::task::spawn_blocking(move || inbox.close()).await;
        }
        // When nobody hears it, the other task finds out.
        let heard = next.say(&Message::Inbox).await.is_ok();
        let took_ms = || u64::try_from(progress.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        let gone = || progress.connections.load(Ordering::Relaxed) as u64;
        if heard {
            let (connections, calls, took_ms) = (gone(), self.drain.in_flight() as u64, took_ms());
            tracing::info!(
                pid,
                to,
                connections,
                calls,
                took_ms,
                "the upgrade has succeeded: what is in flight ends here"
            );
        }
        let cut = self.drain.finished(left()).await;
        if cut > 0 {
            tracing::warn!(pid, calls = cut as u64, "the grace period ended with calls in flight; they are cut");
        }
        self.drain.deserted(LAST_ONES).await;
        self.callbacks.deserted(LAST_ONES).await;
        if progress.is_alone.load(Ordering::Relaxed) {
            tracing::info!(pid, "stopped");
        } else if heard {
            let unlisted = self.inbox.as_ref().map_or(0, Inbox::unlisted) as u64;
            let (connections, calls, took_ms) = (gone(), calls.saturating_sub(cut) as u64, took_ms());
            tracing::info!(pid, to, connections, calls, unlisted, took_ms, "stopped: the next process is the gateway");
        }
        Ok(())
    }
}

impl Progress {
    /// Whether the next process has ended because it was told to: then this one ends its calls and goes, too.
    pub(super) async fn is_left_alone(&self, next: &mut Child) -> bool {
        if !raised::last_status(next).await.is_some_and(|status| status.success()) {
            return false;
        }
        self.is_alone.store(true, Ordering::Relaxed);
        let (pid, to) = (std::process::id(), self.to);
        tracing::info!(pid, to, "the next process has stopped, as it was told to: what is in flight ends here");
        true
    }
}
