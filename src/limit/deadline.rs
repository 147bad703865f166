//! Until when a call may wait for its turn: the account's `max_wait`, or what the program says itself in
//! `X-Gateway-Deadline`.
//!
//! It is one moment for all waits of a call together. It reads and compares. It never waits, and what it cannot read it
//! refuses rather than guesses.

use std::time::Duration;

use crate::clock::{self, Instant};
use crate::config::{self, LONGEST_WAIT};

/// `X-Gateway-Deadline` cannot be read, or is over.
#[derive(Debug, PartialEq, Eq)]
pub struct BadDeadline;

/// Until when a call may wait, as its program wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// No wait lasts longer.
    end: Instant,
    /// Nothing leaves then or later. Only for one that is written as a time: a wait says nothing of when a body that takes
    /// its time may leave.
    last: Option<Instant>,
}

impl Deadline {
    /// What is left for a wait that begins now.
    pub fn left(self, now: Instant) -> Duration {
        self.end.saturating_duration_since(now)
    }

    /// Whether it is too late to leave.
    pub fn is_over(self, now: Instant) -> bool {
        self.last.is_some_and(|last| last <= now)
    }
}

/// Reads `2s`, `500ms` or an RFC 3339 time. `wall` is `now` in milliseconds since 1970.
///
/// # Errors
/// [`BadDeadline`] when it is neither, or in the past.
pub fn parse(written: &[u8], wall: u64, now: Instant) -> Result<Deadline, BadDeadline> {
    let text = std::str::from_utf8(written).map_err(|_| BadDeadline)?.trim();
    let (wait, last) = match config::parse_duration(text) {
        Ok(wait) => (wait, None),
        // A day alone would mean its midnight, which nobody means.
        Err(_) if text.len() == "2026-06-10".len() => return Err(BadDeadline),
        Err(_) => {
            let until = clock::parse_rfc3339(text).ok_or(BadDeadline)?;
            let left = until.checked_sub(wall).filter(|left| *left > 0).ok_or(BadDeadline)?;
            let left = Duration::from_millis(left);
            // One that no clock of this machine reaches is as good as none.
            (left, now.checked_add(left))
        }
    };
    Ok(Deadline { end: now + wait.min(LONGEST_WAIT), last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_duration_or_a_time() {
        // 2026-06-10T02:06:20Z
        let (wall, now) = (1_781_057_180_000, clock::now());
        for (written, millis, last) in [
            ("2s", 2_000, None),
            (" 500ms ", 500, None),
            ("0s", 0, None),
            ("5m", 300_000, None),
            ("1h", 600_000, None),
            ("2026-06-10T02:06:21Z", 1_000, Some(1_000)),
            ("2026-06-10T10:06:20.250+08:00", 250, Some(250)),
            ("2026-06-10T03:06:20Z", 600_000, Some(3_600_000)),
        ] {
            let later = |millis| now + Duration::from_millis(millis);
            let expected = Deadline { end: later(millis), last: last.map(later) };
            assert_eq!(parse(written.as_bytes(), wall, now), Ok(expected), "{written}");
        }
        assert!(parse(b"9999-12-31T23:59:59Z", wall, now).is_ok());
    }

    #[test]
    fn all_waits_together_end_with_it_and_only_a_time_is_too_late_to_leave() {
        let (wall, now) = (1_781_057_180_000, clock::now());
        for (written, is_a_time) in [("2s", false), ("2026-06-10T02:06:22Z", true)] {
            let deadline = parse(written.as_bytes(), wall, now).expect("it is one");
            for (millis, left, is_over) in [(0, 2_000, false), (1_999, 1, false), (2_000, 0, true), (9_000, 0, true)] {
                let now = now + Duration::from_millis(millis);
                assert_eq!(deadline.left(now), Duration::from_millis(left), "{written} after {millis}");
                assert_eq!(deadline.is_over(now), is_over && is_a_time, "{written} after {millis}");
            }
        }
    }

    #[test]
    fn what_is_over_or_unreadable_is_refused() {
        let (wall, now) = (1_781_057_180_000, clock::now());
        for written in [
            "",
            "2",
            "-2s",
            "2 s",
            "soon",
            "1.5s",
            "2026-06-10",
            "2026-06-11",
            "2026-06-10T02:06:20Z",
            "2026-06-10T02:06:19Z",
            "2026-06-10T10:06:19+08:00",
            "1781057190",
            "Wed, 10 Jun 2026 02:07:00 GMT",
            "2s, 3s",
        ] {
            assert_eq!(parse(written.as_bytes(), wall, now), Err(BadDeadline), "{written}");
        }
        assert_eq!(parse(b"\xff", wall, now), Err(BadDeadline));
    }
}
