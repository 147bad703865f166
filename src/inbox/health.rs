//! Whether the inbox takes callbacks, for everybody to read without a lock.
//!
//! The writer says so; nobody else does, but for the end.

use std::sync::atomic::{AtomicU8, Ordering};

use super::entry::Unavailable;

/// The last word of the writer.
#[derive(Default)]
pub(super) struct Health(AtomicU8);

impl Health {
    pub(super) fn set(&self, state: Result<(), Unavailable>) {
        let number = match state {
            Ok(()) => 0,
            Err(Unavailable::Full) => 1,
            Err(Unavailable::Busy) => 2,
            Err(Unavailable::Failed) => 3,
            Err(Unavailable::Closed) => 4,
        };
        self.0.store(number, Ordering::Release);
    }

    pub(super) fn check(&self) -> Result<(), Unavailable> {
        Err(match self.0.load(Ordering::Acquire) {
            0 => return Ok(()),
            1 => Unavailable::Full,
            2 => Unavailable::Busy,
            3 => Unavailable::Failed,
            _ => Unavailable::Closed,
        })
    }
}
