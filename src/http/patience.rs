//! How long a connection may be silent, at the price of one timer for its whole life.
//!
//! A timer for each wait costs more than the wait: two allocations, a lock, and a system call to wake the
//! runtime. Here the timer stays armed while its deadline moves, and looks at the clock only when it fires.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::clock::{self, Instant};

/// The silence of one connection.
#[derive(Default)]
pub(super) struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    /// When the present silence becomes too long; `None` while nothing is awaited.
    deadline: Option<Instant>,
}

impl Patience {
    /// Ready when the present silence, which begins with the first call, has lasted for `allowed`.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, allowed: Duration) -> Poll<()> {
        let deadline = *self.deadline.get_or_insert_with(|| clock::now() + allowed);
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

    /// The silence is over.
    pub(super) fn heard(&mut self) {
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_silence_has_the_whole_time() {
        let allowed = Duration::from_secs(10);
        let mut patience = Patience::default();
        for _ in 0..5 {
            assert!(std::future::poll_fn(|cx| Poll::Ready(patience.poll_over(cx, allowed).is_pending())).await);
            advance(Duration::from_secs(9)).await;
            patience.heard();
        }
        let begun = clock::now();
        poll_fn(|cx| patience.poll_over(cx, allowed)).await;
        assert_eq!((clock::now() - begun).as_secs(), 10);
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
