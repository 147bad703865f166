//! SIGTERM and SIGINT: the gateway drains, and a second one ends it at once.
//!
//! SIGHUP is not for here: it never stops anything.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};

use crate::delivery::Stop;
use crate::http::listener::Drain;
use crate::http::present::Present;
use crate::outbound::Outbound;

/// Waits for the signal that stops.
pub(super) struct Signals {
    pub(super) drain: Drain,
    pub(super) deliveries: Option<Stop>,
    /// Knows the grace that holds when the signal comes.
    pub(super) outbound: Arc<Present<Outbound>>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be received; stop the gateway with SIGKILL");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let grace = self.outbound.load().rules.grace;
        tracing::info!(grace_s = grace.as_secs(), "draining: no new connections, calls in flight may finish");
        let deliveries = async {
            if let Some(deliveries) = &self.deliveries {
                deliveries.stop(grace).await;
            }
        };
        let cut = tokio::select! {
            (cut, ()) = async { tokio::join!(self.drain.drain(grace), deliveries) } => cut,
            _ = terminate.recv() => 0,
            _ = interrupt.recv() => 0,
        };
        if cut > 0 {
            tracing::warn!(calls = cut as u64, "the grace period ended with calls in flight; they are cut");
        }
        tracing::info!("stopped");
        ShutdownSignal::GracefulTerminate
    }
}
