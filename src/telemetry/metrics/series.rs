//! The series that are labelled by policy and sender.
//!
//! The hot path resolves no labels: a series is looked up by them once, and then found by the addresses of its policy and sender.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
    ptr,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use ringfence_core::decide::{AllowReason, Decision, PolicyId, PolicySet, Reason, Rules, Sender, SharedId, Verdict, Wire};

use super::{counters, gauges};

/// Policies that have labels of their own; the others share [`OTHER`].
const MOST_LABELLED: usize = 1_000;
/// The policy and sender label of everything beyond that bound.
const OTHER: &str = "_other";
/// A power of two, so that a shard is chosen by a mask.
const SHARDS: usize = 16;

/// The series of all policies.
#[derive(Debug)]
pub(super) struct Series {
    checks: IntCounterVec,
    last_allowed: IntGaugeVec,
    reused: IntCounterVec,
    mismatched: IntCounterVec,
    unremembered: IntCounterVec,
    /// The senders of each policy that has a label of its own.
    labelled: ArcSwap<HashMap<Box<str>, HashSet<Box<str>>>>,
    shards: [RwLock<Shard>; SHARDS],
    hasher: RandomState,
    /// Every series of `checks` that carries a policy's label, so that it can be removed with its policy.
    known: Mutex<HashSet<Known>>,
}

/// No stranger chooses a key: it is made of addresses and outcomes.
type Shard = HashMap<Key, Handle, RandomState>;

/// Which series: by address, which stays unique because the handle keeps its policy and sender alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    wire: Wire,
    outcome: Outcome,
    policy: Whose,
    sender: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Nobody,
    Policy(usize),
    Other,
}

/// What the `decision` and `reason` labels say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Allowed,
    Unmatched,
    Shadowed(Reason),
    Denied(Reason),
    Answered,
}

impl Outcome {
    fn of(verdict: &Verdict) -> Self {
        match &verdict.decision {
            Decision::Allow(allow) => match allow.reason {
                AllowReason::Allowed => Self::Allowed,
                AllowReason::Unmatched => Self::Unmatched,
                AllowReason::Shadowed(reason) => Self::Shadowed(reason),
            },
            Decision::Deny(reason) => Self::Denied(*reason),
            Decision::Answer(_) => Self::Answered,
        }
    }
}

#[derive(Clone, Debug)]
struct Handle {
    checks: IntCounter,
    /// For an allow by a sender.
    last_allowed: Option<IntGauge>,
    /// With those of all other policies of its set: a verdict of an old set that is counted late keeps them until the next reload.
    _policy: Option<SharedId>,
    _sender: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    policy: Box<str>,
    sender: Box<str>,
    wire: Wire,
    decision: &'static str,
    reason: &'static str,
}

