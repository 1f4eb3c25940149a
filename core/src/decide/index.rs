//! Which policy speaks for a host and a path: exact host before the longest wildcard, then exact path before the longest prefix.
//!
//! Paths are looked up folded, since every match is a match of the folded path as well; the caller then learns whether the spelling mattered.

use std::{collections::HashSet, hash::Hash, hint::black_box, sync::Arc};

use super::{
    Few, Floor, Grants, HostPattern, Map, Mode, Path, PathPattern, Policy, PolicyId, PolicyKind, Rules, Sender, Unmatched, grants::suffixes,
};

/// Everything the live path looks up, immutable: built by `compile`, swapped as a whole.
#[derive(Debug, Default)]
pub struct PolicySet {
    parts: PolicySetParts,
    holders: HostTable,
    fallbacks: HostTable,
    pins: Map<Box<str>, Arc<Policy>>,
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
    pub holders: Vec<Arc<Policy>>,
    /// `CallbackPolicy`s that lost a conflict, with all that they asked for: they may still be pinned.
    pub pinnable: Vec<Arc<Policy>>,
    /// `ClusterCallbackPolicy`s that apply where no `CallbackPolicy` matches.
    pub fallbacks: Vec<Arc<Policy>>,
    /// `ClusterCallbackPolicy`s that always apply as well.
    pub floors: Vec<Floor>,
    /// Who may speak for which host; `None` = host ownership is off.
    pub grants: Option<Grants>,
    /// Policies whose `match` cannot be read, or not all of it. Under grants they claim the hosts granted to their namespace, without grants, or
    /// if they are cluster-scoped, every host.
    pub unreadable: Vec<Arc<PolicyId>>,
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
    Policy(&'p Arc<Policy>),
    /// No policy.
    Nothing,
    /// One policy for the path as it came, another, or none, for another spelling of it.
    SpellingMatters,
}

impl PolicySet {
    /// Indexes `parts`.
    #[must_use]
    pub fn new(parts: PolicySetParts) -> Self {
        // Of a policy that is in both, the whole one counts.
        let pins = parts.holders.iter().chain(&parts.pinnable).map(|policy| (policy.id.label.clone(), Arc::clone(policy))).collect();
        let unreadable = Unreadable {
            labels: parts.unreadable.iter().map(|id| id.label.clone()).collect(),
            namespaces: parts.unreadable.iter().map(|id| id.namespace.clone()).collect(),
        };
        Self { holders: HostTable::new(&parts.holders), fallbacks: HostTable::new(&parts.fallbacks), pins, unreadable, parts }
    }

    /// What it was made of.
    #[must_use]
    pub fn parts(&self) -> &PolicySetParts {
        &self.parts
    }

    /// The policy with this id, if it holds a match slot, may be pinned or is a Fallback.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        match id.kind {
            PolicyKind::CallbackPolicy => self.pins.get(&id.label),
            PolicyKind::ClusterCallbackPolicy => self.parts.fallbacks.iter().find(|policy| policy.id.label == id.label),
        }
    }

    /// The policy that an operator's pin `namespace/name` names, if it exists.
    pub(super) fn pinned(&self, pin: &str) -> Option<&Arc<Policy>> {
        self.pins.get(pin)
    }

    /// Whether `policy` may speak for `host`: cluster-scoped ones always, others if the most specific grant says so.
    pub(super) fn permits(&self, policy: &Policy, host: &str) -> bool {
        match &self.parts.grants {
            Some(grants) if !policy.id.namespace.is_empty() => grants.permits(host, &policy.id.namespace),
            Some(_) | None => true,
        }
    }

    /// The most specific policy for `host` and `path`, a Fallback only where no `CallbackPolicy` matches.
    pub(super) fn select<'p>(&'p self, host: &str, path: &Path<'_>) -> Selection<'p> {
        let mut folded = None;
        for candidate in self.candidates(host, path) {
            candidate.fetch();
            let first = *folded.get_or_insert(&candidate.policy);
            if candidate.pattern.covers(path, candidate.policy.matches.ignore_path_case) {
                let is_same = Arc::ptr_eq(&first.id, &candidate.policy.id);
                return if is_same { Selection::Policy(first) } else { Selection::SpellingMatters };
            }
        }
        if folded.is_some() { Selection::SpellingMatters } else { Selection::Nothing }
    }

    /// Every policy that matches `host` and the folded `path` and may speak for the host, most specific first.
    fn candidates<'p, 'r>(&'p self, host: &'r str, path: &'r Path<'r>) -> impl Iterator<Item = &'p Entry> {
        [&self.holders, &self.fallbacks]
            .into_iter()
            .flat_map(move |table| table.tables(host))
            .flat_map(move |table| table.matching(path.folded()))
            .filter(move |entry| self.permits(&entry.policy, host))
    }

    /// Every policy that claims `host`, some of them more than once.
    pub(super) fn claimants<'p>(&'p self, host: &str) -> impl Iterator<Item = &'p Arc<Policy>> {
        [&self.holders, &self.fallbacks]
            .into_iter()
            .flat_map(move |table| table.tables(host))
            .flat_map(|table| table.0.iter().map(|entry| &entry.policy))
            .filter(move |policy| self.permits(policy, host))
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

    /// Whether every policy that claims `host` is in Shadow, and there is one.
    pub(super) fn is_shadowed(&self, host: &str) -> bool {
        let mut claimants = self.claimants(host).peekable();
        claimants.peek().is_some() && claimants.all(|policy| policy.mode == Mode::Shadow) && !self.unreadable_claims(host)
    }

    /// The floors that cover `host`, whatever their paths.
    pub(super) fn floors<'p>(&'p self, host: &str) -> impl Iterator<Item = &'p Floor> {
        self.parts.floors.iter().filter(move |floor| floor.matches.hosts.iter().any(|pattern| pattern.matches(host)))
    }
}

