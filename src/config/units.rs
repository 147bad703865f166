//! Durations, sizes and rates as an operator writes them: a whole number and its unit.
//!
//! Each refusal is the rest of a sentence that begins with the key. No default lives here.

use std::time::Duration;

use super::error::quote;

/// Longest duration: a year. Beyond it an addition to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Largest size: 1 TiB, so that sums of sizes cannot overflow.
const LARGEST: u64 = 1 << 40;

/// Calls in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    /// How many.
    pub calls: u32,
    /// In which time: a second, a minute or an hour.
    pub per: Duration,
}

impl Frequency {
    /// The time between two calls.
    pub fn interval(self) -> Duration {
        self.per / self.calls.max(1)
    }

    /// In calls per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.calls) / self.per.as_secs_f64()
    }
}

/// `500ms`, `10s`, `5m`, `24h` or `14d`.
pub fn duration(written: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let millis = amount(written, UNITS, "10s")?;
    match millis.map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("is {}; the longest is \"365d\"", quote(written))),
    }
}

/// `512B`, `32KiB`, `16MiB` or `1GiB`, in bytes.
pub(super) fn size(written: &str) -> Result<usize, String> {
    const UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let bytes = amount(written, UNITS, "16MiB")?;
    match bytes.filter(|bytes| *bytes <= LARGEST).and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) => Ok(bytes),
        None => Err(format!("is {}; the largest is \"1024GiB\"", quote(written))),
    }
}

/// `50/s`, `300/m` or `100/h`.
pub(super) fn frequency(written: &str) -> Result<Frequency, String> {
    const UNITS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3600)];
    const MOST: u32 = 100_000;
    let refusal = || format!("is {}; write calls and a time, such as \"50/s\", \"300/m\" or \"100/h\"", quote(written));
    let (calls, unit) = written.split_once('/').ok_or_else(refusal)?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refusal)?;
    if calls.is_empty() || !calls.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refusal());
    }
    match calls.parse::<u32>().ok().filter(|calls| (1..=MOST).contains(calls)) {
        Some(calls) => Ok(Frequency { calls, per: Duration::from_secs(*seconds) }),
        None => Err(format!("is {}; write 1 to {MOST} calls", quote(written))),
    }
}

/// A size as an operator would write it, in its largest whole unit.
pub(super) fn written_size(bytes: usize) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// A duration of whole seconds as an operator would write it: in hours where that is exact.
pub(super) fn written_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds => format!("{seconds}s"),
    }
}

/// The number times its unit; `None` when that does not fit.
fn amount(written: &str, units: &[(&str, u64)], example: &str) -> Result<Option<u64>, String> {
    let end = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (digits, unit) = written.split_at(end);
    if digits.is_empty() || !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(format!("is {}; write a whole number and its unit, such as \"{example}\"", quote(written)));
    }
    let known = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if unit.is_empty() {
        return Err(format!("is {} without a unit; add one of {known}", quote(written)));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("is {} with an unknown unit; known units are {known}", quote(written)));
    };
    Ok(digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (written, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("14d", 1_209_600_000),
            ("365d", 31_536_000_000),
            ("0s", 0),
            ("007s", 7_000),
        ] {
            assert_eq!(duration(written), Ok(Duration::from_millis(millis)), "{written}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit_and_written_back() {
        for (written, bytes) in
            [("1B", 1), ("1023B", 1023), ("32KiB", 32 << 10), ("16MiB", 16 << 20), ("3GiB", 3 << 30), ("0B", 0)]
        {
            assert_eq!(size(written), Ok(bytes), "{written}");
            assert_eq!(written_size(bytes), written);
        }
        assert_eq!(size("1024GiB"), Ok(1 << 40));
        assert_eq!(written_size(1536 << 10), "1536KiB");
    }

    #[test]
    fn rates_are_read_with_their_time() {
        for (written, calls, seconds) in
            [("1/s", 1, 1), ("50/s", 50, 1), ("300/m", 300, 60), ("100000/h", 100_000, 3600)]
        {
            let rate = frequency(written).expect(written);
            assert_eq!((rate.calls, rate.per.as_secs()), (calls, seconds), "{written}");
        }
        for written in
            ["", "50", "/s", "50/", "50/d", "50 /s", "50/ s", "-1/s", "+1/s", "1.5/s", "0/s", "100001/s", "50/s/s"]
        {
            assert!(frequency(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_is_not_a_number_and_a_unit_is_refused() {
        for written in [
            "",
            "s",
            "10",
            "10 s",
            "-1s",
            "+1s",
            "1.5s",
            "1h30m",
            "10sec",
            "10S",
            "1_0s",
            "٣s",
            "366d",
            "99999999999999999999s",
        ] {
            assert!(duration(written).is_err(), "{written}");
        }
        for written in
            ["", "KiB", "10", "10 KiB", "-1B", "1.5MiB", "10KB", "10kib", "10M", "1025GiB", "18446744073709551615GiB"]
        {
            assert!(size(written).is_err(), "{written}");
        }
    }
}
