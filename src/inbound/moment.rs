//! When the answer to a body that cannot be opened leaves: at a moment that only the body's length decides.
//!
//! An answer that leaves as soon as the fault is found tells which fault it was, and whoever can ask often enough
//! then decrypts what was never meant for him (CBC with a telling padding error). It says nothing about other answers.

use std::time::Duration;

use crate::clock::{self, Instant};

/// Beyond the work for a small body by far: that takes a few hundredths of a millisecond, and a busy machine may be
/// late by some milliseconds.
const LEAST: Duration = Duration::from_millis(5);

/// For each KiB of the body as received; opening, hashing and reading it takes about 2 µs.
const PER_KIB: Duration = Duration::from_micros(20);

/// A moment to wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    arrived: Instant,
    share: Duration,
}

impl Moment {
    /// For a body of `bytes` whose last one arrived at `arrived`.
    pub(super) fn after(arrived: Instant, bytes: usize) -> Self {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Self { arrived, share: LEAST + PER_KIB.saturating_mul(kib) }
    }

    /// Waits for it. When the work took longer, for the next multiple, so that even then the time shows little.
    pub(super) async fn come(self) {
        let begun = clock::now().saturating_duration_since(self.arrived).as_micros() / self.share.as_micros();
        let shares = u32::try_from(begun).unwrap_or(u32::MAX).saturating_add(1);
        tokio::time::sleep_until(self.arrived + self.share.saturating_mul(shares)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_moment_depends_on_the_length_and_not_on_the_work() {
        for (bytes, work, expected) in [
            (0, 0, 5_000),
            (1, 0, 5_020),
            (1, 4_999, 5_020),
            (1024, 1_000, 5_020),
            (1025, 1_000, 5_040),
            (1 << 20, 9_000, 25_480),
            (1, 5_021, 10_040),
            (1, 30_000, 30_120),
        ] {
            let arrived = clock::now();
            advance(Duration::from_micros(work)).await;
            Moment::after(arrived, bytes).come().await;
            // Tokio rounds up to a millisecond, and so does its clock that is held.
            let took = (clock::now() - arrived).as_micros();
            assert!((expected..expected + 2_001).contains(&took), "{bytes} {work}: {took}");
        }
    }
}