/// The policies of one scope by host.
#[derive(Debug, Default)]
struct HostTable {
    /// Exact hosts with names of usual length.
    short: Map<ShortName, PathTable>,
    /// Exact hosts with longer ones.
    long: Map<Box<str>, PathTable>,
    suffix: Map<Box<str>, PathTable>,
    any: PathTable,
}

/// A host's name and its length. As a key it lies within the table, where looking for it ends, and is compared as a whole.
type ShortName = [u8; 56];

/// `None` for a name that is too long.
fn short_name(host: &str) -> Option<ShortName> {
    let mut name = [0; 56];
    let (length, text) = name.split_last_mut()?;
    text.get_mut(..host.len())?.copy_from_slice(host.as_bytes());
    *length = u8::try_from(host.len()).ok()?;
    Some(name)
}

impl HostTable {
    fn new(policies: &[Arc<Policy>]) -> Self {
        let (mut short, mut long, mut suffix) = (Map::default(), Map::default(), Map::default());
        let mut any = Vec::new();
        for policy in policies {
            for host in &policy.matches.hosts {
                let paths: &mut Vec<Entry> = match host {
                    HostPattern::Exact(host) => match short_name(host) {
                        Some(name) => short.entry(name).or_default(),
                        None => long.entry(host.clone()).or_default(),
                    },
                    HostPattern::Suffix(suffix_of) => suffix.entry(suffix_of.clone()).or_default(),
                    HostPattern::Any => &mut any,
                };
                paths.extend(Entry::all_of(policy));
            }
        }
        Self { short: path_tables(short), long: path_tables(long), suffix: path_tables(suffix), any: PathTable::new(any) }
    }

    /// The path tables for `host`, the most specific first.
    fn tables<'p>(&'p self, host: &str) -> impl Iterator<Item = &'p PathTable> {
        let exact = match short_name(host) {
            Some(name) => self.short.get(&name),
            None => self.long.get(host),
        };
        let wildcards = (!self.suffix.is_empty()).then(|| suffixes(host).filter_map(|suffix| self.suffix.get(suffix)));
        exact.into_iter().chain(wildcards.into_iter().flatten()).chain((!self.any.0.is_empty()).then_some(&self.any))
    }
}

fn path_tables<H: Eq + Hash>(hosts: Map<H, Vec<Entry>>) -> Map<H, PathTable> {
    hosts.into_iter().map(|(host, paths)| (host, PathTable::new(paths))).collect()
}

/// The paths of one host: exact ones first, then prefixes from the longest to the shortest, each group in folded order.
#[derive(Debug, Default)]
struct PathTable(Few<Entry>);

#[derive(Debug)]
struct Entry {
    pattern: PathPattern,
    policy: Arc<Policy>,
    /// The policy's own. Known here, it can be fetched while the policy is.
    id: Arc<PolicyId>,
}

impl Entry {
    /// Asks for all memory at once that a decision about this entry will read, and where it counts who holds the id. Among many policies
    /// none of it is in a cache, and to wait for all of it together takes as long as to wait for one line.
    fn fetch(&self) {
        black_box((Arc::strong_count(&self.id), self.policy.mode));
        let Rules::Senders { senders, .. } = &self.policy.rules else { return };
        let Some(Sender { name, checks: Ok(checks), .. }) = senders.first() else { return };
        let key = checks.api_key.as_ref().map(|rule| rule.strip);
        let token = checks.token.as_ref().map(|rule| (rule.reuse_scope, rule.clock_skew_ms, rule.require_issued_at, rule.audiences.len()));
        black_box((name.len(), key, token));
    }

