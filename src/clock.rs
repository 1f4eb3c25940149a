//! The time that decisions are taken at.
//!
//! A clock that steps back must not make expired tokens good again: the time to judge by is never more than [`TOLERATED_STEP`] behind the
//! highest time seen. Must not know who asks for the time or what for.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ringfence_core::decide::Now;

use crate::ready::Guard;

/// How far the wall clock may step back unnoticed (NTP corrections, leap seconds). A longer step makes the process unready.
pub const TOLERATED_STEP: Duration = Duration::from_secs(60);
const TOLERATED_STEP_MS: i64 = 60_000;

/// Gives the time of each check. Cheap to clone; all clones remember the same highest time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wall: Wall,
    highest_ms: AtomicI64,
}

/// Where the wall clock's reading comes from.
enum Wall {
    System,
    Manual(ManualClock),
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Manual(_) => "Manual",
        })
    }
}

/// The hand of a clock that only tests and tools move. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Sets the wall clock to `ms` milliseconds since the Unix epoch.
    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }

    /// Moves the wall clock by `ms` milliseconds, backwards if negative.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Inner { wall: Wall::System, highest_ms: AtomicI64::new(i64::MIN) }))
    }

    /// A clock that stands at `ms` milliseconds since the Unix epoch until its hand is moved.
    #[must_use]
    pub fn manual(ms: i64) -> (Self, ManualClock) {
        let hand = ManualClock(Arc::new(AtomicI64::new(ms)));
        (Self(Arc::new(Inner { wall: Wall::Manual(hand.clone()), highest_ms: AtomicI64::new(i64::MIN) })), hand)
    }

    /// The time to judge by, and what the wall clock says.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall_ms = self.wall_ms();
        let mut highest = self.0.highest_ms.load(Ordering::Relaxed);
        if wall_ms > highest {
            highest = self.0.highest_ms.fetch_max(wall_ms, Ordering::Relaxed).max(wall_ms);
        }
        Now { effective_ms: wall_ms.max(highest.saturating_sub(TOLERATED_STEP_MS)), wall_ms }
    }

    /// What the wall clock says, in milliseconds since the Unix epoch: for timestamps that nothing is judged by.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        match &self.0.wall {
            Wall::System => system_ms(),
            Wall::Manual(hand) => hand.0.load(Ordering::Relaxed),
        }
    }

    /// Tells `guard` whether the clock is settled now.
    pub fn report(&self, guard: &Guard) {
        let now = self.now();
        if now.is_unsettled() {
            let behind = (now.effective_ms + TOLERATED_STEP_MS - now.wall_ms) / 1_000;
            guard.missing(format!("the clock stepped back: it is {behind} s behind the highest time seen; a restart accepts the new time"));
        } else {
            guard.met();
        }
    }

    /// Keeps `guard` up to date, once a second, for ever.
    pub async fn watch(self, guard: Guard) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            self.report(&guard);
        }
    }
}

/// The system's time in milliseconds since the Unix epoch, negative before it.
fn system_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::Readiness;

    const NOON: i64 = 1_790_000_000_000;

    #[test]
    fn a_running_clock_is_settled() {
        let (clock, hand) = Clock::manual(NOON);
        assert_eq!(clock.now(), Now::settled(NOON));
        hand.advance(5_000);
        assert_eq!(clock.now(), Now::settled(NOON + 5_000));
    }

    #[test]
    fn a_small_step_back_is_followed() {
        let (clock, hand) = Clock::manual(NOON);
        let _ = clock.now();
        hand.advance(-60_000);
        assert_eq!(clock.now(), Now::settled(NOON - 60_000));
    }

    #[test]
    fn a_large_step_back_is_not_believed() {
        let (clock, hand) = Clock::manual(NOON);
        let _ = clock.now();
        hand.advance(-60_001);
        assert_eq!(clock.now(), Now { effective_ms: NOON - 60_000, wall_ms: NOON - 60_001 });
        assert!(clock.now().is_unsettled());
    }

    #[test]
    fn clones_remember_the_same_highest_time() {
        let (clock, hand) = Clock::manual(NOON);
        let other = clock.clone();
        let _ = clock.now();
        hand.set(0);
        assert_eq!(other.now().effective_ms, NOON - 60_000);
    }

    #[test]
    fn a_large_step_back_is_unready_until_the_clock_catches_up() {
        let (clock, hand) = Clock::manual(NOON);
        let readiness = Readiness::default();
        let guard = readiness.condition("clock", "not read yet");
        clock.report(&guard);
        assert!(readiness.is_ready());
        hand.advance(-90_000);
        clock.report(&guard);
        let missing = readiness.report().into_iter().find_map(|(_, missing)| missing).unwrap_or_default();
        assert!(missing.contains("90 s behind"), "{missing}");
        hand.advance(30_000);
        clock.report(&guard);
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_system_clock_tells_this_century() {
        assert!(Clock::system().now().wall_ms > 1_700_000_000_000);
    }
}
