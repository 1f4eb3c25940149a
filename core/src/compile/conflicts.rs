//! No two policies may hold the same place: of those that tie for a host and path, the senior one holds it. Whoever loses a place keeps its
//! others, else a policy could take from another what it has no claim to itself.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::decide::{HostPattern, Match, PathPattern, SharedId};

use super::policies::Draft;

/// A place: a host and a path, folded; the flag says whether it is an exact path.
type Place = (HostPattern, bool, Arc<str>);

/// Drafts after conflicts are settled, each list by seniority.
#[derive(Debug)]
pub(super) struct Settled<'o> {
    /// They hold their places. Some have none.
    pub(super) holders: Vec<Draft<'o>>,
    /// They lost some of them, and hold what these matches cover.
    pub(super) losers: Vec<(Draft<'o>, Vec<Match>)>,
}

/// Settles who holds which place.
pub(super) fn settle(mut drafts: Vec<Draft<'_>>) -> Settled<'_> {
    drafts.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
    let mut places: HashMap<Place, SharedId> = HashMap::new();
    let (mut holders, mut losers) = (Vec::with_capacity(drafts.len()), Vec::new());
    for mut draft in drafts {
        let wanted = places_of(&draft.policy.matches);
        let lost = wanted.iter().find_map(|(place, ..)| places.get(place).map(|winner| (winner.clone(), describe(place))));
        match lost {
            Some((winner, over)) => {
                let left: Vec<_> = wanted.into_iter().filter(|(place, ..)| !places.contains_key(place)).collect();
                let matches = matches_of(&left, draft.policy.matches.ignore_path_case);
                places.extend(left.into_iter().map(|(place, ..)| (place, draft.policy.id.clone())));
                draft.lose(&winner, &over, !matches.is_empty());
                losers.push((draft, matches));
            }
            None => {
                places.extend(wanted.into_iter().map(|(place, ..)| (place, draft.policy.id.clone())));
                holders.push(draft);
            }
        }
    }
    Settled { holders, losers }
}

/// Every place that `matches` covers, host by host, with what it was made of.
fn places_of(matches: &Match) -> Vec<(Place, &HostPattern, PathPattern)> {
    let every_path = matches.paths.is_empty().then(|| PathPattern::prefix("/"));
    let paths: Vec<PathPattern> = matches.paths.iter().cloned().chain(every_path).collect();
    let place = |host: &HostPattern, path: &PathPattern| match path {
        PathPattern::Exact { folded, .. } => (host.clone(), true, Arc::clone(folded)),
        PathPattern::Prefix { folded, .. } => (host.clone(), false, Arc::clone(folded)),
    };
    matches.hosts.iter().flat_map(|host| paths.iter().map(move |path| (place(host, path), host, path.clone()))).collect()
}

/// What covers these places and no others, in the order of [`places_of`].
fn matches_of(left: &[(Place, &HostPattern, PathPattern)], ignore_path_case: bool) -> Vec<Match> {
    let by_host = left.chunk_by(|(_, one, _), (_, other, _)| one == other);
    let to_match = |places: &[(Place, &HostPattern, PathPattern)]| Match {
        hosts: places.first().map(|(_, host, _)| (*host).clone()).into_iter().collect(),
        paths: places.iter().map(|(_, _, path)| path.clone()).collect(),
        ignore_path_case,
    };
    by_host.map(to_match).collect()
}

/// A place that both cover, if there is one: two policies with these matches would be in conflict.
#[must_use]
pub fn shared_place(one: &Match, other: &Match) -> Option<String> {
    let theirs: HashSet<Place> = places_of(other).into_iter().map(|(place, ..)| place).collect();
    places_of(one).iter().find(|(place, ..)| theirs.contains(place)).map(|(place, ..)| describe(place))
}

fn describe((host, is_exact, path): &Place) -> String {
    match (is_exact, &**path) {
        (true, "") => format!("the path `/` of `{host}`"),
        (true, path) => format!("the path `{path}` of `{host}` (in any case)"),
        (false, "") => format!("every path of `{host}`"),
        (false, path) => format!("what is below `{path}` of `{host}` (in any case)"),
    }
}
