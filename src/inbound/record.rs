//! What is remembered of one callback until its answer leaves: then one log line and one set of observations.
//!
//! It holds names, counts and times. It has no field that could hold a body, an id, a path or an address.

use std::time::Duration;

use super::refusals::Refusals;
use crate::clock::{self, Instant};
use crate::inbox::Kind;
use crate::log::{self, key};
use crate::metrics::Metrics;
use crate::metrics::recent::{Failure, Half};

/// The source of what no path was known for.
const NO_SOURCE: &str = "-";

/// What became of a callback: a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is on disk.
    Stored,
    /// It is on disk, and its source has receivers whose `when` does not take it: nobody will get it.
    Untaken,
    /// It was there already.
    Duplicate,
    /// A receiver answered it.
    Relayed,
    /// Its body cannot be opened.
    Unopened,
    /// Its body is over the limit.
    TooLarge,
    /// Its body did not arrive in time.
    TimedOut,
    /// Its body ended early.
    Cut,
    /// It cannot be stored now.
    Unavailable,
    /// Its receiver gave no answer.
    RelayFailed,
    /// It is no callback: no source has its path, or it could not be read as HTTP.
    Refused,
}

impl Outcome {
    /// The label value and the word in the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Untaken => "untaken",
            Self::Duplicate => "duplicate",
            Self::Relayed => "relayed",
            Self::Unopened => "unopened",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Cut => "cut",
            Self::Unavailable => "unavailable",
            Self::RelayFailed => "relay_failed",
            Self::Refused => "refused",
        }
    }

    /// Whether the platform was told that it arrived.
    fn is_taken(self) -> bool {
        matches!(self, Self::Stored | Self::Untaken | Self::Duplicate | Self::Relayed)
    }
}

/// One callback's record. Written by [`Record::finish`].
pub(super) struct Record<'a> {
    /// `-` until the path said which.
    pub(super) source: &'a str,
    pub(super) outcome: Outcome,
    /// Narrows the outcome down: a fixed word.
    pub(super) reason: &'static str,
    pub(super) kind: Option<Kind>,
    pub(super) sealed: bool,
    /// Of the body, as they arrived.
    pub(super) bytes: usize,
    /// Wall time of the first look at it, in milliseconds since 1970.
    pub(super) received_ms: u64,
    started: Instant,
}

impl Record<'_> {
    /// A request whose header has been read.
    pub(super) fn new() -> Self {
        Self {
            source: NO_SOURCE,
            outcome: Outcome::Refused,
            reason: "-",
            kind: None,
            sealed: false,
            bytes: 0,
            received_ms: clock::wall_millis(),
            started: clock::now(),
        }
    }

    /// Writes the log line and the observations. Consumes the record: a callback ends once. What no source is
    /// known for is a stranger's: it is counted at once and told in `refusals`.
    pub(super) fn finish(self, status: u16, metrics: &Metrics, refusals: &Refusals) {
        let callbacks = &metrics.callbacks;
        let took: Duration = clock::now().saturating_duration_since(self.started);
        let outcome = self.outcome.as_str();
        callbacks.received.with_label_values(&[self.source, outcome]).inc();
        if self.bytes > 0 {
            callbacks.bytes.with_label_values(&[self.source]).inc_by(self.bytes as u64);
        }
        if status == 200 && self.source != NO_SOURCE {
            callbacks.last_accepted.with_label_values(&[self.source]).set((self.received_ms / 1000) as i64);
        }
        match self.outcome {
            Outcome::Unopened => callbacks.unopened.with_label_values(&[self.source, self.reason]).inc(),
            Outcome::Stored | Outcome::Untaken | Outcome::Duplicate => {
                callbacks.acknowledge_seconds.observe(took.as_secs_f64())
            }
            _ => {}
        }
        if self.source == NO_SOURCE {
            return refusals.add(self.reason, status, clock::now());
        }
        if !self.outcome.is_taken() {
            let word = if self.reason == "-" { outcome } else { self.reason };
            let failure = Failure {
                half: Half::Callback,
                word,
                name: self.source,
                operation: "-",
                fault: "-",
                status,
                code: None,
            };
            metrics.recent.note(failure, clock::wall_millis());
        }
        log::callback(|line| {
            line.word(key!("source"), self.source);
            line.word(key!("outcome"), outcome);
            line.word(key!("reason"), self.reason);
            line.word(key!("kind"), self.kind.map_or("-", Kind::as_str));
            line.number(key!("status"), status);
            line.flag(key!("sealed"), self.sealed);
            line.number(key!("bytes"), self.bytes as u64);
            line.number(key!("took_us"), took.as_micros() as u64);
        });
    }
}
