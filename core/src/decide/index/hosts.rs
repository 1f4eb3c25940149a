//! Policies by host.

use std::{collections::HashMap, hash::BuildHasher, hint::black_box};

use foldhash::quality::RandomState;

use super::{
    super::{HostPattern, Map, PathPattern, Policy, Rules, Sender, grants::suffixes},
    paths::{Entry, PathTable},
};

/// Which policies of a list speak for which hosts. Knows them by their numbers in it: every method takes the list that it was made of.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    exact: ExactHosts,
    suffix: Map<Box<str>, PathTable>,
    any: PathTable,
}

/// Exact hosts: a hash table (open addressing, linear probing) of numbers so small that most of it is in a cache, and nothing else before the
/// policy itself. Among many policies none is in a cache; a name that lay elsewhere would be one more wait for memory.
#[derive(Debug, Default)]
struct ExactHosts {
    /// 0 = free. Else, in the low `number_bits`, one more than the number of a policy that has this host to itself, or of one of `crowded`
    /// behind them; above that a part of the host's hash.
    slots: Box<[u32]>,
    number_bits: u32,
    /// Hosts with several paths or policies, and those of a policy that has several.
    crowded: Box<[(Box<str>, PathTable)]>,
    hasher: RandomState,
}

/// What an exact host stands for.
#[derive(Clone, Copy, Debug)]
enum Exact<'p> {
    /// One policy with this host and no other, and one path at most.
    Alone(&'p Policy),
    Crowded(&'p PathTable),
}

/// A policy that claims a host, with one of its paths; `None` = it has every path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'p> {
    pub(super) policy: &'p Policy,
    pub(super) pattern: Option<&'p PathPattern>,
}

/// The policies of a list that claim one host.
#[derive(Debug)]
pub(super) struct Claims<'p, 'r> {
    table: &'p HostTable,
    policies: &'p [Policy],
    exact: Option<Exact<'p>>,
    host: &'r str,
}

impl HostTable {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let (mut exact, mut suffix) = (HashMap::<&str, Vec<Entry>, RandomState>::default(), Map::<Box<str>, Vec<Entry>>::default());
        let mut any = Vec::new();
        for (policy, number) in policies.iter().zip(0..) {
            for host in &policy.matches.hosts {
                let entries = match host {
                    HostPattern::Exact(host) => exact.entry(host.as_str()).or_default(),
                    HostPattern::Suffix(suffix_of) => suffix.entry(suffix_of.clone()).or_default(),
                    HostPattern::Any => &mut any,
                };
                entries.extend(Entry::all_of(policy, number));
            }
        }
        let suffix = suffix.into_iter().map(|(suffix, entries)| (suffix, PathTable::new(entries))).collect();
        Self { exact: ExactHosts::new(exact, policies), suffix, any: PathTable::new(any) }
    }

    /// Who of `policies` claims `host`.
    pub(super) fn claims<'p, 'r>(&'p self, policies: &'p [Policy], host: &'r str) -> Claims<'p, 'r> {
        Claims { table: self, policies, exact: self.exact.get(policies, host), host }
    }
}

impl ExactHosts {
    fn new(hosts: HashMap<&str, Vec<Entry>, RandomState>, policies: &[Policy]) -> Self {
        // Two of three are taken at most.
        let slots = vec![0; hosts.len() + hosts.len().div_ceil(2)].into();
        let number_bits = u32::BITS - u32::try_from(policies.len() + hosts.len()).unwrap_or(u32::MAX).leading_zeros();
        let mut table = Self { slots, number_bits, crowded: Box::default(), hasher: hosts.hasher().clone() };
        let mut crowded = Vec::new();
        for (host, entries) in hosts {
            let number = match &*entries {
                [Entry { policy, .. }] if policies.get(*policy as usize).is_some_and(has_one_place) => *policy as usize,
                _ => {
                    crowded.push((host.into(), PathTable::new(entries)));
                    policies.len() + crowded.len() - 1
                }
            };
            table.insert(host, number);
        }
        table.crowded = crowded.into();
        table
    }

    fn insert(&mut self, host: &str, number: usize) {
        let (home, part) = self.home(host);
        let count = self.slots.len();
        let free = (home..count).chain(0..home).find(|at| self.slots.get(*at) == Some(&0));
        // There is: `slots` is longer than there are hosts, of which there are fewer than a `u32` counts.
        if let (Some(slot), Ok(number)) = (free.and_then(|at| self.slots.get_mut(at)), u32::try_from(number + 1)) {
            *slot = part | number;
        } else {
            debug_assert!(false, "no place for {host}");
        }
    }

    /// Where the search for `host` begins, and the part of its hash that stands in its slot.
    fn home(&self, host: &str) -> (usize, u32) {
        let hash = self.hasher.hash_one(host);
        let home = (u128::from(hash) * self.slots.len() as u128) >> u64::BITS;
        #[allow(clippy::cast_possible_truncation, reason = "less than the number of slots; and of the hash any bits will do")]
        (home as usize, (hash as u32) & self.part_mask())
    }

    fn part_mask(&self) -> u32 {
        u32::MAX.checked_shl(self.number_bits).unwrap_or_default()
    }

    fn get<'p>(&'p self, policies: &'p [Policy], host: &str) -> Option<Exact<'p>> {
        if self.slots.is_empty() {
            return None;
        }
        let (home, part) = self.home(host);
        let (before, from) = self.slots.split_at_checked(home)?;
        for slot in from.iter().chain(before).take_while(|slot| **slot != 0) {
            if slot & self.part_mask() != part {
                continue;
            }
            let number = (slot & !self.part_mask()) as usize - 1;
            if let Some(policy) = policies.get(number) {
                fetch(policy);
                if matches!(&*policy.matches.hosts, [HostPattern::Exact(name)] if name.is(host)) {
                    return Some(Exact::Alone(policy));
                }
            } else if let Some((_, paths)) = self.crowded.get(number - policies.len()).filter(|(name, _)| **name == *host) {
                return Some(Exact::Crowded(paths));
            }
        }
        None
    }
}

