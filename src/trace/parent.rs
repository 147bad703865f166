//! `traceparent`: which trace a call belongs to (W3C Trace Context, section 3.2).
//!
//! What cannot be read is no trace, as the specification asks; nothing of it is repeated anywhere. It starts no trace: a
//! receiver would then record what nobody asked for.

use std::fmt;

/// The header's name.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Digits of a trace's id and of a span's.
const TRACE: usize = 32;
const SPAN: usize = 16;

/// How long version 00 is, and every later one at least.
const LENGTH: usize = "00-".len() + TRACE + "-".len() + SPAN + "-01".len();

/// A trace, and the span of it that called. Lower-case hexadecimal digits and two hyphens, so it may stand in a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: [u8; TRACE],
    span: [u8; SPAN],
    is_sampled: bool,
}

impl TraceParent {
    /// Reads a header's value. `None`: it names no trace.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (known, later) = value.split_at_checked(LENGTH)?;
        let [v0, v1, b'-', rest @ ..] = known else { return None };
        let (trace, rest) = rest.split_first_chunk::<TRACE>()?;
        let (span, flags) = rest.strip_prefix(b"-")?.split_first_chunk::<SPAN>()?;
        let [b'-', f0, f1] = flags else { return None };
        let are_digits = [*v0, *v1, *f0, *f1].iter().chain(trace).chain(span).all(|byte| digit(*byte).is_some());
        let is_version = match (v0, v1) {
            (b'f', b'f') => false,
            (b'0', b'0') => later.is_empty(),
            // A later version may say more, behind another hyphen.
            _ => later.first().is_none_or(|byte| *byte == b'-'),
        };
        let is_zero = |digits: &[u8]| digits.iter().all(|byte| *byte == b'0');
        let is_named = !is_zero(trace) && !is_zero(span);
        let is_sampled = digit(*f1)? & 1 == 1;
        (are_digits && is_version && is_named).then_some(Self { trace: *trace, span: *span, is_sampled })
    }

    /// The trace's id.
    pub(crate) fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace).unwrap_or_default()
    }

    /// Whether its program records it.
    #[cfg(feature = "otlp")]
    pub(super) fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The trace's id and that of the span that called, as numbers.
    #[cfg(feature = "otlp")]
    pub(super) fn ids(&self) -> (u128, u64) {
        (number(&self.trace), number(&self.span) as u64)
    }
}

/// The value of a lower-case hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// As it is passed on: of version 00, and with the span that called, because whoever makes no span of its own hands on what it
/// was given (section 4.3 of the specification).
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = std::str::from_utf8(&self.span).unwrap_or_default();
        write!(f, "00-{}-{span}-0{}", self.trace_id(), u8::from(self.is_sampled))
    }
}

/// The number that digits write.
#[cfg(any(feature = "otlp", test))]
fn number(digits: &[u8]) -> u128 {
    digits.iter().filter_map(|byte| digit(*byte)).fold(0, |number, digit| number << 4 | u128::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_read_as_the_specification_says() {
        for (value, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(true)),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some(false)),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", Some(false)),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", Some(true)),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(true)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", Some(true)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what-comes", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01", None),
            ("", None),
        ] {
            let read = TraceParent::parse(value.as_bytes());
            assert_eq!(read.map(|trace| trace.is_sampled), expected, "{value}");
            assert!(read.is_none_or(|trace| trace.trace_id() == TRACE_ID), "{value}");
        }
    }

    #[test]
    fn what_is_passed_on_is_the_trace_and_the_span_that_called() {
        for (came, passed) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ] {
            assert_eq!(TraceParent::parse(came.as_bytes()).expect("a trace").to_string(), passed);
        }
    }

    #[test]
    fn the_ids_of_a_trace_are_numbers() {
        let read = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("a trace");
        assert_eq!(number(&read.trace), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(number(&read.span), 0x00f0_67aa_0ba9_02b7);
    }
}
