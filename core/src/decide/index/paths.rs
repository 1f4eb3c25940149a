//! Paths: how patterns cover one, and which entries of a host do.

use std::cmp::Reverse;

use super::super::{Path, PathPattern, Policy};

/// The paths of one host or wildcard that several of them, or several policies, share: exact ones first, then prefixes from the longest to
/// the shortest, each group in folded order.
#[derive(Debug, Default)]
pub(super) struct PathTable(Box<[Entry]>);

/// A path of a policy.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pattern: PathPattern,
    /// The policy's number in the list that the table was made of.
    pub(super) policy: u32,
}

impl Entry {
    /// One for each path of the policy with this number.
    pub(super) fn all_of(policy: &Policy, number: u32) -> impl Iterator<Item = Self> {
        let every_path = policy.matches.paths.is_empty().then(|| PathPattern::prefix("/"));
        policy.matches.paths.iter().cloned().chain(every_path).map(move |pattern| Self { pattern, policy: number })
    }

    /// The order in which entries are kept: the most specific first.
    fn rank(&self) -> (bool, Reverse<usize>, &str) {
        match &self.pattern {
            PathPattern::Exact { folded, .. } => (false, Reverse(0), folded),
            PathPattern::Prefix { folded, .. } => (true, Reverse(folded.len()), folded),
        }
    }
}

impl PathTable {
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Self(entries.into())
    }

    /// All of them.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entries that match `path`, itself folded, the most specific first. A handful is walked through; of many, each length of prefix
    /// costs one binary search, so that the cost depends on the configuration and not on the request.
    pub(super) fn matching<'p>(&'p self, path: &str) -> impl Iterator<Item = &'p Entry> {
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
    pub(super) fn covers_folded(&self, path: &str) -> bool {
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
pub(in super::super) enum Coverage {
    /// It does.
    Covered,
    /// It does not, whatever the spelling.
    Outside,
    /// It would in another spelling.
    SpellingMatters,
}

/// How `patterns` (none = every path) cover `path`, for an upstream that ignores case or does not.
pub(in super::super) fn coverage(patterns: &[PathPattern], path: &Path<'_>, ignore_case: bool) -> Coverage {
    if patterns.is_empty() || patterns.iter().any(|pattern| pattern.covers(path, ignore_case)) {
        Coverage::Covered
    } else if patterns.iter().any(|pattern| pattern.covers_folded(path.folded())) {
        Coverage::SpellingMatters
    } else {
        Coverage::Outside
    }
}
