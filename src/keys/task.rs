//! One key set's task: fetch, publish, rest until the next fetch is due or asked for.
//!
//! It alone fetches this set, so fetches never overlap.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringfence_core::decide::{FetchedKeys, KeySetId};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    FetchFailure, FreshKeys,
    demand::{Demand, Place},
    keeper::Kept,
    parked::LastGood,
    schedule,
};

/// How far a set's task is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The number of the last fetch that ended.
    pub(super) finished: u64,
    /// The number of the last fetch that brought a key which was not there.
    pub(super) news: u64,
}

/// What a set's task shares with those who wait for it.
#[derive(Debug)]
pub(super) struct Shared {
    /// The set's metric label.
    pub(super) label: String,
    demand: Mutex<Demand>,
    asked: Notify,
    /// When the first fetch that failed since the last good one ended.
    failing_since: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(label: String) -> Self {
        Self { label, demand: Mutex::default(), asked: Notify::new(), failing_since: Mutex::default() }
    }

    /// When the first fetch that failed since the last good one ended.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        *self.failing()
    }

    /// Takes one who asks; see [`Demand::join`].
    pub(super) fn join(&self) -> Place {
        let place = self.demand().join(Instant::now());
        if matches!(place, Place::Fetch(_)) {
            self.asked.notify_one();
        }
        place
    }

    /// One who waited is gone.
    pub(super) fn leave(&self) {
        self.demand().leave();
    }

    fn failing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One key set's task.
pub(super) struct SetTask {
    id: Arc<KeySetId>,
    kept: Arc<Kept>,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    /// The keys in the ring.
    kids: BTreeSet<Box<str>>,
    /// Fetches that failed since the last good one.
    failures: u32,
    next: Instant,
}

impl SetTask {
    pub(super) fn new(id: Arc<KeySetId>, kept: Arc<Kept>, shared: Arc<Shared>, progress: watch::Sender<Progress>) -> Self {
        Self { id, kept, shared, progress, kids: BTreeSet::new(), failures: 0, next: Instant::now() }
    }

    /// The same, with the keys that were had of the set before.
    pub(super) fn with_last_good(mut self, last_good: &LastGood) -> Self {
        self.kids = last_good.keys.keys.kids().map(Box::from).collect();
        *self.shared.failing() = last_good.failing_since;
        self
    }

    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let (number, began) = {
                let mut demand = self.shared.demand();
                (demand.begin(), Instant::now())
            };
            let wall_began = (self.kept.surroundings.wall_clock)();
            let news = match self.fetch().await {
                Ok(fresh) => self.succeed(fresh, began, wall_began),
                Err(failure) => {
                    self.fail(failure);
                    false
                }
            };
            self.shared.demand().end(news, Instant::now());
            self.progress.send_modify(|progress| {
                progress.finished = number;
                if news {
                    progress.news = number;
                }
            });
            self.rest().await;
        }
    }

    /// In a task of its own, so that a panic is one failed fetch and not keys that never change again.
    async fn fetch(&self) -> Result<FreshKeys, FetchFailure> {
        let mut fetch = JoinSet::new();
        fetch.spawn(self.kept.fetch.fetch_keys(Arc::clone(&self.id)));
        fetch.join_next().await.and_then(Result::ok).unwrap_or(Err(FetchFailure::Internal))
    }

    /// Publishes the keys. Those that are gone from the document are gone from the ring. Whether there is a key that was not there before.
    fn succeed(&mut self, fresh: FreshKeys, began: Instant, wall_began: std::time::SystemTime) -> bool {
        let FreshKeys { keys, rejected, max_age } = fresh;
        let kids: BTreeSet<Box<str>> = keys.kids().map(Box::from).collect();
        let (added, withdrawn) = (kids.difference(&self.kids).count(), self.kids.difference(&kids).count());
        if added + withdrawn > 0 || self.failures > 0 {
            tracing::info!(key_set = %self.shared.label, keys = kids.len(), added, withdrawn, rejected, "keys fetched");
        }
        let count = keys.len();
        let fetched = FetchedKeys { keys: Arc::new(keys), fetch_began: began.into_std() };
        self.kept.publish(&self.id, &self.shared, Some(fetched), |metrics| metrics.succeed(&self.shared.label, count, wall_began));
        self.kids = kids;
        self.failures = 0;
        *self.shared.failing() = None;
        self.next = Instant::now() + schedule::refresh_after(max_age, self.fraction());
        added > 0
    }

    /// Keeps the last good keys: an issuer that signs tokens never has no usable key, so an emptied set is a fault like any other.
    fn fail(&mut self, failure: FetchFailure) {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        self.shared.failing().get_or_insert(now);
        let wait = schedule::back_off(self.failures, self.fraction());
        self.next = now + wait;
        self.kept.count(&self.id, &self.shared, |metrics| metrics.fail(&self.shared.label, failure));
        tracing::warn!(
            key_set = %self.shared.label, result = failure.label(), failures = self.failures, kept = self.kids.len(), retry_seconds = wait.as_secs_f32(),
            "keys not fetched: {failure}"
        );
    }

    /// Waits until a fetch is due or asked for; meanwhile, drops keys that are too old.
    async fn rest(&mut self) {
        loop {
            let stale_at = self.shared.failing_since().filter(|_| !self.kids.is_empty()).map(|since| since + schedule::STALENESS_BOUND);
            tokio::select! {
                () = self.shared.asked.notified() => {
                    // What was asked for may have been served meanwhile.
                    if self.shared.demand().is_queued() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(self.next) => return,
                () = tokio::time::sleep_until(stale_at.unwrap_or_else(Instant::now)), if stale_at.is_some() => self.expire(),
            }
        }
    }

    fn expire(&mut self) {
        self.kids.clear();
        self.kept.publish(&self.id, &self.shared, None, |metrics| metrics.expire(&self.shared.label));
        tracing::error!(key_set = %self.shared.label, "keys dropped: no fetch has succeeded for {} h", as_hours(schedule::STALENESS_BOUND));
    }

    fn fraction(&self) -> f64 {
        (self.kept.surroundings.fraction)()
    }
}

const fn as_hours(duration: Duration) -> u64 {
    duration.as_secs() / 3600
}
