//! The time that decisions are taken at.
//!
//! A clock that steps back must not make expired tokens good again: the time to judge by never falls by more than [`TOLERATED_STEP`] below
//! what it has been, however long it takes; stores of used tokens forget by that. And a clock that steps, in either direction, must not make
//! genuine tokens bad: how long it is since the wall clock was last believed is known from the monotonic clock, and where the two disagree,
//! what only one of them refuses is not certain.
//!
//! | the wall clock | time to judge by |
//! |---|---|
//! | within a minute of the monotonic one | the wall clock, but no less than the highest so far less a minute |
//! | further ahead | the wall clock, which is not believed |
//! | further behind | the monotonic clock; until the wall clock is right again, or a restart |
//!
//! Must not know who asks for the time or what for.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ringfence_core::decide::Now;

use crate::ready::Guard;

/// How far the wall clock may step unnoticed (NTP corrections, leap seconds). A longer step back makes the process unready.
pub const TOLERATED_STEP: Duration = Duration::from_secs(60);
const TOLERATED_STEP_MS: i64 = 60_000;
/// The wall clock's lead over the monotonic one is followed in steps of this, so that checks share it without writing to it.
const FOLLOWED_STEP_MS: i64 = 1_000;

/// Gives the time of each check. Cheap to clone; all clones remember the same highest time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// The highest time that was judged by.
    highest_ms: AtomicI64,
    /// How far the wall clock was ahead of the monotonic one when it was last believed.
    lead_ms: AtomicI64,
    /// It was said that the wall clock has stepped forward.
    told: AtomicBool,
}

/// Where readings come from.
enum Source {
    /// The system, since this moment.
    System(Instant),
    Manual(ManualClock),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System(_) => "System",
            Self::Manual(_) => "Manual",
        })
    }
}

impl Source {
    fn wall_ms(&self) -> i64 {
        match self {
            Self::System(_) => system_ms(),
            Self::Manual(hand) => hand.0.wall_ms.load(Ordering::Relaxed),
        }
    }

    /// The time that has passed at `now`, by the monotonic clock.
    fn passed_ms(&self, now: Instant) -> i64 {
        match self {
            Self::System(since) => i64::try_from(now.saturating_duration_since(*since).as_millis()).unwrap_or(i64::MAX),
            Self::Manual(hand) => hand.0.passed_ms.load(Ordering::Relaxed),
        }
    }
}

/// The hand of a clock that only tests and tools move. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    wall_ms: AtomicI64,
    passed_ms: AtomicI64,
}

impl ManualClock {
    /// Sets the wall clock to `ms` milliseconds since the Unix epoch: forward as time passes, back as a step.
    pub fn set(&self, ms: i64) {
        self.advance(ms.saturating_sub(self.0.wall_ms.load(Ordering::Relaxed)));
    }

    /// Lets `ms` milliseconds pass. If negative, the wall clock steps back.
    pub fn advance(&self, ms: i64) {
        self.0.passed_ms.fetch_add(ms.max(0), Ordering::Relaxed);
        self.step(ms);
    }

