//! Seen tokens, in this process's memory: sharded maps, bounded as a whole, for each policy and for each namespace, purged a few entries at a
//! time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use ringfence_core::decide::{ReuseAnswer, ReuseClaim};

use crate::clock::TOLERATED_STEP;

/// A power of two, so that a shard is chosen by a mask.
const SHARDS: usize = 64;
/// Entries are forgotten by spans of so many seconds: a list for each second would cost more than what is in it.
const SPAN_SECONDS: i64 = 16;
/// Expired entries taken out by each commit: more than the one it may add, so that a shard never lags behind.
const PURGED_PER_COMMIT: usize = 4;
/// Quotas of policies that remember nothing any more are looked for from this number of quotas on.
const IDLE_QUOTAS: usize = 1_024;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries in all.
    pub total: usize,
    /// Entries of one policy.
    pub per_policy: u32,
    /// Entries of all policies of one namespace: less than all there are, so that no tenant alone can take the room of the others.
    pub per_namespace: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 1_000_000, per_policy: 64 * 1_024, per_namespace: 500_000 }
    }
}

/// Remembers claims in memory, about 90 bytes each.
pub struct MemoryStore {
    shards: Box<[Mutex<Shard>]>,
    quotas: RwLock<Quotas>,
    total: AtomicUsize,
    limits: Limits,
    request_ids: RandomState,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("entries", &self.len()).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Half of a claim's SHA-256: among a million entries, two are equal by chance once in 2^89 cases.
type Key = [u8; 16];

/// What policies have in the store, by their uids, and namespaces by their names.
#[derive(Debug)]
struct Quotas {
    policies: HashMap<Box<str>, Arc<Quota>, foldhash::fast::RandomState>,
    namespaces: HashMap<Box<str>, Arc<AtomicU32>, foldhash::fast::RandomState>,
    /// How many quotas there may be before those are looked for that remember nothing: so many that the search costs little for each.
    swept_at: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { policies: HashMap::default(), namespaces: HashMap::default(), swept_at: IDLE_QUOTAS }
    }
}

/// What one policy has in the store.
#[derive(Debug)]
struct Quota {
    used: AtomicU32,
    /// What all policies of its namespace have.
    of_namespace: Arc<AtomicU32>,
}

impl Quota {
    /// Takes room for one more entry, if there is any.
    fn reserve(&self, limits: &Limits) -> bool {
        if self.used.fetch_add(1, Ordering::Relaxed) >= limits.per_policy {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if self.of_namespace.fetch_add(1, Ordering::Relaxed) >= limits.per_namespace {
            self.release();
            return false;
        }
        true
    }

    fn release(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.of_namespace.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Entry {
    quota: Arc<Quota>,
    /// The hash of the proxy's request id; `None` where the wire has none.
    request_id: Option<std::num::NonZeroU64>,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Key, Entry, BuildHasherDefault<DigestHasher>>,
    /// Keys by the span of time after which they may be forgotten.
    expiries: BTreeMap<u32, Vec<Key>>,
}

/// Takes the first eight bytes of a digest as its hash: they are as random as any hash of them.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl MemoryStore {
    /// An empty store with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            quotas: RwLock::default(),
            total: AtomicUsize::new(0),
            limits,
            request_ids: RandomState::new(),
        }
    }

    /// How many claims are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Remembers `claim`, atomically, at the effective time `now_ms`.
    ///
    /// Answers `First` for a new claim and for the same claim under the same request id (a retried check), `Reused` for a known one, `Full`
    /// for a new one that there is no room for.
    #[must_use]
    pub fn commit(&self, claim: &ReuseClaim, now_ms: i64) -> ReuseAnswer {
        let Some(key) = claim.key.first_chunk::<16>().copied() else { return ReuseAnswer::Unknown };
        let request_id = claim.request_id.as_deref().and_then(|id| std::num::NonZeroU64::new(self.request_ids.hash_one(id)));
        let quota = self.quota(&claim.policy.uid, &claim.policy.namespace);
        let Some(shard) = self.shards.get(usize::from(claim.key[31]) & (SHARDS - 1)) else { return ReuseAnswer::Unknown };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.purge(&mut shard, now_ms);
        if let Some(known) = shard.entries.get(&key) {
            let retried = request_id.is_some() && known.request_id == request_id;
            return if retried { ReuseAnswer::First } else { ReuseAnswer::Reused };
        }
        if !self.reserve(&quota) {
            return ReuseAnswer::Full;
        }
        shard.expiries.entry(last_span(claim.expires_ms)).or_default().push(key);
        shard.entries.insert(key, Entry { quota, request_id });
        ReuseAnswer::First
    }

