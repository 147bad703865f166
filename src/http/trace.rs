//! `traceparent`: which trace a call belongs to (W3C Trace Context, section 3.2).
//!
//! What cannot be read is no trace, as the specification asks; nothing of it is repeated anywhere. It starts no trace: a
//! receiver would then record what nobody asked for.

/// The header's name.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Digits of a trace's id and of a span's.
const TRACE: usize = 32;
const SPAN: usize = 16;

/// How long version 00 is, and every later one at least.
const LENGTH: usize = "00-".len() + TRACE + "-".len() + SPAN + "-01".len();

/// A trace. Lower-case hexadecimal digits, so it may stand in a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: [u8; TRACE],
}

impl TraceParent {
    /// Reads a header's value. `None`: it names no trace.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (known, later) = value.split_at_checked(LENGTH)?;
        let [v0, v1, b'-', rest @ ..] = known else { return None };
        let (trace, rest) = rest.split_first_chunk::<TRACE>()?;
        let (span, flags) = rest.strip_prefix(b"-")?.split_first_chunk::<SPAN>()?;
        let [b'-', f0, f1] = flags else { return None };
        let are_digits =
            [*v0, *v1, *f0, *f1].iter().chain(trace).chain(span).all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_version = match (v0, v1) {
            (b'f', b'f') => false,
            (b'0', b'0') => later.is_empty(),
            // A later version may say more, behind another hyphen.
            _ => later.first().is_none_or(|byte| *byte == b'-'),
        };
        let is_zero = |digits: &[u8]| digits.iter().all(|byte| *byte == b'0');
        let is_named = !is_zero(trace) && !is_zero(span);
        (are_digits && is_version && is_named).then_some(Self { trace: *trace })
    }

    /// The trace's id.
    pub(crate) fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_read_as_the_specification_says() {
        for (value, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what-comes", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01", false),
            ("", false),
        ] {
            let read = TraceParent::parse(value.as_bytes());
            assert_eq!(read.is_some(), expected, "{value}");
            assert!(read.is_none_or(|trace| trace.trace_id() == TRACE_ID), "{value}");
        }
    }
}