    /// The wall clock steps by `ms` milliseconds, backwards if negative, and no time passes.
    pub fn step(&self, ms: i64) {
        self.0.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System(Instant::now()))
    }

    /// A clock that stands at `ms` milliseconds since the Unix epoch until its hand is moved.
    #[must_use]
    pub fn manual(ms: i64) -> (Self, ManualClock) {
        let hand = ManualClock(Arc::new(Hands { wall_ms: AtomicI64::new(ms), passed_ms: AtomicI64::new(0) }));
        (Self::of(Source::Manual(hand.clone())), hand)
    }

    /// What the wall clock says now is believed.
    fn of(source: Source) -> Self {
        let lead_ms = AtomicI64::new(source.wall_ms().saturating_sub(source.passed_ms(Instant::now())));
        Self(Arc::new(Inner { source, highest_ms: AtomicI64::new(i64::MIN), lead_ms, told: AtomicBool::new(false) }))
    }

    /// The time to judge by, and the readings that it comes from.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now_by(Instant::now())
    }

    /// The same where the monotonic clock was read just now.
    #[must_use]
    pub fn now_by(&self, monotonic: Instant) -> Now {
        let Inner { source, lead_ms, .. } = &*self.0;
        let (wall_ms, passed_ms) = (source.wall_ms(), source.passed_ms(monotonic));
        let mut steady_ms = passed_ms.saturating_add(lead_ms.load(Ordering::Relaxed));
        let step_ms = wall_ms.saturating_sub(steady_ms);
        if step_ms.abs() <= TOLERATED_STEP_MS {
            if step_ms.abs() >= FOLLOWED_STEP_MS {
                lead_ms.store(wall_ms.saturating_sub(passed_ms), Ordering::Relaxed);
            }
            steady_ms = wall_ms;
        }
        let latest_ms = wall_ms.max(steady_ms);
        let floor_ms = self.highest_since(latest_ms).saturating_sub(TOLERATED_STEP_MS);
        Now { effective_ms: latest_ms.max(floor_ms), wall_ms, steady_ms }
    }

    /// The highest time judged by, this one included.
    fn highest_since(&self, latest_ms: i64) -> i64 {
        let highest = self.0.highest_ms.load(Ordering::Relaxed);
        if latest_ms > highest { self.0.highest_ms.fetch_max(latest_ms, Ordering::Relaxed).max(latest_ms) } else { highest }
    }

    /// What the wall clock says, in milliseconds since the Unix epoch: for timestamps that nothing is judged by.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.0.source.wall_ms()
    }

    /// Tells `guard` whether the clock is settled now. After a step forward it is met: whole machines pause and go on, all at the same time, and
    /// what is signed after that is judged rightly.
    pub fn report(&self, guard: &Guard) {
        let now = self.now();
        if now.wall_ms < now.effective_ms {
            let behind = self.highest_since(now.wall_ms).saturating_sub(now.wall_ms) / 1_000;
            guard.missing(format!("the clock stepped back: it is {behind} s behind the time to judge by; set it right, or restart to accept it"));
        } else {
            guard.met();
        }
        let ahead = now.wall_ms.saturating_sub(now.steady_ms) / 1_000;
        let is_ahead = now.wall_ms == now.effective_ms && ahead > 0;
        if is_ahead != self.0.told.swap(is_ahead, Ordering::Relaxed) && is_ahead {
            tracing::error!(
                seconds = ahead,
                "the clock stepped forward; what would still be good without the step is answered `clock_unsettled`; a restart accepts the new time"
            );
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
    use proptest::{collection::vec, prelude::*};

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
        assert_eq!(clock.now(), Now { effective_ms: NOON, wall_ms: NOON - 60_001, steady_ms: NOON });
        assert!(clock.now().is_unsettled());
    }

    #[test]
    fn after_a_large_step_time_goes_on_by_the_monotonic_clock() {
        let (clock, hand) = Clock::manual(NOON);
        let _ = clock.now();
        hand.step(-600_000);
        hand.advance(7_000);
        assert_eq!(clock.now(), Now { effective_ms: NOON + 7_000, wall_ms: NOON - 593_000, steady_ms: NOON + 7_000 });
        hand.step(600_000);
        assert_eq!(clock.now(), Now::settled(NOON + 7_000));
    }

    #[test]
    fn a_large_step_forward_is_judged_by_and_not_believed() {
        let (clock, hand) = Clock::manual(NOON);
        hand.step(60_001);
        assert_eq!(clock.now(), Now { effective_ms: NOON + 60_001, wall_ms: NOON + 60_001, steady_ms: NOON });
        hand.advance(5_000);
        assert_eq!(clock.now(), Now { effective_ms: NOON + 65_001, wall_ms: NOON + 65_001, steady_ms: NOON + 5_000 });
        let readiness = Readiness::default();
        clock.report(&readiness.condition("clock", "not read yet"));
        assert!(readiness.is_ready());
    }

    #[test]
    fn small_steps_add_up_to_no_large_one() {
        let (clock, hand) = Clock::manual(NOON);
        for minute in 1..=10 {
            hand.step(60_000);
            assert_eq!(clock.now(), Now::settled(NOON + minute * 60_000));
        }
        // But never further back than a minute from the highest.
        for _ in 0..3 {
            hand.step(-30_000);
            let _ = clock.now();
        }
        assert_eq!(clock.now().effective_ms, NOON + 540_000);
    }

    /// Else all tokens that expired and were forgotten meanwhile would be good again.
    #[test]
    fn a_step_back_is_not_believed_however_long_it_lasts() {
        let (clock, hand) = Clock::manual(NOON);
        let _ = clock.now();
        hand.step(-600_000);
        for seconds in [1, 538, 1, 60, 600] {
            let before = clock.now();
            hand.advance(seconds * 1_000);
            assert!(clock.now().is_unsettled());
            assert_eq!(clock.now().effective_ms, before.effective_ms + seconds * 1_000);
        }
        hand.step(600_000);
        assert_eq!(clock.now(), Now::settled(NOON + 1_200_000));
    }

    proptest! {
        /// Stores of used tokens forget by this.
        #[test]
        fn the_time_to_judge_by_never_falls_by_more_than_is_tolerated(moves in vec((-700_000..700_000_i64, 0..700_000_i64), 1..20)) {
            let (clock, hand) = Clock::manual(NOON);
            let mut highest = clock.now().effective_ms;
            for (step, passed) in moves {
                hand.step(step);
                hand.advance(passed);
                let now = clock.now();
                prop_assert!(now.effective_ms >= highest - TOLERATED_STEP_MS);
                prop_assert!(now.effective_ms >= now.wall_ms.max(now.steady_ms));
                highest = highest.max(now.effective_ms);
            }
        }
    }

    #[test]
    fn clones_remember_the_same_highest_time() {
        let (clock, hand) = Clock::manual(NOON);
        let other = clock.clone();
        let _ = clock.now();
        hand.set(0);
        assert_eq!(other.now().effective_ms, NOON);
    }

    #[test]
    fn a_large_step_back_is_unready_until_the_clock_is_right_again() {
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
        assert!(!readiness.is_ready());
        hand.step(90_000);
        clock.report(&guard);
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_system_clock_tells_this_century() {
        assert!(Clock::system().now().wall_ms > 1_700_000_000_000);
    }
}
