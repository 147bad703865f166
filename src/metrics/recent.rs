//! The last failures, for people who look at the status page: what, whose, how often, and when.
//!
//! It holds names of the configuration and stable words. It has no field that could hold what a stranger sent. Whoever
//! notes a failure never waits: while somebody else has the list, the failure is counted in the series only.

use std::sync::{Arc, Mutex, PoisonError};

/// Most different failures that are remembered; the one that was seen least lately goes.
const MOST: usize = 32;

/// Longest code of the platform that is shown, in digits: its codes have three to five. A longer one may be anything.
const LONGEST_CODE: i64 = 99_999;

/// Where something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// A call of a program.
    Call,
    /// A login at the platform.
    Login,
    /// A callback of the platform.
    Callback,
    /// A delivery to a receiver.
    Delivery,
}

impl Half {
    /// The word of the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Login => "login",
            Self::Callback => "callback",
            Self::Delivery => "delivery",
        }
    }
}

/// One failure. Two that are equal in all of it are one entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Where.
    pub half: Half,
    /// What: a stable word.
    pub word: &'static str,
    /// The program, the account, the source or the receiver, as configured.
    pub name: &'a str,
    /// The operation of a call, as configured; the account of one that has none is told by `name`.
    pub operation: &'a str,
    /// Whose fault it is; `-` where that is not told apart.
    pub fault: &'static str,
    /// HTTP status; 0 when there was none.
    pub status: u16,
    /// The code in the platform's answer, where it was read.
    pub code: Option<i64>,
}

/// A failure of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// As in [`Failure`].
    pub half: Half,
    /// As in [`Failure`].
    pub word: &'static str,
    /// As in [`Failure`].
    pub name: String,
    /// As in [`Failure`].
    pub operation: String,
    /// As in [`Failure`].
    pub fault: &'static str,
    /// As in [`Failure`].
    pub status: u16,
    /// As in [`Failure`], where it is short enough to be one of the platform's.
    pub code: Option<i64>,
    /// How often.
    pub count: u64,
    /// When it was seen first, in milliseconds since 1970-01-01 UTC.
    pub first_ms: u64,
    /// When it was seen last.
    pub last_ms: u64,
}

impl Noted {
    fn is(&self, failure: &Failure<'_>) -> bool {
        self.word == failure.word
            && self.status == failure.status
            && self.code == failure.code
            && self.half == failure.half
            && self.fault == failure.fault
            && self.name == failure.name
            && self.operation == failure.operation
    }
}

/// The list, the latest first, as a handle.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<Vec<Noted>>>);

impl Recent {
    /// A failure happened. `now_ms`: milliseconds since 1970-01-01 UTC.
    pub fn note(&self, mut failure: Failure<'_>, now_ms: u64) {
        let Ok(mut noted) = self.0.try_lock() else { return };
        failure.code = failure.code.filter(|code| (-LONGEST_CODE..=LONGEST_CODE).contains(code));
        if let Some(at) = noted.iter().position(|noted| noted.is(&failure)) {
            noted[at].count += 1;
            noted[at].last_ms = now_ms;
            noted[..=at].rotate_right(1);
            return;
        }
        noted.truncate(MOST - 1);
        let Failure { half, word, name, operation, fault, status, code } = failure;
        let (name, operation) = (name.to_owned(), operation.to_owned());
        let (count, first_ms, last_ms) = (1, now_ms, now_ms);
        noted.insert(0, Noted { half, word, name, operation, fault, status, code, count, first_ms, last_ms });
    }

    /// What there is, the latest first.
    pub fn list(&self) -> Vec<Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(name: &str, status: u16) -> Failure<'_> {
        Failure {
            half: Half::Call,
            word: "limited",
            name,
            operation: "task.create",
            fault: "program",
            status,
            code: None,
        }
    }

    #[test]
    fn equal_failures_are_one_entry_and_the_latest_stands_first() {
        let recent = Recent::default();
        for name in ["books", "sales", "books"] {
            recent.note(failure(name, 429), 1);
        }
        let listed: Vec<_> = recent.list().into_iter().map(|noted| (noted.name, noted.count)).collect();
        assert_eq!(listed, [("books".to_owned(), 2), ("sales".to_owned(), 1)]);
    }

    #[test]
    fn the_list_has_a_bound_and_the_oldest_goes() {
        let recent = Recent::default();
        (0..MOST as u16 + 3).for_each(|status| recent.note(failure("books", status), 1));
        let listed = recent.list();
        assert_eq!((listed.len(), listed[0].status, listed[MOST - 1].status), (MOST, MOST as u16 + 2, 3));
    }

    #[test]
    fn a_code_that_could_be_a_number_of_somebody_is_not_kept() {
        let recent = Recent::default();
        for code in [10_811, 6_281_377_700_042] {
            recent.note(Failure { code: Some(code), ..failure("books", 200) }, 1);
        }
        let codes: Vec<_> = recent.list().into_iter().map(|noted| noted.code).collect();
        assert_eq!(codes, [None, Some(10_811)]);
    }
}
