//! Idle connections to one upstream, the latest used first.
//!
//! A connection is looked at before it is used again: one that the platform has closed, or said something
//! on, is dropped. It never waits and never makes a connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wire::Wire;
use crate::clock::Instant;

/// Most connections that are kept; more are closed when they become idle.
const LIMIT: usize = 1024;

/// The pool. Its lock is held for pushing, popping and looking, never across an await.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    keep: Duration,
}

struct Idle {
    wire: Box<Wire>,
    since: Instant,
}

impl Pool {
    /// Keeps a connection for at most `keep` after its last use.
    pub(super) fn new(keep: Duration) -> Self {
        Self { idle: Mutex::default(), keep }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was open a moment ago, if there is one. Dropping the others closes them.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Wire>> {
        loop {
            let mut idle = self.lock().pop()?;
            if self.is_fresh(&idle, now) && idle.is_open() {
                return Some(idle.wire);
            }
        }
    }

    /// Keeps a connection whose last answer was read whole.
    pub(super) fn put(&self, wire: Box<Wire>, now: Instant) {
        let mut idle = self.lock();
        if idle.len() < LIMIT {
            idle.push(Idle { wire, since: now });
        }
    }

    /// Closes what has been idle for too long and what the platform has closed. To be called now and then.
    pub(super) fn sweep(&self, now: Instant) {
        self.lock().retain_mut(|idle| self.is_fresh(idle, now) && idle.is_open());
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.keep
    }
}

impl Idle {
    /// Whether the platform has neither closed the connection nor said anything that nobody asked for.
    fn is_open(&mut self) -> bool {
        self.wire.is_silent()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::clock;
    use crate::http::line::Line;

    fn wire(stream: tokio::io::DuplexStream) -> Box<Wire> {
        Box::new(Wire::upstream(Line::Other(Box::new(stream))))
    }

    const KEEP: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_used_again_until_it_was_idle_for_too_long() {
        let pool = Pool::new(KEEP);
        let (near, _far) = tokio::io::duplex(16);
        pool.put(wire(near), clock::now());
        let again = pool.take(clock::now() + KEEP / 2).expect("still fresh");
        pool.put(again, clock::now());
        assert!(pool.take(clock::now() + KEEP).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_the_platform_closed_or_spoke_on_is_dropped() {
        let pool = Pool::new(KEEP);
        let (closed, far) = tokio::io::duplex(16);
        drop(far);
        let (spoken, mut far) = tokio::io::duplex(16);
        far.write_all(b"HTTP/1.1 408").await.expect("sent");
        pool.put(wire(closed), clock::now());
        pool.put(wire(spoken), clock::now());
        assert!(pool.take(clock::now()).is_none());
    }

    #[tokio::test]
    async fn a_sweep_closes_what_nobody_would_take() {
        let pool = Pool::new(KEEP);
        let (closed, far) = tokio::io::duplex(16);
        drop(far);
        let (open, _far) = tokio::io::duplex(16);
        pool.put(wire(closed), clock::now());
        pool.put(wire(open), clock::now());
        pool.sweep(clock::now());
        assert_eq!(pool.lock().len(), 1);
        pool.sweep(clock::now() + KEEP);
        assert_eq!(pool.lock().len(), 0);
    }
}
