//! The one repair the gateway makes: a phone number's `+` in a query.
//!
//! In a query a literal `+` reads as a space, so `Callee=+6281…` calls a number without its country code
//! mark. Only a `+` at the start of a value (or of an item in a list) with digits after it is changed; a
//! `+` that stands for a space inside a date is left alone. Nothing is decoded or reordered.

use std::borrow::Cow;

/// Digits that make a number a phone number rather than, say, a time zone.
const LEAST_DIGITS: usize = 5;

/// The query with each phone number's literal `+` written as `%2B`.
pub(super) fn repair_plus(query: &str) -> Cow<'_, str> {
    if !query.contains('+') {
        return Cow::Borrowed(query);
    }
    let bytes = query.as_bytes();
    let mut repaired = String::with_capacity(query.len() + 8);
    let mut copied = 0;
    for (at, _) in query.match_indices('+') {
        let starts_value = at > 0 && matches!(bytes[at - 1], b'=' | b',' | b';' | b'[' | b'"')
            || query[..at].ends_with("%2C")
            || query[..at].ends_with("%2c")
            || query[..at].ends_with("%22");
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if starts_value && digits >= LEAST_DIGITS {
            repaired.push_str(&query[copied..at]);
            repaired.push_str("%2B");
            copied = at + 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(query);
    }
    repaired.push_str(&query[copied..]);
    Cow::Owned(repaired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_phone_numbers_plus_is_repaired() {
        for (query, expected) in [
            ("TaskID=1&Callee=+6281200000001", "TaskID=1&Callee=%2B6281200000001"),
            ("Callee=+6281200000001&TaskID=1", "Callee=%2B6281200000001&TaskID=1"),
            ("Callee=%2B6281200000001", "Callee=%2B6281200000001"),
            ("to=+6281200000001,+6281200000002", "to=%2B6281200000001,%2B6281200000002"),
            ("to=+6281200000001%2C+6281200000002", "to=%2B6281200000001%2C%2B6281200000002"),
            ("start=2023-09-01+00:00:00", "start=2023-09-01+00:00:00"),
            ("zone=+08:00", "zone=+08:00"),
            ("q=a+62812000000", "q=a+62812000000"),
            ("name=%E9%99%88+%E5%B0%8F", "name=%E9%99%88+%E5%B0%8F"),
            ("+6281200000001", "+6281200000001"),
            ("Callee=+", "Callee=+"),
            ("", ""),
        ] {
            assert_eq!(repair_plus(query), expected, "{query}");
        }
    }
}
