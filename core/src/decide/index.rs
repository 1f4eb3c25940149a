//! Which policy speaks for a host and a path: exact host before the longest wildcard, then exact path before the longest prefix.
//!
//! Paths are looked up folded, since every match is a match of the folded path as well; the caller then learns whether the spelling mattered.

mod hosts;
mod paths;

use std::collections::HashSet;

use self::hosts::{Candidate, HostTable};
pub(super) use self::paths::{Coverage, coverage};
use super::{Floor, Grants, Map, Mode, Path, Policy, PolicyId, PolicyKind, SharedId, Unmatched};

/// Everything the live path looks up, immutable: built by `compile`, swapped as a whole.
#[derive(Debug, Default)]
pub struct PolicySet {
    parts: PolicySetParts,
    holders: HostTable,
    fallbacks: HostTable,
    /// By label: the number of a policy among the holders and, behind them, the pinnable ones.
    pins: Map<Box<str>, u32>,
    unreadable: Unreadable,
}

/// Which policies cannot be read, to be asked by any request.
#[derive(Debug, Default)]
struct Unreadable {
    labels: HashSet<Box<str>>,
    namespaces: HashSet<Box<str>>,
}

/// What a [`PolicySet`] is made of.
#[derive(Debug, Default)]
pub struct PolicySetParts {
    /// `CallbackPolicy`s that hold a match slot, valid or not. No two of them tie for a host and path (`compile` settles conflicts). One that
    /// lost some of its places is here once for each host that it has left, with the same id.
    pub holders: Vec<Policy>,
    /// `CallbackPolicy`s that lost a conflict, with all that they asked for: they may still be pinned.
    pub pinnable: Vec<Policy>,
    /// `ClusterCallbackPolicy`s that apply where no `CallbackPolicy` matches.
    pub fallbacks: Vec<Policy>,
    /// `ClusterCallbackPolicy`s that always apply as well.
    pub floors: Vec<Floor>,
    /// Who may speak for which host; `None` = host ownership is off.
    pub grants: Option<Grants>,
    /// Policies whose `match` cannot be read, or not all of it. Under grants they claim the hosts granted to their namespace, without grants, or
    /// if they are cluster-scoped, every host.
    pub unreadable: Vec<SharedId>,
    /// What happens where no policy matches.
    pub unmatched: Unmatched,
    /// No policy was read yet: nothing can be decided.
    pub is_pending: bool,
    /// The hash of the configuration this was compiled from (low 48 bits are shown as a metric).
    pub config_hash: u64,
}

/// What a lookup by host and path found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Selection<'p> {
    /// This policy.
    Policy(&'p Policy),
    /// No policy.
    Nothing,
    /// One policy for the path as it came, another, or none, for another spelling of it.
    SpellingMatters,
}

/// Who claims a host: looked up once for each decision.
#[derive(Debug)]
pub(super) struct Claims<'p, 'r> {
    set: &'p PolicySet,
    host: &'r str,
    holders: hosts::Claims<'p, 'r>,
    fallbacks: hosts::Claims<'p, 'r>,
}

impl PolicySet {
    /// Indexes `parts`.
    #[must_use]
    pub fn new(mut parts: PolicySetParts) -> Self {
        SharedId::unite(parts.holders.iter_mut().chain(&mut parts.pinnable).chain(&mut parts.fallbacks).map(|policy| &mut policy.id));
        // Of a policy that is in both, the whole one counts.
        let pins = parts.holders.iter().chain(&parts.pinnable).zip(0..).map(|(policy, number)| (policy.id.label.clone(), number)).collect();
        let unreadable = Unreadable {
            labels: parts.unreadable.iter().map(|id| id.label.clone()).collect(),
            namespaces: parts.unreadable.iter().map(|id| id.namespace.clone()).collect(),
        };
        Self { holders: HostTable::new(&parts.holders), fallbacks: HostTable::new(&parts.fallbacks), pins, unreadable, parts }
    }

    /// What it was made of. The ids of policies are shared among them.
    #[must_use]
    pub fn parts(&self) -> &PolicySetParts {
        &self.parts
    }