impl Series {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            checks: counters(
                registry,
                "ringfence_checks_total",
                "Checks, by the listener that asked and what came of them.",
                &["listener", "policy", "sender", "decision", "reason"],
            )?,
            last_allowed: gauges(
                registry,
                "ringfence_sender_last_allowed_timestamp_seconds",
                "When a sender's request was last allowed, as Unix time.",
                &["policy", "sender"],
            )?,
            reused: counters(registry, "ringfence_token_reuse_total", "Requests with a token that was used before.", &["policy", "sender"])?,
            mismatched: counters(
                registry,
                "ringfence_source_mismatch_observed_total",
                "Requests that were allowed from outside their sender's ranges, under `onMismatch: Observe`.",
                &["policy", "sender"],
            )?,
            unremembered: counters(
                registry,
                "ringfence_token_reuse_unremembered_total",
                "Tokens that were not remembered, so that their reuse goes unseen: there was no room.",
                &["policy"],
            )?,
            labelled: ArcSwap::default(),
            shards: Default::default(),
            hasher: RandomState::default(),
            known: Mutex::default(),
        })
    }

    /// Counts one verdict.
    pub(super) fn count(&self, verdict: &Verdict, wire: Wire, wall_ms: i64) {
        let about = &verdict.about;
        let outcome = Outcome::of(verdict);
        let policy = about.policy.as_ref().map_or(Whose::Nobody, |policy| Whose::Policy(ptr::from_ref::<PolicyId>(policy).addr()));
        let sender = about.sender.as_ref().map(|sender| Arc::as_ptr(sender).cast::<u8>().addr());
        self.with(Key { wire, outcome, policy, sender }, verdict, |handle| {
            handle.checks.inc();
            if let Some(last_allowed) = &handle.last_allowed {
                last_allowed.set(wall_ms / 1_000);
            }
        });
        if about.token_reused || outcome == Outcome::Denied(Reason::TokenReused) || outcome == Outcome::Shadowed(Reason::TokenReused) {
            self.reused.with_label_values(&self.labels(verdict)).inc();
        }
        if about.source_mismatch {
            self.mismatched.with_label_values(&self.labels(verdict)).inc();
        }
    }

    /// Counts a token that was not remembered.
    pub(super) fn count_unremembered(&self, policy: &PolicyId) {
        self.unremembered.with_label_values(&[self.label(policy)]).inc();
    }

    /// Calls `act` with the handle of `key`, made from the verdict's labels if it is new.
    fn with(&self, key: Key, verdict: &Verdict, act: impl Fn(&Handle)) {
        if let Some(handle) = self.shard(key).read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return act(handle);
        }
        let labels = self.labels(verdict);
        if labels[0] == OTHER && key.policy != Whose::Other {
            // One handle for all of them, however many policies there are.
            return self.with(Key { policy: Whose::Other, sender: None, ..key }, verdict, act);
        }
        let handle = self.resolve(key, verdict, labels);
        act(&handle);
        self.shard(key).write().unwrap_or_else(PoisonError::into_inner).insert(key, handle);
    }

    fn resolve(&self, key: Key, verdict: &Verdict, labels: [&str; 2]) -> Handle {
        let [policy, sender] = labels;
        let (decision, reason) = (verdict.label(), verdict.reason_label());
        let is_a_sender_s = key.outcome == Outcome::Allowed && !sender.is_empty();
        if key.policy != Whose::Nobody && key.policy != Whose::Other {
            let known = Known { policy: policy.into(), sender: sender.into(), wire: key.wire, decision, reason };
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(known);
        }
        Handle {
            checks: self.checks.with_label_values(&[key.wire.label(), policy, sender, decision, reason]),
            last_allowed: is_a_sender_s.then(|| self.last_allowed.with_label_values(&labels)),
            _policy: verdict.about.policy.clone().filter(|_| key.policy != Whose::Other),
            _sender: verdict.about.sender.clone(),
        }
    }

    fn shard(&self, key: Key) -> &RwLock<Shard> {
        let [first, ..] = &self.shards;
        usize::try_from(self.hasher.hash_one(key) & (SHARDS as u64 - 1)).ok().and_then(|at| self.shards.get(at)).unwrap_or(first)
    }

    /// The policy and sender labels of a verdict; empty where it has none.
    fn labels<'v>(&self, verdict: &'v Verdict) -> [&'v str; 2] {
        let about = &verdict.about;
        match about.policy.as_ref().map(|policy| self.label(policy)) {
            None => ["", ""],
            Some(OTHER) => [OTHER, OTHER],
            Some(policy) => [policy, about.sender.as_deref().unwrap_or_default()],
        }
    }

    /// The label of one policy.
    pub(super) fn label<'p>(&self, policy: &'p PolicyId) -> &'p str {
        if self.labelled.load().contains_key(&policy.label) { &policy.label } else { OTHER }
    }

    /// Gives labels to policies, to one of each namespace after the other in the order of their names (the same on every replica), so that no
    /// namespace can take those of all others; and removes the series of those that are gone.
    pub(super) fn configured(&self, policies: &PolicySet) {
        let labelled = labelled(policies);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|series| {
            let stays = labelled.get(&series.policy).is_some_and(|senders| series.sender.is_empty() || senders.contains(&series.sender));
            if !stays {
                self.remove(series);
            }
            stays
        });
        drop(known);
        for gone in self.labelled.load().keys().filter(|policy| !labelled.contains_key(*policy)) {
            let _ = self.unremembered.remove_label_values(&[gone.as_ref()]);
        }
        self.labelled.store(Arc::new(labelled));
        for shard in &self.shards {
            shard.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// A series that was never counted is nothing to remove.
    fn remove(&self, series: &Known) {
        let Known { policy, sender, wire, decision, reason } = series;
        let _ = self.checks.remove_label_values(&[wire.label(), policy, sender, decision, reason]);
        let _ = self.last_allowed.remove_label_values(&[policy.as_ref(), sender.as_ref()]);
        let _ = self.reused.remove_label_values(&[policy.as_ref(), sender.as_ref()]);
        let _ = self.mismatched.remove_label_values(&[policy.as_ref(), sender.as_ref()]);
    }
}

/// The policies that get labels of their own, with their senders' names.
fn labelled(policies: &PolicySet) -> HashMap<Box<str>, HashSet<Box<str>>> {
    let parts = policies.parts();
    let with_senders = parts.holders.iter().chain(&parts.pinnable).chain(&parts.fallbacks).map(|policy| {
        let senders = match &policy.rules {
            Rules::Senders { senders, .. } => senders.as_ref(),
            Rules::Invalid { .. } => &[],
        };
        (&policy.id, senders)
    });
    let without = parts.floors.iter().map(|floor| &floor.id).chain(&parts.unreadable).map(|id| (id, &[][..]));
    let mut all: Vec<(&SharedId, &[Sender])> = with_senders.chain(without).collect();
    all.sort_by(|(a, _), (b, _)| a.label.cmp(&b.label));
    all.dedup_by(|(later, _), (earlier, _)| later.label == earlier.label);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut in_turn: Vec<_> =
        all.into_iter().map(|(id, senders)| (*counts.entry(&id.namespace).and_modify(|count| *count += 1).or_default(), id, senders)).collect();
    in_turn.sort_by_key(|(turn, ..)| *turn);
    let names = in_turn.into_iter().take(MOST_LABELLED);
    names.map(|(_, id, senders)| (id.label.clone(), senders.iter().map(|sender| Box::from(sender.name.as_ref())).collect())).collect()
}
