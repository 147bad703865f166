//! The account's token: one login at a time, generations, and a pace.
//!
//! [`Cache`] hands out the token that is held and asks for a new one ahead of its end, at its end, or when
//! the platform refuses it. [`Family`] knows what a login says and how its answer reads. The login itself is
//! [`HttpLogin`]'s, or a script's in tests; this room writes no log ([`Observer`] does).

mod cache;
mod error;
mod login;
mod pace;
mod source;
mod upkeep;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

pub use cache::{Cache, LOGIN_TIME};
pub use error::{Absent, LoginError, Reason, Unavailable};
pub use login::HttpLogin;
pub(crate) use login::LoginEnvelope;
pub use source::{Family, MAX_TOKEN, read_retry_after};

use crate::clock::Instant;
use crate::secret::Secret;

/// A token to be used for one try of a call. A clone is one count up; the text is wiped with the last one.
#[derive(Clone)]
pub struct Token(Arc<Issued>);

/// What one login brought.
struct Issued {
    header: HeaderValue,
    generation: u64,
    refresh_at: Instant,
    expires_at: Instant,
    /// Whether a call ever took it: decides if a token that is only kept while used is worth a refresh.
    used: AtomicBool,
}

impl Token {
    /// Which login it came from, counted from 1. A refusal names it, see [`Cache::refused`].
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The value of `Authorization`: `Token <text>`, marked sensitive.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0.header
    }

    /// Refuses a text that cannot stand in a header ([`LoginError::BadToken`]).
    fn try_new(text: &Secret, generation: u64, refresh_at: Instant, expires_at: Instant) -> Result<Self, LoginError> {
        source::check_token(text.expose())?;
        let mut line = Zeroizing::new(Vec::with_capacity(SCHEME.len() + text.len()));
        line.extend_from_slice(SCHEME);
        line.extend_from_slice(text.expose());
        // The header borrows these bytes instead of copying them, so that dropping it wipes them.
        let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(line)).map_err(|_| LoginError::BadToken)?;
        header.set_sensitive(true);
        Ok(Self(Arc::new(Issued { header, generation, refresh_at, expires_at, used: AtomicBool::new(false) })))
    }

    /// From its true end on, a token is never used.
    fn is_live(&self, now: Instant) -> bool {
        now < self.0.expires_at
    }

    fn is_used(&self) -> bool {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Notes a use; true for the first one. Reads before it writes, so that calls do not fight over the cache line.
    fn mark_used(&self) -> bool {
        !self.is_used() && !self.0.used.swap(true, Ordering::Relaxed)
    }
}

/// What stands before the text in the header.
const SCHEME: &[u8] = b"Token ";

/// The generation only.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("generation", &self.0.generation).finish_non_exhaustive()
    }
}

/// A token on its way to the process that takes over.
#[derive(Debug)]
pub struct Handed {
    /// The token.
    pub text: Secret,
    /// Time until it is to be renewed.
    pub refresh_in: Duration,
    /// Time until its true end.
    pub ends_in: Duration,
}

/// Asks the platform for a token, once.
pub trait Login: Send + Sync + 'static {
    /// One login, without a second try of its own. The cache gives it [`LOGIN_TIME`] and drops it after that.
    fn login(&self) -> impl Future<Output = Result<Secret, LoginError>> + Send;
}

/// Told what happens to the token, for the log and the metrics. Called without a lock; it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A login ended after `took`: with this generation, or without.
    fn login_ended(&self, outcome: Result<u64, LoginError>, took: Duration) {
        let _ = (outcome, took);
    }

    /// No login was made for a call or a refresh, because the pace or the platform's `Retry-After` forbids it.
    fn login_withheld(&self, unavailable: &Unavailable) {
        let _ = unavailable;
    }

    /// Another process's token is held now, and ends after so long.
    fn token_taken_over(&self, ends_in: Duration) {
        let _ = ends_in;
    }

    /// The platform refused the current generation, and it was forgotten.
    fn token_refused(&self, generation: u64) {
        let _ = generation;
    }
}

/// Nobody listens.
impl Observer for () {}

/// The token that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Which login it came from.
    pub generation: u64,
    /// Time until its true end, never zero.
    pub life: Duration,
}