    /// One for each of the policy's paths.
    fn all_of(policy: &Arc<Policy>) -> impl Iterator<Item = Self> {
        let every_path = policy.matches.paths.is_empty().then(|| PathPattern::prefix("/"));
        let entry = |pattern| Self { pattern, policy: Arc::clone(policy), id: Arc::clone(&policy.id) };
        policy.matches.paths.iter().cloned().chain(every_path).map(entry)
    }

    /// The order in which entries are kept: the most specific first.
    fn rank(&self) -> (bool, std::cmp::Reverse<usize>, &str) {
        match &self.pattern {
            PathPattern::Exact { folded, .. } => (false, std::cmp::Reverse(0), folded),
            PathPattern::Prefix { folded, .. } => (true, std::cmp::Reverse(folded.len()), folded),
        }
    }
}

impl PathTable {
    fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Self(entries.into())
    }

    /// The entries that match `path`, itself folded, the most specific first. A handful is walked through; of many, each length of prefix
    /// costs one binary search, so that the cost depends on the configuration and not on the request.
    fn matching<'p>(&'p self, path: &str) -> impl Iterator<Item = &'p Entry> {
        const FEW: usize = 8;
        let few = (self.0.len() <= FEW).then(|| self.0.iter().filter(move |entry| entry.pattern.covers_folded(path)));
        let many = (self.0.len() > FEW).then(|| Search { rest: &self.0, path }.flatten());
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

/// Walks a large path table group by group, where a group is all exact paths or all prefixes of one length.
struct Search<'p, 'r> {
    rest: &'p [Entry],
    path: &'r str,
}

impl<'p> Iterator for Search<'p, '_> {
    /// The entries of one group that match.
    type Item = &'p [Entry];

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.rest.first()?;
        let group_key = |entry: &Entry| (entry.rank().0, entry.rank().1);
        let end = self.rest.partition_point(|entry| group_key(entry) <= group_key(first));
        let (group, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        let wanted = match &first.pattern {
            PathPattern::Exact { .. } => Some(self.path),
            PathPattern::Prefix { folded, .. } => self.path.get(..folded.len()),
        };
        let Some(wanted) = wanted else { return Some(&[]) };
        let from = group.partition_point(|entry| entry.rank().2 < wanted);
        let to = group.partition_point(|entry| entry.rank().2 <= wanted);
        let found = group.get(from..to).unwrap_or_default();
        let whole_segment = found.first().is_some_and(|entry| entry.pattern.covers_folded(self.path));
        Some(if whole_segment { found } else { &[] })
    }
}

impl HostPattern {
    /// Whether `host`, normalised, is covered.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *host,
            Self::Suffix(suffix) => host.strip_suffix(suffix.as_ref()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Self::Any => true,
        }
    }
}

impl PathPattern {
    /// Whether `path` is covered as it came, or, with `ignore_case`, but for the case of its letters.
    #[must_use]
    pub fn covers(&self, path: &Path<'_>, ignore_case: bool) -> bool {
        let same = |ours: &str, given: &str| if ignore_case { ours.eq_ignore_ascii_case(given) } else { ours == given };
        let text = path.as_str();
        match self {
            Self::Exact { path: exact, .. } => same(exact, text),
            Self::Prefix { path: prefix, .. } => {
                text.split_at_checked(prefix.len()).is_some_and(|(start, rest)| same(prefix, start) && is_segment_end(rest))
            }
        }
    }

    /// Whether `path`, itself folded, is covered whatever its spelling.
    fn covers_folded(&self, path: &str) -> bool {
        match self {
            Self::Exact { folded, .. } => **folded == *path,
            Self::Prefix { folded, .. } => path.strip_prefix(&**folded).is_some_and(is_segment_end),
        }
    }
}

/// Whether a segment ends before `rest`.
fn is_segment_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// How a list of patterns covers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// It does.
    Covered,
    /// It does not, whatever the spelling.
    Outside,
    /// It would in another spelling.
    SpellingMatters,
}

/// How `patterns` (none = every path) cover `path`, for an upstream that ignores case or does not.
pub(super) fn coverage(patterns: &[PathPattern], path: &Path<'_>, ignore_case: bool) -> Coverage {
    if patterns.is_empty() || patterns.iter().any(|pattern| pattern.covers(path, ignore_case)) {
        Coverage::Covered
    } else if patterns.iter().any(|pattern| pattern.covers_folded(path.folded())) {
        Coverage::SpellingMatters
    } else {
        Coverage::Outside
    }
}

#[cfg(test)]
mod tests;
