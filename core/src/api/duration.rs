//! Durations as Go and Kubernetes write them: `30s`, `5m`, `1h30m`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A span of time, exact to the millisecond, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    ms: u64,
}

/// Longest text that is read, in bytes.
const MAX_LENGTH: usize = 32;
const UNITS: &[(&str, u64)] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
const NANOS_PER_MS: u64 = 1_000_000;

/// A text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a number and a unit, such as `30s`, `5m` or `1h30m`")]
pub struct DurationError;

impl Duration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self { ms: seconds as u64 * 1000 }
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.ms
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text == "0" {
            return Ok(Self::default());
        }
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(DurationError);
        }
        let (mut rest, mut nanos) = (text, 0_u64);
        while !rest.is_empty() {
            let (value, after) = read_part(rest).ok_or(DurationError)?;
            nanos = nanos.checked_add(value).ok_or(DurationError)?;
            rest = after;
        }
        if nanos % NANOS_PER_MS == 0 { Ok(Self { ms: nanos / NANOS_PER_MS }) } else { Err(DurationError) }
    }
}

/// Reads one number with its unit; returns nanoseconds and what follows.
fn read_part(text: &str) -> Option<(u64, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at_checked(number_end)?;
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_end)?;
    let per_unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = whole.checked_mul(per_unit)?;
    let mut scale = per_unit;
    for digit in fraction.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        if scale % 10 != 0 && digit != 0 {
            return None;
        }
        scale /= 10;
        nanos = nanos.checked_add(scale.checked_mul(digit)?)?;
    }
    Some((nanos, rest))
}

/// As Go prints it, without the zero parts: `1h30m`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let parts = [(self.ms / 3_600_000, "h"), (self.ms / 60_000 % 60, "m"), (self.ms / 1000 % 60, "s"), (self.ms % 1000, "ms")];
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format_args!("`{text}` is {error}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases: &[(&str, Option<u64>)] = &[
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("1h30m0.5s", Some(5_400_500)),
            (".5s", Some(500)),
            ("1.s", Some(1000)),
            ("250ms", Some(250)),
            ("1000us", Some(1)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1us", None),
            ("1.0001s", None),
            ("", None),
            ("5", None),
            ("m", None),
            (".s", None),
            ("1.2.3s", None),
            ("-5m", None),
            ("+5m", None),
            ("5 m", None),
            ("5d", None),
            ("5M", None),
            ("99999999999999999999h", None),
            ("9999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Duration>().ok().map(Duration::as_millis), *expected, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        for text in ["30s", "5m", "24h", "1h30m", "1m250ms", "0s"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
    }
}
