//! Why there is no token: what a login can fail with, and what a call is told.
//!
//! Each kind has one stable word for metrics and logs. None carries a byte of what the platform answered.

use std::fmt;
use std::time::Duration;

/// What a login failed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginError {
    /// No connection could be made.
    Unreachable,
    /// The platform's TLS certificate does not verify; nothing was sent.
    Untrusted,
    /// No whole answer in time, or one that came after the token's own end.
    TimedOut,
    /// The connection ended before the answer was whole.
    Cut,
    /// The platform asks for patience: HTTP 429, or 503 with a `Retry-After`.
    Throttled {
        /// The wait it asked for, as it was sent.
        retry_after: Option<Duration>,
    },
    /// The key pair is not accepted.
    Refused {
        /// HTTP status.
        status: u16,
        /// `code` of the answer, when it had one.
        code: Option<i64>,
    },
    /// Any other status or code that is not success.
    Failing {
        /// HTTP status.
        status: u16,
        /// `code` of the answer, when it had one.
        code: Option<i64>,
    },
    /// HTTP 200 without a body.
    Empty,
    /// HTTP 200 with a page for people.
    Html,
    /// HTTP 200 with something that is not a JSON object.
    NotJson,
    /// An answer that says success and holds no token.
    NoToken,
    /// A token that cannot stand in a header: empty, too long, or with other than visible ASCII characters.
    BadToken,
    /// The key pair is not text, so it cannot be written into a login.
    KeyNotText,
    /// The login was dropped on its way: the gateway stops, or the code that asked panicked.
    Abandoned,
}

impl LoginError {
    /// The stable word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::TimedOut => "timed_out",
            Self::Cut => "cut",
            Self::Throttled { .. } => "throttled",
            Self::Refused { .. } => "refused",
            Self::Failing { .. } => "failing",
            Self::Empty => "empty",
            Self::Html => "html",
            Self::NotJson => "not_json",
            Self::NoToken => "no_token",
            Self::BadToken => "bad_token",
            Self::KeyNotText => "key_not_text",
            Self::Abandoned => "abandoned",
        }
    }

    /// Adds the `Retry-After` of the same answer, see [`read_retry_after`](super::read_retry_after). It has a
    /// meaning with 429 and 503 (RFC 9110, 10.2.3) and is dropped with anything else.
    #[must_use]
    pub fn with_retry_after(self, wait: Option<Duration>) -> Self {
        match (self, wait) {
            (Self::Throttled { .. } | Self::Failing { status: 503, .. }, Some(_)) => {
                Self::Throttled { retry_after: wait }
            }
            _ => self,
        }
    }

    /// The wait that the platform named.
    pub(super) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unreachable => f.write_str("the platform could not be reached; check the network and `upstream`"),
            Self::Untrusted => f.write_str("the platform's certificate does not verify; check `upstream` and `ca`"),
            Self::TimedOut => f.write_str("the platform did not answer the login in time"),
            Self::Cut => f.write_str("the platform ended the connection before it had answered the login"),
            Self::Throttled { .. } => {
                f.write_str("the platform asks for fewer logins; the gateway waits as it was told")
            }
            Self::Refused { status, code } => {
                write!(f, "the platform refused the key pair ({}); check app_key and app_secret", Told(status, code))
            }
            Self::Failing { status, code } => write!(f, "the platform failed the login ({})", Told(status, code)),
            Self::Empty => f.write_str("the platform answered the login with nothing"),
            Self::Html => f.write_str("the platform answered the login with a web page; check `upstream`"),
            Self::NotJson => f.write_str("the platform answered the login with something that is not JSON"),
            Self::NoToken => f.write_str("the platform accepted the login and sent no token"),
            Self::BadToken => f.write_str("the platform sent a token that does not fit in a header"),
            Self::KeyNotText => f.write_str("app_key or app_secret is not UTF-8 text; check the file or the variable"),
            Self::Abandoned => f.write_str("the login was given up on its way; the gateway may be stopping"),
        }
    }
}

impl std::error::Error for LoginError {}

/// Status and code of an answer, as people read them.
struct Told(u16, Option<i64>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)?;
        self.1.map_or(Ok(()), |code| write!(f, ", code {code}"))
    }
}

/// A call gets no token: 502 `token_unavailable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// When trying again makes sense. Exact where a login is withheld, a good guess after one that failed.
    pub retry_after: Duration,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Login(error) => write!(f, "no token: {error}"),
            Reason::Throttled => f.write_str("no token: the platform named a time before which it wants no login"),
            Reason::Paced => f.write_str(
                "no token: logins followed each other too fast; check why the platform refuses its own tokens",
            ),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Why a call gets no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The login that this call waited for failed.
    Login(LoginError),
    /// Nobody asked: the platform's `Retry-After` still runs.
    Throttled,
    /// Nobody asked: burst and pace of logins are used up.
    Paced,
}

impl Reason {
    /// The stable word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Login(error) => error.reason(),
            Self::Throttled => "throttled",
            Self::Paced => "paced",
        }
    }
}

/// Why no token is held, for readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// No login has ended yet.
    NotAsked,
    /// The platform refused the last one, and no login has ended since.
    Refused,
    /// The last one reached its end and nothing needed another.
    Lapsed,
    /// The last login failed.
    Failing(LoginError),
}

impl Absent {
    /// The stable word for the readiness page and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Refused => "token_refused",
            Self::Lapsed => "lapsed",
            Self::Failing(error) => error.reason(),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("no token was asked for yet"),
            Self::Refused => f.write_str("the platform refused the token before its end"),
            Self::Lapsed => f.write_str("the token reached its end"),
            Self::Failing(error) => error.fmt(f),
        }
    }
}
