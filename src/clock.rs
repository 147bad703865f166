//! The only place that asks what time it is.
//!
//! Monotonic time measures and expires things, so that a jump of the wall clock can neither revive nor
//! kill a token of the platform. Wall time labels what people and Prometheus read, and ends what has to outlive this
//! process: gateway tokens, and what the inbox keeps for a time, as far as monotonic time proves that it has passed. It
//! never sleeps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Monotonic time. Tokio's, so that a test with a paused clock holds it still.
pub type Instant = tokio::time::Instant;

/// Now, on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, on the wall clock: milliseconds since 1970-01-01 UTC. Zero before that, never a panic.
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn wall_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a wall time of [`wall_millis`] as RFC 3339 in UTC, `2026-06-10T02:06:20.123Z`.
pub fn write_rfc3339(millis: u64, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second, milli) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Writes a wall time in seconds since 1970-01-01 UTC as HTTP does (RFC 9110 section 5.6.7),
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn write_http_date(second: u64, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, in_day) = (second / 86_400, second % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (weekday, month) = (WEEKDAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    write!(out, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads what [`write_rfc3339`] writes, and what people write: `2026-06-10`, `2026-06-10T02:06:20Z`, and with an offset such
/// as `+08:00`. A day alone begins at midnight UTC. `None` for anything else, and for times before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, digits: usize| {
        let part = text.get(from..from + digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok())?
    };
    let is_at = |at: usize, expected: &[u8]| text.as_bytes().get(at).is_some_and(|found| expected.contains(found));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let days = days_from_civil(year, month, day).filter(|days| civil_from_days(*days) == (year, month, day))?;
    let day_millis = days * 86_400_000;
    if !(is_at(4, b"-") && is_at(7, b"-")) {
        return None;
    }
    if text.len() == 10 {
        return Some(day_millis);
    }
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(is_at(10, b"Tt ") && is_at(13, b":") && is_at(16, b":")) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = match text.get(19..)?.strip_prefix('.') {
        None => ("", text.get(19..)?),
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
    };
    if text.as_bytes().get(19) == Some(&b'.') && fraction.is_empty() {
        return None;
    }
    let milli = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let millis = day_millis + ((hour * 60 + minute) * 60 + second) * 1000 + milli;
    if matches!(zone, "Z" | "z") {
        return Some(millis);
    }
    let at = text.len() - zone.len();
    let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
    if zone.len() != 6 || !is_at(at + 3, b":") || hours > 23 || minutes > 59 {
        return None;
    }
    let offset = (hours * 60 + minutes) * 60_000;
    match zone.as_bytes()[0] {
        b'+' => millis.checked_sub(offset),
        b'-' => Some(millis + offset),
        _ => None,
    }
}

/// The inverse of [`civil_from_days`]; `None` before 1970 and where there is no such month.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Days since 1970-01-01 to year, month, day in the Gregorian calendar, by eras of 400 years that start in March.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_print_as_rfc_3339() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_781_057_180_123, "2026-06-10T02:06:20.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            let mut text = String::new();
            write_rfc3339(millis, &mut text).expect("writing to a string");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn wall_times_print_as_http_asks() {
        for (second, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ] {
            let mut text = String::new();
            write_http_date(second, &mut text).expect("writing to a string");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        for millis in (0..4_102_444_800_000).step_by(86_399_999 * 7) {
            let mut text = String::new();
            write_rfc3339(millis, &mut text).expect("writing to a string");
            assert_eq!(parse_rfc3339(&text), Some(millis), "{text}");
        }
        for (text, millis) in [
            ("2026-06-10", 1_781_049_600_000),
            ("2026-06-10T02:06:20Z", 1_781_057_180_000),
            ("2026-06-10 02:06:20z", 1_781_057_180_000),
            ("2026-06-10T02:06:20.1Z", 1_781_057_180_100),
            ("2026-06-10T02:06:20.123456Z", 1_781_057_180_123),
            ("2026-06-10T10:06:20+08:00", 1_781_057_180_000),
            ("2026-06-09T21:36:20-04:30", 1_781_057_180_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "1781057180",
            "2026-6-10",
            "2026-02-29",
            "2026-13-01",
            "2026-06-00",
            "1969-12-31",
            "2026-06-10T",
            "2026-06-10T02:06Z",
            "2026-06-10T02:06:20",
            "2026-06-10T24:00:00Z",
            "2026-06-10T02:06:20.Z",
            "2026-06-10T02:06:20+0800",
            "2026-06-10T02:06:20+08:00x",
            "2026-06-10T02:06:20Zx",
            "1970-01-01T00:00:00+08:00",
            "2026-06-10é02:06:20Z",
            "+026-06-10",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
