//! Whether the inbox takes callbacks, for everybody to read without a lock, and the sentence about it for operators.
//!
//! The writer says so; nobody else does, but for the beginning and the end.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::Unavailable;

/// The last word of the writer.
#[derive(Default)]
pub(super) struct Health {
    state: AtomicU8,
    /// What to do, where more is known than the state says. Read when an operator asks, never by a callback.
    sentence: Mutex<Option<Arc<str>>>,
}

impl Health {
    pub(super) fn set(&self, state: Result<(), Unavailable>) {
        let number = match state {
            Ok(()) => 0,
            Err(Unavailable::Full) => 1,
            Err(Unavailable::Busy) => 2,
            Err(Unavailable::Failed) => 3,
            Err(Unavailable::Closed) => 4,
            Err(Unavailable::Elsewhere) => 5,
        };
        self.state.store(number, Ordering::Release);
    }

    pub(super) fn check(&self) -> Result<(), Unavailable> {
        Err(match self.state.load(Ordering::Acquire) {
            0 => return Ok(()),
            1 => Unavailable::Full,
            2 => Unavailable::Busy,
            3 => Unavailable::Failed,
            5 => Unavailable::Elsewhere,
            _ => Unavailable::Closed,
        })
    }

    /// Remembers what to do. Returns whether that is news.
    pub(super) fn explain(&self, sentence: Option<&str>) -> bool {
        let mut known = self.sentence.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = known.as_deref() != sentence;
        if is_news {
            *known = sentence.map(Into::into);
        }
        is_news
    }

    /// What to do, where more is known than the state says.
    pub(super) fn sentence(&self) -> Option<Arc<str>> {
        self.sentence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_found_and_a_sentence_is_news_once() {
        let health = Health::default();
        let states =
            [Unavailable::Full, Unavailable::Busy, Unavailable::Failed, Unavailable::Closed, Unavailable::Elsewhere];
        for state in states.map(Err).into_iter().chain([Ok(())]) {
            health.set(state);
            assert_eq!(health.check(), state);
        }
        let news = [Some("one"), Some("one"), Some("two"), None, None, Some("two")].map(|told| health.explain(told));
        assert_eq!(news, [true, false, true, true, false, true]);
        assert_eq!(health.sentence().as_deref(), Some("two"));
    }
}
