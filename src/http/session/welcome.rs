//! How long a connection is welcome that asks for nothing: until its first head has to be whole, and as long as there is room.
//!
//! It knows nothing of what a head says.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::http::newcomers::{Newcomer, Newcomers};

/// What holds of one connection.
#[derive(Default)]
pub(super) struct Welcome {
    /// When the first head has to be whole; `None` once it was read, here or by the process before.
    first_by: Option<Instant>,
    /// Where room may run out, and this one among those who give way then.
    newcomers: Option<Arc<Newcomers>>,
    newcomer: Option<Newcomer>,
}

impl Welcome {
    /// For a new connection.
    pub(super) fn new(first_by: Option<Instant>, newcomer: Option<Newcomer>) -> Self {
        let newcomers = newcomer.as_ref().map(Newcomer::all);
        Self { first_by, newcomers, newcomer }
    }

    /// What is left of so much time for a head.
    pub(super) fn left_of(&self, allowed: Duration) -> Duration {
        self.first_by.map_or(allowed, |by| by.saturating_duration_since(clock::now()).min(allowed))
    }

    /// Waits for a request; `None` when there is no room for whoever makes none.
    pub(super) async fn idle<T>(&mut self, request: impl Future<Output = T>) -> Option<T> {
        if self.newcomer.is_none() {
            self.newcomer = self.newcomers.as_ref().map(Newcomers::add);
        }
        while_there_is_room(self.newcomer.as_mut(), request).await
    }

    /// A request has begun. Whoever has this waits for its head by [`while_there_is_room`]; then it stays.
    pub(super) fn begin(&mut self) -> Option<Newcomer> {
        self.first_by = None;
        self.newcomer.take()
    }
}

/// Waits for something, as long as there is room for a newcomer.
pub(super) async fn while_there_is_room<T>(
    newcomer: Option<&mut Newcomer>,
    step: impl Future<Output = T>,
) -> Option<T> {
    match newcomer {
        None => Some(step.await),
        Some(newcomer) => tokio::select! {
            biased;
            done = step => Some(done),
            () = newcomer.crowded_out() => None,
        },
    }
}
