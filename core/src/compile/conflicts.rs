//! No two policies may hold the same place: of those that tie for a host and path, the senior one keeps all its places, the others none.

use std::{collections::HashMap, sync::Arc};

use crate::decide::{HostPattern, Match, PathPattern, PolicyId};

use super::policies::Draft;

/// A place: a host and a path, folded; the flag says whether it is an exact path.
type Place = (HostPattern, bool, Arc<str>);

/// Drafts after conflicts are settled, each list by seniority.
#[derive(Debug)]
pub(super) struct Settled<'o> {
    /// They hold their places. Some have none.
    pub(super) holders: Vec<Draft<'o>>,
    /// They lost them.
    pub(super) losers: Vec<Draft<'o>>,
}

/// Settles who holds which place.
pub(super) fn settle(mut drafts: Vec<Draft<'_>>) -> Settled<'_> {
    drafts.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
    let mut places: HashMap<Place, Arc<PolicyId>> = HashMap::new();
    let (mut holders, mut losers) = (Vec::with_capacity(drafts.len()), Vec::new());
    for mut draft in drafts {
        let wanted: Vec<Place> = places_of(&draft.policy.matches).collect();
        let taken = wanted.iter().find_map(|place| places.get(place).map(|winner| (Arc::clone(winner), describe(place))));
        match taken {
            Some((winner, over)) => {
                draft.lose(&winner, &over);
                losers.push(draft);
            }
            None => {
                places.extend(wanted.into_iter().map(|place| (place, Arc::clone(&draft.policy.id))));
                holders.push(draft);
            }
        }
    }
    Settled { holders, losers }
}

fn places_of(matches: &Match) -> impl Iterator<Item = Place> {
    let every_path = matches.paths.is_empty().then(|| PathPattern::prefix("/"));
    let paths: Vec<PathPattern> = matches.paths.iter().cloned().chain(every_path).collect();
    matches.hosts.iter().flat_map(move |host| {
        let place = |path: &PathPattern| match path {
            PathPattern::Exact { folded, .. } => (host.clone(), true, Arc::clone(folded)),
            PathPattern::Prefix { folded, .. } => (host.clone(), false, Arc::clone(folded)),
        };
        paths.iter().map(place).collect::<Vec<_>>()
    })
}

fn describe((host, is_exact, path): &Place) -> String {
    let host = match host {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
        HostPattern::Any => "*".to_owned(),
    };
    match (is_exact, &**path) {
        (true, "") => format!("the path `/` of `{host}`"),
        (true, path) => format!("the path `{path}` of `{host}` (in any case)"),
        (false, "") => format!("every path of `{host}`"),
        (false, path) => format!("what is below `{path}` of `{host}` (in any case)"),
    }
}