    /// Takes room for one more entry, if there is any.
    fn reserve(&self, quota: &Quota) -> bool {
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.limits.total {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if !quota.reserve(&self.limits) {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Takes a few entries out whose tokens have expired for good.
    fn purge(&self, shard: &mut Shard, now_ms: i64) {
        let now = span(now_ms);
        for _ in 0..PURGED_PER_COMMIT {
            let Some(mut oldest) = shard.expiries.first_entry().filter(|oldest| *oldest.key() < now) else { return };
            let Some(key) = oldest.get_mut().pop() else {
                oldest.remove();
                continue;
            };
            if let Some(entry) = shard.entries.remove(&key) {
                entry.quota.release();
                self.total.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The quota of the policy with this uid, in this namespace.
    fn quota(&self, uid: &str, namespace: &str) -> Arc<Quota> {
        if let Some(quota) = self.quotas.read().unwrap_or_else(PoisonError::into_inner).policies.get(uid) {
            return Arc::clone(quota);
        }
        let mut quotas = self.quotas.write().unwrap_or_else(PoisonError::into_inner);
        let Quotas { policies, namespaces, swept_at } = &mut *quotas;
        if policies.len() >= *swept_at {
            // A policy that is made anew has a new uid. Nobody else can take hold of a quota while this lock is held.
            policies.retain(|_, quota| Arc::strong_count(quota) > 1);
            namespaces.retain(|_, used| Arc::strong_count(used) > 1);
            *swept_at = (2 * policies.len()).max(IDLE_QUOTAS);
        }
        let of_namespace = namespaces.entry(namespace.into()).or_default();
        let quota = || Arc::new(Quota { used: AtomicU32::new(0), of_namespace: Arc::clone(of_namespace) });
        Arc::clone(policies.entry(uid.into()).or_insert_with(quota))
    }
}

/// The span after which an entry is forgotten: the effective time may still fall back by the tolerated step, and a token that has expired then
/// becomes good again.
fn last_span(expires_ms: i64) -> u32 {
    span(expires_ms.saturating_add(i64::try_from(TOLERATED_STEP.as_millis()).unwrap_or(i64::MAX)))
}

fn span(ms: i64) -> u32 {
    u32::try_from(ms.max(0) / (SPAN_SECONDS * 1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

    use ringfence_core::decide::{PolicyId, PolicyKind, ReuseMode, SharedId};

    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const MINUTE: i64 = 60_000;

    fn policy(name: &str) -> SharedId {
        PolicyId::new(PolicyKind::CallbackPolicy, "contoso", name, &format!("uid-{name}")).into()
    }

    /// A claim whose key is spread like a digest.
    fn claim(policy: &SharedId, number: u64, request_id: Option<&str>) -> ReuseClaim {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_le_bytes());
        ReuseClaim {
            key: digest.as_ref().try_into().unwrap(),
            expires_ms: NOW + 5 * MINUTE,
            policy: policy.clone(),
            mode: ReuseMode::Deny,
            request_id: request_id.map(Into::into),
        }
    }

    #[test]
    fn a_second_use_is_reuse() {
        let (store, policy) = (MemoryStore::default(), policy("a"));
        assert_eq!(store.commit(&claim(&policy, 1, None), NOW), ReuseAnswer::First);
        assert_eq!(store.commit(&claim(&policy, 1, None), NOW + MINUTE), ReuseAnswer::Reused);
        assert_eq!(store.commit(&claim(&policy, 2, None), NOW), ReuseAnswer::First);
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn the_same_request_id_is_a_retried_check() {
        let (store, policy) = (MemoryStore::default(), policy("a"));
        assert_eq!(store.commit(&claim(&policy, 1, Some("17")), NOW), ReuseAnswer::First);
        assert_eq!(store.commit(&claim(&policy, 1, Some("17")), NOW), ReuseAnswer::First);
        assert_eq!(store.commit(&claim(&policy, 1, Some("18")), NOW), ReuseAnswer::Reused);
        assert_eq!(store.commit(&claim(&policy, 1, None), NOW), ReuseAnswer::Reused);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn an_entry_outlives_its_token_by_the_tolerated_step() {
        let (store, policy) = (MemoryStore::default(), policy("a"));
        let first = claim(&policy, 1, None);
        assert_eq!(store.commit(&first, NOW), ReuseAnswer::First);
        assert_eq!(store.commit(&first, first.expires_ms + MINUTE), ReuseAnswer::Reused);
        assert_eq!(store.commit(&first, first.expires_ms + MINUTE + SPAN_SECONDS * 1_000), ReuseAnswer::First);
    }

    #[test]
    fn a_full_policy_leaves_room_for_the_others_and_forgets_nothing() {
        let store = MemoryStore::new(Limits { total: 10, per_policy: 3, per_namespace: 10 });
        let (greedy, modest) = (policy("greedy"), policy("modest"));
        for number in 0..3 {
            assert_eq!(store.commit(&claim(&greedy, number, None), NOW), ReuseAnswer::First);
        }
        assert_eq!(store.commit(&claim(&greedy, 3, None), NOW), ReuseAnswer::Full);
        assert_eq!(store.commit(&claim(&greedy, 0, None), NOW), ReuseAnswer::Reused);
        assert_eq!(store.commit(&claim(&modest, 4, None), NOW), ReuseAnswer::First);
        assert_eq!(store.len(), 4);
    }

    #[test]
    fn the_whole_is_bounded() {
        let store = MemoryStore::new(Limits { total: 2, per_policy: 10, per_namespace: 10 });
        for number in 0..2 {
            assert_eq!(store.commit(&claim(&policy(&number.to_string()), number, None), NOW), ReuseAnswer::First);
        }
        assert_eq!(store.commit(&claim(&policy("c"), 9, None), NOW), ReuseAnswer::Full);
        assert_eq!(store.len(), 2);
    }

    /// However many policies it has, made anew or not, and whatever lifetime its own issuer gives its tokens.
    #[test]
    fn one_namespace_leaves_the_others_room() {
        let store = MemoryStore::new(Limits { total: 10, per_policy: 2, per_namespace: 5 });
        let answers = (0..8).map(|number| store.commit(&claim(&policy(&number.to_string()), number, None), NOW));
        assert_eq!(answers.filter(|answer| *answer == ReuseAnswer::First).count(), 5);
        let other: SharedId = PolicyId::new(PolicyKind::CallbackPolicy, "fabrikam", "other", "uid-other").into();
        assert_eq!(store.commit(&claim(&other, 9, None), NOW), ReuseAnswer::First);
        // What it gives back it may use again.
        let later = NOW + 10 * MINUTE;
        let again = (20..1_020).map(|number| {
            let late = ReuseClaim { expires_ms: later + MINUTE, ..claim(&policy("anew"), number, None) };
            store.commit(&late, later)
        });
        assert_eq!(again.filter(|answer| *answer == ReuseAnswer::First).count(), 2);
    }

    #[test]
    fn expired_entries_make_room_a_few_at_a_time() {
        let store = MemoryStore::new(Limits { total: 1_000, per_policy: 1_000, per_namespace: 1_000 });
        let policy = policy("a");
        for number in 0..1_000 {
            assert_eq!(store.commit(&claim(&policy, number, None), NOW), ReuseAnswer::First);
        }
        assert_eq!(store.commit(&claim(&policy, 1_000, None), NOW), ReuseAnswer::Full);
        let later = NOW + 10 * MINUTE;
        for number in 2_000..3_000 {
            let late = ReuseClaim { expires_ms: later + MINUTE, ..claim(&policy, number, None) };
            assert_eq!(store.commit(&late, later), ReuseAnswer::First, "claim {number}");
        }
        assert!(store.len() <= 1_000, "{}", store.len());
    }

    #[test]
    fn one_of_many_at_once_is_first() {
        let (store, policy) = (MemoryStore::default(), policy("a"));
        let claims: Vec<_> = (0..500).map(|number| claim(&policy, number, None)).collect();
        let firsts = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let first = claims.iter().filter(|claim| store.commit(claim, NOW) == ReuseAnswer::First).count();
                    firsts.fetch_add(first, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(firsts.into_inner(), 500);
        assert_eq!(store.len(), 500);
    }

    #[test]
    fn idle_quotas_do_not_pile_up() {
        let store = MemoryStore::default();
        for number in 0..3_000 {
            let _ = store.quota(&format!("uid-{number}"), &format!("namespace-{number}"));
        }
        let quotas = store.quotas.read().unwrap();
        assert!(quotas.policies.len() <= IDLE_QUOTAS && quotas.namespaces.len() <= IDLE_QUOTAS + 1);
    }

    /// Each search looks at all of them: were there one at each new policy, a hundred thousand policies would cost minutes.
    #[test]
    fn quotas_in_use_are_searched_seldom() {
        let store = MemoryStore::default();
        let number_of = || store.quotas.read().unwrap().policies.len();
        let mut searches = Vec::new();
        let held: Vec<_> = (0..20_000)
            .map(|number| {
                let before = store.quotas.read().unwrap().swept_at;
                let quota = store.quota(&format!("uid-{number}"), "n");
                searches.extend(Some(number).filter(|_| store.quotas.read().unwrap().swept_at != before));
                quota
            })
            .collect();
        assert_eq!((number_of(), &*searches), (20_000, &[1_024, 2_048, 4_096, 8_192, 16_384][..]));
        drop(held);
        for number in 0..20_000 {
            let _ = store.quota(&format!("later-{number}"), "n");
        }
        assert!(number_of() <= 16_384, "{}", number_of());
    }
}
