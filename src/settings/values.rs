//! Values that only settings have.

use std::{convert::Infallible, fmt, num::NonZeroUsize, str::FromStr, time::Duration};

/// A value that may hold a password: it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Withheld(Box<str>);

impl Withheld {
    /// The value.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Withheld {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withheld")
    }
}

/// Longest duration that is meant.
const MOST: Duration = Duration::from_secs(24 * 3_600);

/// Reads `500ms`, `5s`, `10m`, `1h`.
///
/// # Errors
/// Says what may be written.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is no duration: write a number with its unit, `500ms`, `5s`, `10m` or `1h`, up to a day");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(refused)?;
    let number: u64 = number.parse().map_err(|_| refused())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).filter(|duration| *duration <= MOST).ok_or_else(refused)
}

/// Reads a part from 0 to 1.
///
/// # Errors
/// Says what may be written.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| format!("`{text}` is no part of the whole: write a number from 0 to 1, as `0.01`"))
}

/// The number of processors this process may use.
pub(super) fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, milliseconds) in [("0s", 0), ("500ms", 500), ("5s", 5_000), ("10m", 600_000), ("24h", 86_400_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "25h", "5d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).unwrap_err().contains("is no duration"), "{text}");
        }
    }

    #[test]
    fn parts_lie_between_nothing_and_all() {
        assert_eq!((part("0"), part("0.25"), part("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for text in ["", "1.1", "-0.1", "NaN", "1%"] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