    /// The policy with this id, if it holds a match slot, may be pinned or is a Fallback.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        match id.kind {
            PolicyKind::CallbackPolicy => self.pinned(&id.label),
            PolicyKind::ClusterCallbackPolicy => self.parts.fallbacks.iter().find(|policy| policy.id.label == id.label),
        }
    }

    /// The policy that an operator's pin `namespace/name` names, if it exists.
    pub(super) fn pinned(&self, pin: &str) -> Option<&Policy> {
        let PolicySetParts { holders, pinnable, .. } = &self.parts;
        let number = *self.pins.get(pin)? as usize;
        holders.get(number).or_else(|| pinnable.get(number.checked_sub(holders.len())?))
    }

    /// Whether `policy` may speak for `host`: cluster-scoped ones always, others if the most specific grant says so.
    pub(super) fn permits(&self, policy: &Policy, host: &str) -> bool {
        match &self.parts.grants {
            Some(grants) if !policy.id.namespace.is_empty() => grants.permits(host, &policy.id.namespace),
            Some(_) | None => true,
        }
    }

    /// Who claims `host`.
    pub(super) fn claims<'p, 'r>(&'p self, host: &'r str) -> Claims<'p, 'r> {
        let PolicySetParts { holders, fallbacks, .. } = &self.parts;
        Claims { set: self, host, holders: self.holders.claims(holders, host), fallbacks: self.fallbacks.claims(fallbacks, host) }
    }

    /// Whether a policy that cannot be read, or one that a grant which cannot be read permits, may be one for `host`.
    pub(super) fn unreadable_claims(&self, host: &str) -> bool {
        let Unreadable { namespaces, .. } = &self.unreadable;
        match &self.parts.grants {
            // A cluster-scoped one needs no grant.
            Some(grants) => namespaces.contains("") || grants.may_permit(host, namespaces),
            None => !namespaces.is_empty(),
        }
    }

    /// Whether the policy with this label cannot be read, or not all of its `match`.
    pub(super) fn is_unreadable(&self, label: &str) -> bool {
        self.unreadable.labels.contains(label)
    }

    /// The floors that cover `host`, whatever their paths.
    pub(super) fn floors<'p>(&'p self, host: &str) -> impl Iterator<Item = &'p Floor> {
        self.parts.floors.iter().filter(move |floor| floor.matches.hosts.iter().any(|pattern| pattern.matches(host)))
    }
}

impl<'p> Claims<'p, '_> {
    /// The most specific policy for `path`, a Fallback only where no `CallbackPolicy` matches.
    pub(super) fn select(&self, path: &Path<'_>) -> Selection<'p> {
        let mut folded: Option<&'p Policy> = None;
        let candidates = self.holders.candidates(path.folded()).chain(self.fallbacks.candidates(path.folded()));
        for Candidate { policy, pattern } in candidates.filter(|candidate| self.set.permits(candidate.policy, self.host)) {
            let first = *folded.get_or_insert(policy);
            if pattern.is_none_or(|pattern| pattern.covers(path, policy.matches.ignore_path_case)) {
                // Pieces of one policy, which lost a place of it, have one id.
                let is_same = std::ptr::eq(first, policy) || first.id == policy.id;
                return if is_same { Selection::Policy(first) } else { Selection::SpellingMatters };
            }
        }
        if folded.is_some() { Selection::SpellingMatters } else { Selection::Nothing }
    }

    /// Every policy that claims the host, some of them more than once.
    pub(super) fn policies(&self) -> impl Iterator<Item = &'p Policy> {
        self.holders.policies().chain(self.fallbacks.policies()).filter(|policy| self.set.permits(policy, self.host))
    }

    /// Whether every policy that claims the host is in Shadow, and there is one.
    pub(super) fn is_shadowed(&self) -> bool {
        let mut policies = self.policies().peekable();
        policies.peek().is_some() && policies.all(|policy| policy.mode == Mode::Shadow) && !self.set.unreadable_claims(self.host)
    }
}

#[cfg(test)]
mod tests;
