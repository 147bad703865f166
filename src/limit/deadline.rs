//! Until when a call may wait for its turn: the account's `max_wait`, or what the program says itself in
//! `X-Gateway-Deadline`.
//!
//! It reads and compares. It never waits, and what it cannot read it refuses rather than guesses.

use std::time::Duration;

use crate::clock;
use crate::config::{self, LONGEST_WAIT};

/// `X-Gateway-Deadline` cannot be read, or is over.
#[derive(Debug, PartialEq, Eq)]
pub struct BadDeadline;

/// Reads `2s`, `500ms` or an RFC 3339 time: how long the call may wait from now on. `wall` is now in milliseconds since
/// 1970.
///
/// # Errors
/// [`BadDeadline`] when it is neither, or in the past.
pub fn parse(written: &[u8], wall: u64) -> Result<Duration, BadDeadline> {
    let text = std::str::from_utf8(written).map_err(|_| BadDeadline)?.trim();
    let wait = match config::parse_duration(text) {
        Ok(wait) => wait,
        // A day alone would mean its midnight, which nobody means.
        Err(_) if text.len() == "2026-06-10".len() => return Err(BadDeadline),
        Err(_) => {
            let until = clock::parse_rfc3339(text).ok_or(BadDeadline)?;
            Duration::from_millis(until.checked_sub(wall).filter(|left| *left > 0).ok_or(BadDeadline)?)
        }
    };
    Ok(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_duration_or_a_time() {
        // 2026-06-10T02:06:20Z
        let wall = 1_781_057_180_000;
        for (written, millis) in [
            ("2s", 2_000),
            (" 500ms ", 500),
            ("0s", 0),
            ("5m", 300_000),
            ("1h", 600_000),
            ("2026-06-10T02:06:21Z", 1_000),
            ("2026-06-10T10:06:20.250+08:00", 250),
            ("2027-06-10T02:06:20Z", 600_000),
        ] {
            assert_eq!(parse(written.as_bytes(), wall), Ok(Duration::from_millis(millis)), "{written}");
        }
    }

    #[test]
    fn what_is_over_or_unreadable_is_refused() {
        let wall = 1_781_057_180_000;
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
            assert_eq!(parse(written.as_bytes(), wall), Err(BadDeadline), "{written}");
        }
        assert_eq!(parse(b"\xff", wall), Err(BadDeadline));
    }
}
