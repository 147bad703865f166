//! How the simulator's shared state is locked. It knows nothing of what it guards, and never holds a lock across an
//! await, because a guard cannot be sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere: all that is guarded here is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
