//! Who waits for a fetch of one key set, and the budget that such fetches are paid from. Pure: the time is handed in.
//!
//! A flood of tokens with random key ids asks for fetches as fast as it likes; what leaves is a burst of three and then one per ten seconds.

use std::time::Duration;

use tokio::time::Instant;

/// Fetches that may be asked for at once.
const BURST: u32 = 3;
/// The time in which one more may be.
const PER_FETCH: Duration = Duration::from_secs(10);
/// Requests that may wait at once.
const MAX_WAITERS: usize = 256;

/// What one key set's task owes to those who wait.
#[derive(Debug, Default)]
pub(super) struct Demand {
    budget: Budget,
    /// How many fetches have begun.
    begun: u64,
    running: bool,
    /// A fetch is asked for that has not begun.
    queued: bool,
    waiters: usize,
}

/// What becomes of one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Wait until the fetch of this number is finished: it begins after the asking.
    Fetch(u64),
    /// No fetch will begin for this one. The running one of this number, which began before, may still bring the key.
    Running(u64),
    /// Nothing to wait for.
    None,
}

impl Demand {
    /// Takes one who asks for a fetch that begins after `now`. Every place but `None` is given back with [`Self::leave`].
    pub(super) fn join(&mut self, now: Instant) -> Place {
        if self.waiters >= MAX_WAITERS {
            return Place::None;
        }
        self.queued = self.queued || self.budget.take(now);
        let place = match (self.queued, self.running) {
            (true, _) => Place::Fetch(self.begun + 1),
            (false, true) => Place::Running(self.begun),
            (false, false) => return Place::None,
        };
        self.waiters += 1;
        place
    }

    /// One who waited is gone.
    pub(super) fn leave(&mut self) {
        self.waiters = self.waiters.saturating_sub(1);
    }

    /// Whether a fetch is asked for.
    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }

    /// A fetch begins, for whatever reason: all who asked so far wait for it. Returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.queued = false;
        self.running = true;
        self.begun += 1;
        self.begun
    }

    /// The fetch ended. If it brought a new key, whoever asked meanwhile looks there first, and what they asked for is not fetched.
    pub(super) fn end(&mut self, news: bool, now: Instant) {
        self.running = false;
        if news && self.queued {
            self.queued = false;
            self.budget.give_back(now);
        }
    }
}

/// A token bucket on the monotonic clock, kept as the moment at which it will be full.
#[derive(Debug, Default)]
struct Budget {
    full_at: Option<Instant>,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + PER_FETCH;
        let affordable = full_at - now <= PER_FETCH * BURST;
        if affordable {
            self.full_at = Some(full_at);
        }
        affordable
    }

    fn give_back(&mut self, now: Instant) {
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(PER_FETCH)).filter(|full_at| *full_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pays_for_a_burst_and_then_one_per_ten_seconds() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let taken = |budget: &mut Budget, after: u64| (0..100).filter(|_| budget.take(start + Duration::from_millis(after))).count();
        assert_eq!(taken(&mut budget, 0), 3);
        assert_eq!(taken(&mut budget, 9_999), 0);
        assert_eq!(taken(&mut budget, 10_000), 1);
        assert_eq!(taken(&mut budget, 29_999), 1);
        assert_eq!(taken(&mut budget, 1_000_000), 3);
        budget.give_back(start + Duration::from_secs(1_000));
        assert_eq!(taken(&mut budget, 1_000_000), 1);
    }

    #[test]
    fn giving_back_never_saves_more_than_a_burst() {
        let mut budget = Budget::default();
        let start = Instant::now();
        assert!(budget.take(start));
        let later = start + Duration::from_secs(60);
        budget.give_back(later);
        assert_eq!((0..100).filter(|_| budget.take(later)).count(), 3);
    }

    #[test]
    fn one_fetch_is_shared_and_begins_after_all_who_asked() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        assert_eq!(demand.join(now), Place::Fetch(1));
        assert_eq!(demand.join(now), Place::Fetch(1));
        assert_eq!(demand.begin(), 1);
        assert!(!demand.is_queued());
        assert_eq!(demand.join(now), Place::Fetch(2), "the running fetch began before this one asked");
        assert!(demand.is_queued());
        demand.end(false, now);
        assert!(demand.is_queued());
        assert_eq!(demand.begin(), 2);
    }

    #[test]
    fn without_budget_only_a_running_fetch_is_waited_for() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        for number in 1..=3 {
            assert_eq!(demand.join(now), Place::Fetch(number));
            assert_eq!(demand.begin(), number);
        }
        assert_eq!(demand.join(now), Place::Running(3));
        demand.end(false, now);
        assert_eq!(demand.join(now), Place::None);
        assert!(!demand.is_queued());
    }

    #[test]
    fn news_cancel_what_was_asked_meanwhile_and_give_the_price_back() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        demand.join(now);
        demand.begin();
        assert_eq!(demand.join(now), Place::Fetch(2));
        demand.end(true, now);
        assert!(!demand.is_queued());
        for number in 2..=3 {
            assert_eq!(demand.join(now), Place::Fetch(number));
            demand.begin();
            demand.end(false, now);
        }
        assert_eq!(demand.join(now), Place::None);
    }

    #[test]
    fn at_most_256_wait() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        assert!((0..256).all(|_| demand.join(now) == Place::Fetch(1)));
        assert_eq!(demand.join(now), Place::None);
        demand.leave();
        assert_eq!(demand.join(now), Place::Fetch(1));
    }
}
