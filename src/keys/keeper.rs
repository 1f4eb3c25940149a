//! Which key sets are wanted, the ring of their keys, and waiting for a key that is not known yet.
//!
//! Must not know how keys are fetched, nor who asks.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use ringfence_core::decide::{FetchedKeys, KeyRing, KeySetId};
use tokio::{runtime::Handle, sync::watch, task::AbortHandle, time::Instant as TokioInstant};

use super::{
    FetchKeys, KeyMetrics,
    demand::Place,
    parked::{LastGood, Parked},
    task::{Progress, SetTask, Shared},
};

/// How long readiness waits for the first fetches.
const FIRST_ATTEMPT_BOUND: Duration = Duration::from_secs(10);

/// The wall clock and the randomness that a keeper uses. Waiting goes by the runtime's own clock.
#[derive(Clone)]
pub struct Surroundings {
    /// The wall clock, for the metric of the last success.
    pub wall_clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// A random fraction from 0 to 1, so that replicas do not fetch all at once.
    pub fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Surroundings {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self { wall_clock: Arc::new(SystemTime::now), fraction: Arc::new(random_fraction) }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness replicas fetch at the same time, which is no reason to stop.
    rand::fill(&mut bytes).map_or(0.5, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Keeps the wanted key sets fetched: one task each. Its tasks end with it.
pub struct KeyKeeper(Arc<Kept>);

/// What the keeper shares with its tasks.
pub(super) struct Kept {
    ring: ArcSwap<KeyRing>,
    sets: Mutex<HashMap<Arc<KeySetId>, Entry>>,
    parked: Mutex<Parked>,
    pub(super) fetch: Arc<dyn FetchKeys>,
    pub(super) metrics: KeyMetrics,
    pub(super) surroundings: Surroundings,
    runtime: Handle,
}

struct Entry {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

impl KeyKeeper {
    /// A keeper that wants nothing yet. Its tasks run on `runtime`, whichever one asks.
    #[must_use]
    pub fn new(fetch: Arc<dyn FetchKeys>, metrics: KeyMetrics, surroundings: Surroundings, runtime: Handle) -> Self {
        Self(Arc::new(Kept { ring: ArcSwap::default(), sets: Mutex::default(), parked: Mutex::default(), fetch, metrics, surroundings, runtime }))
    }

    /// From now on these key sets are kept, and no others: new ones are fetched at once, others leave the ring. Those in ConfigMaps are not
    /// fetched and not looked at. A set that is wanted again soon finds its last good keys, so that a mistake in a policy, put right again,
    /// costs nothing while its issuer cannot be reached.
    pub fn want(&self, wanted: &BTreeSet<Arc<KeySetId>>) {
        let mut sets = self.0.lock();
        let unwanted: Vec<_> = sets.keys().filter(|id| !wanted.contains(*id)).map(Arc::clone).collect();
        for id in unwanted {
            if let Some(entry) = sets.remove(&id) {
                entry.task.abort();
                self.park(&id, &entry);
            }
            self.0.ring.store(Arc::new(self.0.ring.load().with(&id, None)));
            // Two issuers' sets may name one URL, and share its label then.
            let label = id.to_string();
            if !sets.keys().any(|other| other.to_string() == label) {
                self.0.metrics.vanish(&label);
            }
        }
        for id in wanted.iter().filter(|id| !matches!(***id, KeySetId::ConfigMap { .. })) {
            sets.entry(Arc::clone(id)).or_insert_with(|| self.start(id));
        }
    }

    fn start(&self, id: &Arc<KeySetId>) -> Entry {
        let label = id.to_string();
        self.0.metrics.appear(&label);
        let shared = Arc::new(Shared::new(label));
        let (sender, progress) = watch::channel(Progress::default());
        let mut task = SetTask::new(Arc::clone(id), Arc::clone(&self.0), Arc::clone(&shared), sender);
        if let Some(last_good) = self.0.parked().take(id, TokioInstant::now()) {
            task = task.with_last_good(&last_good);
            self.0.metrics.restore(&shared.label, last_good.keys.keys.len());
            self.0.ring.store(Arc::new(self.0.ring.load().with(id, Some(last_good.keys))));
        }
        Entry { shared, progress, task: self.0.runtime.spawn(task.run()).abort_handle() }
    }

    /// Keeps aside what the ring holds of a set that is no longer wanted.
    fn park(&self, id: &Arc<KeySetId>, entry: &Entry) {
        if let Some(keys) = self.0.ring.load().get(id) {
            let last_good = LastGood { keys: keys.clone(), failing_since: entry.shared.failing_since() };
            self.0.parked().put(Arc::clone(id), last_good, TokioInstant::now());
        }
    }

    /// The keys as they are now.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        self.0.ring.load_full()
    }

    /// Asks for a fetch of `id` that begins after this call, and waits until it is finished, at the latest until `deadline`.
    ///
    /// All who ask share one fetch, and fetches are paid from a budget: where it is used up this returns sooner. It also returns as soon as a
    /// fetch that began before brings a key that was not there: the ring may hold what is wanted. What came of it is seen in [`Self::ring`].
    pub async fn refetch(&self, id: &KeySetId, deadline: Instant) {
        let Some((shared, mut progress)) = self.find(id) else { return };
        let seen = *progress.borrow();
        let place = shared.join();
        if !matches!(place, Place::Fetch(_)) {
            self.0.count(id, &shared, |metrics| metrics.suppress(&shared.label));
        }
        let number = match place {
            Place::Fetch(number) | Place::Running(number) => number,
            Place::None => return,
        };
        let _waiting = Waiting(shared);
        let finished = progress.wait_for(|progress| progress.finished >= number || progress.news > seen.news);
        // Late, or the set is no longer wanted: either way the ring says what there is.
        let _ = tokio::time::timeout_at(deadline.into(), finished).await;
    }

    /// Waits until every key set wanted now has been tried once, at most 10 s. What readiness waits for, and what a change of configuration
    /// may wait for before it takes effect.
    pub async fn first_attempted(&self) {
        let waiting: Vec<_> = self.0.lock().values().map(|entry| entry.progress.clone()).collect();
        let all = async {
            for mut progress in waiting {
                // An error says that the set is no longer wanted.
                let _ = progress.wait_for(|progress| progress.finished > 0).await;
            }
        };
        let _ = tokio::time::timeout(FIRST_ATTEMPT_BOUND, all).await;
    }

    fn find(&self, id: &KeySetId) -> Option<(Arc<Shared>, watch::Receiver<Progress>)> {
        self.0.lock().get(id).map(|entry| (Arc::clone(&entry.shared), entry.progress.clone()))
    }
}

impl fmt::Debug for KeyKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        for (_, entry) in self.0.lock().drain() {
            entry.task.abort();
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<KeySetId>, Entry>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `keys` into the ring and then counts, unless the task that asks is no longer the one that keeps `id`.
    pub(super) fn publish(&self, id: &Arc<KeySetId>, shared: &Arc<Shared>, keys: Option<FetchedKeys>, count: impl FnOnce(&KeyMetrics)) {
        let sets = self.lock();
        if sets.get(id).is_some_and(|entry| Arc::ptr_eq(&entry.shared, shared)) {
            self.ring.store(Arc::new(self.ring.load().with(id, keys)));
            count(&self.metrics);
        }
    }

    /// Counts, unless the task that asks is no longer the one that keeps `id`.
    pub(super) fn count(&self, id: &KeySetId, shared: &Arc<Shared>, count: impl FnOnce(&KeyMetrics)) {
        let sets = self.lock();
        if sets.get(id).is_some_and(|entry| Arc::ptr_eq(&entry.shared, shared)) {
            count(&self.metrics);
        }
    }
}

/// One who waits; gives the place back however the waiting ends.
struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests;
