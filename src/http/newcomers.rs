//! Connections on which no request was made, or none since the last one, oldest first: where a listener is full, the oldest
//! gives way.
//!
//! So whoever takes up all places and says nothing has to take them up again and again, faster than others say what they
//! want. It holds no connection and closes none: each newcomer is told, and goes by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All of one listener. No more than it has connections.
#[derive(Default)]
pub(super) struct Newcomers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    all: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection that counts as new until this is dropped.
pub(super) struct Newcomer {
    newcomers: Arc<Newcomers>,
    number: u64,
    told: oneshot::Receiver<()>,
}

impl Newcomers {
    /// One more.
    pub(super) fn add(self: &Arc<Self>) -> Newcomer {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.all.insert(number, tell);
        Newcomer { newcomers: self.clone(), number, told }
    }

    /// Tells the oldest to go. Whether there was one.
    pub(super) fn crowd_out(&self) -> bool {
        let oldest = self.lock().all.pop_first();
        oldest.is_some_and(|(_, tell)| tell.send(()).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    /// Those whom it belongs to.
    pub(super) fn all(&self) -> Arc<Newcomers> {
        self.newcomers.clone()
    }

    /// Ready when it has to go. Nothing may be waited for afterwards.
    pub(super) async fn crowded_out(&mut self) {
        if (&mut self.told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.newcomers.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_and_whoever_is_new_no_more_stays() {
        let newcomers = Arc::<Newcomers>::default();
        let [mut first, second, mut third] = [(); 3].map(|()| newcomers.add());
        assert!(newcomers.crowd_out());
        first.crowded_out().await;
        drop(second);
        assert!(newcomers.crowd_out());
        third.crowded_out().await;
        assert!(!newcomers.crowd_out(), "nobody is left");
        drop((first, third));
        assert!(newcomers.lock().all.is_empty());
    }
}
