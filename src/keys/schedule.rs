//! When to fetch a key set again. Pure: a random fraction is handed in.

use std::time::Duration;

/// The shortest time keys are kept, whatever the server says.
const MIN_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The longest.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long keys are kept when the server says nothing.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The first wait after a failure.
const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
/// The longest wait after failures.
const LAST_BACK_OFF: Duration = Duration::from_secs(5 * 60);

/// How long the last good keys serve while no fetch succeeds, from the first one that failed.
pub(super) const STALENESS_BOUND: Duration = Duration::from_secs(24 * 60 * 60);

/// The time until the next fetch after a good one: 75 % to 95 % of the keys' lifetime, so that they are renewed before they expire and
/// replicas do not ask all at once. `fraction` is from 0 to 1.
pub(super) fn refresh_after(max_age: Option<Duration>, fraction: f64) -> Duration {
    max_age.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME).mul_f64(0.75 + 0.2 * bounded(fraction))
}

/// The time until the next fetch after `failures` bad ones in a row: doubling, half of it random.
pub(super) fn back_off(failures: u32, fraction: f64) -> Duration {
    let doubled = FIRST_BACK_OFF.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LAST_BACK_OFF).mul_f64(0.5 + 0.5 * bounded(fraction))
}

/// A fraction as it should be, whatever the source of randomness says.
fn bounded(fraction: f64) -> f64 {
    if (0.0..=1.0).contains(&fraction) { fraction } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn renews_ahead_of_expiry_within_bounds() {
        let hour = 3600 * SECOND;
        assert_eq!(refresh_after(Some(hour), 0.0), hour.mul_f64(0.75));
        assert_eq!(refresh_after(Some(hour), 1.0), hour.mul_f64(0.95));
        assert_eq!(refresh_after(None, 1.0), hour.mul_f64(0.95));
        for short in [Duration::ZERO, SECOND, 299 * SECOND] {
            assert_eq!(refresh_after(Some(short), 0.0), 225 * SECOND, "{short:?}");
        }
        for long in [25 * hour, Duration::MAX] {
            assert_eq!(refresh_after(Some(long), 1.0), (24 * hour).mul_f64(0.95), "{long:?}");
        }
        assert!(refresh_after(Some(hour), f64::NAN) <= hour);
    }

    #[test]
    fn backs_off_up_to_five_minutes() {
        let waits: Vec<_> = (1..=10).map(|failures| back_off(failures, 1.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off(u32::MAX, 0.0), 150 * SECOND);
        assert_eq!(back_off(1, 0.0), SECOND);
    }
}
