//! How long a connection may be silent, at the price of one timer for its whole life; and how long one step may take, at
//! the price of none while it does not wait.
//!
//! A timer for each wait costs more than the wait: two allocations, a lock, and a system call to wake the
//! runtime. Here the timer stays armed while its deadline moves, and looks at the clock only when it fires.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

// Tokio's timers wake their own runtime by a system call each time one is set; these do not.
use pingora_timeout::timeout;
use tokio::time::Sleep;

use crate::clock::{self, Instant};

/// The step was not over in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

/// Does a step within `allowed`. Its time begins when it has to wait; a step that need not, as nearly all do, never looks
/// at the clock.
pub(super) async fn within<T>(allowed: Duration, step: impl Future<Output = T>) -> Result<T, Late> {
    let mut step = pin!(step);
    match poll_fn(|cx| Poll::Ready(step.as_mut().poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(allowed, step).await.map_err(|_| Late),
    }
}

/// The silence of one connection.
#[derive(Default)]
pub(super) struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    /// When the present silence began; `None` while nothing is awaited.
    since: Option<Instant>,
    /// The silences that are over, since they were last forgotten.
    waited: Duration,
}

impl Patience {
    /// Ready when the present silence, which begins with the first call, has lasted for `allowed`.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, allowed: Duration) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(clock::now) + allowed;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if clock::now() >= deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier silence.
            timer.as_mut().reset(deadline);
        }
    }

    /// The silence is over, if there was one, and counts among those that [`Patience::waited`] tells of.
    pub(super) fn heard(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += clock::now().saturating_duration_since(since);
        }
    }

    /// The silence is over, and nobody will ask how long it was: no look at the clock.
    pub(super) fn over(&mut self) {
        self.since = None;
    }

    /// How long all silences were together that were [heard](Patience::heard).
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// What follows has nothing to do with what was before.
    pub(super) fn forget(&mut self) {
        (self.since, self.waited) = (None, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test]
    async fn a_step_ends_in_time_or_is_late() {
        assert_eq!(within(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(within(Duration::from_secs(3600), tokio::task::yield_now()).await, Ok(()));
        assert_eq!(within(Duration::from_millis(1), std::future::pending::<()>()).await, Err(Late));
    }

    #[tokio::test(start_paused = true)]
    async fn each_silence_has_the_whole_time() {
        let allowed = Duration::from_secs(10);
        let mut patience = Patience::default();
        for _ in 0..5 {
            assert!(std::future::poll_fn(|cx| Poll::Ready(patience.poll_over(cx, allowed).is_pending())).await);
            advance(Duration::from_secs(9)).await;
            patience.heard();
        }
        assert_eq!(patience.waited().as_secs(), 45);
        let begun = clock::now();
        poll_fn(|cx| patience.poll_over(cx, allowed)).await;
        assert_eq!((clock::now() - begun).as_secs(), 10);
        patience.forget();
        assert_eq!(patience.waited(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_silence_can_follow_a_longer_one() {
        let mut patience = Patience::default();
        assert!(poll_fn(|cx| Poll::Ready(patience.poll_over(cx, Duration::from_secs(150)).is_pending())).await);
        patience.heard();
        let begun = clock::now();
        poll_fn(|cx| patience.poll_over(cx, Duration::from_secs(2))).await;
        assert_eq!((clock::now() - begun).as_secs(), 2);
    }
}