/// Whether it has one host and not more than one path, which then lie within it.
fn has_one_place(policy: &Policy) -> bool {
    policy.matches.hosts.len() == 1 && policy.matches.paths.len() <= 1
}

/// Asks for all of a policy at once that a decision will read. Among many policies none of it is in a cache, and to wait for all of it
/// together takes as long as to wait for one line.
fn fetch(policy: &Policy) {
    black_box((policy.mode, policy.matches.ignore_path_case));
    let Rules::Senders { senders, .. } = &policy.rules else { return };
    let Some(Sender { name, checks: Ok(checks), .. }) = senders.first() else { return };
    let key = checks.api_key.as_ref().map(|rule| rule.strip);
    let token = checks.token.as_ref().map(|rule| (rule.reuse_scope, rule.clock_skew_ms, rule.require_issued_at, rule.audiences.len()));
    black_box((name.len(), key, token));
}

impl<'p> Claims<'p, '_> {
    /// Every policy that claims the host, some of them more than once.
    pub(super) fn policies(&self) -> impl Iterator<Item = &'p Policy> {
        let (alone, crowded) = self.exact();
        let entries = crowded.into_iter().chain(self.wildcards()).flat_map(PathTable::entries);
        alone.into_iter().chain(entries.filter_map(|entry| self.policies.get(entry.policy as usize)))
    }

    /// Those that match `path`, itself folded, the most specific first.
    pub(super) fn candidates(&self, path: &str) -> impl Iterator<Item = Candidate<'p>> {
        let (alone, crowded) = self.exact();
        let alone = alone.map(|policy| Candidate { policy, pattern: policy.matches.paths.first() });
        let entries = crowded.into_iter().chain(self.wildcards()).flat_map(move |table| table.matching(path));
        let others = entries.filter_map(|Entry { pattern, policy }| {
            let policy = self.policies.get(*policy as usize)?;
            fetch(policy);
            Some(Candidate { policy, pattern: Some(pattern) })
        });
        alone.into_iter().filter(move |alone| alone.pattern.is_none_or(|pattern| pattern.covers_folded(path))).chain(others)
    }

    fn exact(&self) -> (Option<&'p Policy>, Option<&'p PathTable>) {
        match self.exact {
            Some(Exact::Alone(policy)) => (Some(policy), None),
            Some(Exact::Crowded(paths)) => (None, Some(paths)),
            None => (None, None),
        }
    }

    /// The tables of wildcards that cover the host, the longest first.
    fn wildcards(&self) -> impl Iterator<Item = &'p PathTable> {
        let HostTable { suffix, any, .. } = self.table;
        let suffixes = (!suffix.is_empty()).then(|| suffixes(self.host).filter_map(|covering| suffix.get(covering)));
        suffixes.into_iter().flatten().chain((!any.entries().is_empty()).then_some(any))
    }
}

impl HostPattern {
    /// Whether `host`, normalised, is covered.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.is(host),
            Self::Suffix(suffix) => host.strip_suffix(suffix.as_ref()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::super::{Match, Mode, PathPattern, PolicyId, PolicyKind},
        *,
    };

    fn policies(hosts: usize, paths: &[&str]) -> Vec<Policy> {
        let policy = |number: usize| Policy {
            id: PolicyId::new(PolicyKind::CallbackPolicy, "n", &number.to_string(), "").into(),
            mode: Mode::Enforce,
            matches: Match {
                hosts: [HostPattern::Exact(format!("h{number}.example").into())].into(),
                paths: paths.iter().map(|path| PathPattern::prefix(path)).collect(),
                ignore_path_case: false,
            },
            rules: Rules::Invalid { problem: "".into(), forward: Arc::default() },
        };
        (0..hosts).map(policy).collect()
    }

    /// Slots that are looked at, and policies that are, until each of the hosts is found.
    fn effort(table: &ExactHosts, policies: &[Policy]) -> (usize, usize) {
        let (mut slots, mut looked_at) = (0, 0);
        for (host, number) in policies.iter().flat_map(|policy| &policy.matches.hosts).zip(1..) {
            let (home, part) = table.home(&host.to_string());
            for at in home..home + table.slots.len() {
                let slot = table.slots.get(at % table.slots.len()).copied().unwrap_or_default();
                slots += 1;
                looked_at += usize::from(slot & table.part_mask() == part);
                if slot & !table.part_mask() == number {
                    break;
                }
            }
        }
        (slots, looked_at)
    }

    /// In a table of which two thirds are taken, a search takes two steps on average (Knuth 6.4), and no policy is touched but the one.
    #[test]
    fn a_host_is_found_near_where_its_hash_says() {
        let policies = policies(4_000, &["/api"]);
        let table = HostTable::new(&policies).exact;
        assert_eq!((table.slots.len(), table.crowded.len()), (6_000, 0));
        let (slots, looked_at) = effort(&table, &policies);
        assert!((4_000..12_000).contains(&slots) && (4_000..4_010).contains(&looked_at), "{slots} {looked_at}");
    }

    #[test]
    fn a_policy_with_one_place_has_its_host_to_itself() {
        for (paths, crowded) in [(&[][..], 0), (&["/a"], 0), (&["/a", "/b"], 10)] {
            assert_eq!(HostTable::new(&policies(10, paths)).exact.crowded.len(), crowded, "{paths:?}");
        }
    }
}
