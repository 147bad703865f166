//! When a peer asks to be called again: the value of `Retry-After`.
//!
//! It reads and decides nothing: whoever asked has a limit of its own.

use std::time::{Duration, UNIX_EPOCH};

/// Reads a `Retry-After`: seconds or an HTTP date (RFC 9110 section 10.2.3). `now_ms` is the wall clock.
pub(crate) fn retry_after(value: &[u8], now_ms: u64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "very long".
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        const DATE_MS: u64 = 784_111_777_000;
        for (value, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let read = retry_after(value.as_bytes(), DATE_MS - 30_000);
            assert_eq!(read, expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
