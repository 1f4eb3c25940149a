#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;

use super::{super::*, *};

fn policy(name: &str, namespace: &str, hosts: Vec<HostPattern>, paths: Vec<PathPattern>, ignore_path_case: bool) -> Policy {
    Policy {
        id: PolicyId::new(PolicyKind::CallbackPolicy, namespace, name, name).into(),
        mode: Mode::Enforce,
        matches: Match { hosts: hosts.into(), paths: paths.into(), ignore_path_case },
        rules: Rules::Invalid { problem: "".into(), forward: Arc::default() },
    }
}

fn select(set: &PolicySet, host: &str, path: &str) -> String {
    match set.claims(host).select(&Path::parse(path.as_bytes()).unwrap()) {
        Selection::Policy(policy) => policy.id.name.to_string(),
        Selection::Nothing => "nothing".into(),
        Selection::SpellingMatters => "case".into(),
    }
}

fn exact(host: &str) -> HostPattern {
    HostPattern::Exact(host.into())
}

fn suffix(host: &str) -> HostPattern {
    HostPattern::Suffix(host.into())
}

#[test]
fn the_most_specific_wins_by_host_then_by_path() {
    let set = PolicySet::new(PolicySetParts {
        holders: vec![
            policy("exact-host", "n", vec![exact("a.x.com")], vec![PathPattern::prefix("/api")], false),
            policy("near-wildcard", "n", vec![suffix("x.com")], vec![PathPattern::prefix("/"), PathPattern::exact("/media")], false),
            policy("far-wildcard", "n", vec![suffix("com")], vec![], false),
            policy("deep", "n", vec![suffix("x.com")], vec![PathPattern::prefix("/media/v1/"), PathPattern::exact("/api/v1")], false),
        ],
        fallbacks: vec![
            policy("fallback", "", vec![suffix("org"), suffix("com")], vec![], false),
            policy("any", "", vec![HostPattern::Any], vec![PathPattern::prefix("/any")], false),
        ],
        ..PolicySetParts::default()
    });
    for (host, path, expected) in [
        ("y.net", "/any", "any"),
        ("y.org", "/any", "fallback"),
        ("a.x.com", "/api", "exact-host"),
        ("a.x.com", "/api/v1", "exact-host"),
        ("a.x.com", "/apiary", "near-wildcard"),
        ("a.x.com", "/media", "near-wildcard"),
        ("a.x.com", "/media/v1", "deep"),
        ("a.x.com", "/media/v1/x", "deep"),
        ("a.x.com", "/media/v10", "near-wildcard"),
        ("b.x.com", "/api/v1", "deep"),
        ("b.a.x.com", "/", "near-wildcard"),
        ("x.com", "/", "far-wildcard"),
        ("y.com", "/", "far-wildcard"),
        ("com", "/", "nothing"),
        ("y.org", "/", "fallback"),
        ("y.net", "/", "nothing"),
    ] {
        assert_eq!(select(&set, host, path), expected, "{host}{path}");
    }
}

#[test]
fn a_wildcard_stands_for_whole_labels() {
    for (host, matches) in [
        ("a.x.com", true),
        ("b.a.x.com", true),
        ("x.com", false),
        (".x.com", false),
        ("evilx.com", false),
        ("evil-x.com", false),
        ("a.x.com.evil.org", false),
    ] {
        assert_eq!(suffix("x.com").matches(host), matches, "{host}");
        assert!(HostPattern::Any.matches(host) && exact(host).matches(host) && !exact(host).matches("other"), "{host}");
    }
}

#[test]
fn another_case_is_never_another_policy() {
    let set = PolicySet::new(PolicySetParts {
        holders: vec![
            policy("all", "n", vec![exact("a")], vec![PathPattern::prefix("/")], false),
            policy("api", "n", vec![exact("a")], vec![PathPattern::prefix("/api")], false),
            policy("net", "n", vec![exact("a")], vec![PathPattern::prefix("/Net")], true),
            policy("own", "n", vec![exact("b")], vec![PathPattern::prefix("/api"), PathPattern::prefix("/")], false),
            policy("alone", "n", vec![exact("c")], vec![PathPattern::exact("/api")], false),
            policy("ignoring", "n", vec![exact("d")], vec![PathPattern::prefix("/api")], true),
            policy("whole", "n", vec![exact("e")], vec![], false),
        ],
        ..PolicySetParts::default()
    });
    for (host, path, expected) in [
        ("a", "/api/x", "api"),
        ("a", "/API/x", "case"),
        ("a", "/x", "all"),
        ("a", "/X", "all"),
        ("a", "/Net/x", "net"),
        ("a", "/nET/x", "net"),
        ("b", "/API", "own"),
        ("c", "/api", "alone"),
        ("c", "/API", "case"),
        ("c", "/x", "nothing"),
        ("d", "/API", "ignoring"),
        ("e", "/API", "whole"),
    ] {
        assert_eq!(select(&set, host, path), expected, "{host}{path}");
    }
}

#[test]
fn a_wildcard_never_speaks_for_a_host_that_is_granted_to_another() {
    let mut grants = Grants::default();
    grants.add(&suffix("x.com"), "x");
    grants.add(&exact("a.x.com"), "y");
    grants.add(&suffix("deep.x.com"), "z");
    let set = PolicySet::new(PolicySetParts {
        holders: vec![
            policy("wild", "x", vec![suffix("x.com")], vec![], false),
            policy("taken", "x", vec![exact("a.x.com")], vec![], false),
            policy("own", "x", vec![exact("b.x.com")], vec![PathPattern::exact("/own")], false),
            policy("late", "z", vec![exact("deep.x.com")], vec![], false),
        ],
        fallbacks: vec![
            policy("fallback", "", vec![suffix("com")], vec![], false),
            policy("own-fallback", "", vec![exact("c.deep.x.com")], vec![], false),
        ],
        grants: Some(grants),
        ..PolicySetParts::default()
    });
    for (host, expected) in
        [("b.x.com", "wild"), ("a.x.com", "fallback"), ("c.deep.x.com", "own-fallback"), ("d.deep.x.com", "fallback"), ("deep.x.com", "wild")]
    {
        assert_eq!(select(&set, host, "/"), expected, "{host}");
    }
    assert_eq!(select(&set, "b.x.com", "/own"), "own");
    let grants = set.parts().grants.as_ref().unwrap();
    assert!(grants.permits_pattern(&suffix("x.com"), "x") && grants.permits_pattern(&suffix("deeper.x.com"), "x"));
    assert!(
        !grants.permits_pattern(&suffix("com"), "x")
            && !grants.permits_pattern(&suffix("a.deep.x.com"), "x")
            && !grants.permits_pattern(&HostPattern::Any, "x")
    );
}

/// The rules of product.md once more, written without any index.
fn select_naively(holders: &[Policy], host: &str, path: &str) -> Option<String> {
    let mut best: Option<((usize, usize, usize, usize), String)> = None;
    for policy in holders {
        for pattern in &policy.matches.hosts {
            if !pattern.matches(host) {
                continue;
            }
            let host_rank = match pattern {
                HostPattern::Exact(_) => (1, 0),
                HostPattern::Suffix(suffix) => (0, suffix.len()),
                HostPattern::Any => (0, 0),
            };
            for path_pattern in &policy.matches.paths {
                let path_rank = match path_pattern {
                    PathPattern::Exact { path: exact, .. } if **exact == *path => (1, 0),
                    PathPattern::Prefix { path: prefix, .. } if path == &**prefix || path.starts_with(&format!("{prefix}/")) => (0, prefix.len()),
                    PathPattern::Exact { .. } | PathPattern::Prefix { .. } => continue,
                };
                let rank = (host_rank.0, host_rank.1, path_rank.0, path_rank.1);
                if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                    best = Some((rank, policy.id.name.to_string()));
                }
            }
        }
    }
    best.map(|(_, name)| name)
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn host_name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
}

proptest! {
    #[test]
    fn agrees_with_the_rules_written_without_an_index(
        slots in proptest::collection::btree_set((host_name(), any::<bool>(), path(), any::<bool>()), 0..30),
        host in host_name(),
        path in path(),
    ) {
        let holders: Vec<_> = slots.iter().enumerate().map(|(number, (host, is_exact_host, path, is_exact_path))| {
            let host = if *is_exact_host { exact(host) } else { suffix(host) };
            let path = if *is_exact_path { PathPattern::exact(path) } else { PathPattern::prefix(path) };
            policy(&number.to_string(), "n", vec![host], vec![path], false)
        }).collect();
        let expected = select_naively(&holders, &host, &path).unwrap_or_else(|| "nothing".into());
        let set = PolicySet::new(PolicySetParts { holders, ..PolicySetParts::default() });
        prop_assert_eq!(select(&set, &host, &path), expected);
    }
}

/// Spellings of one path: a letter in both cases and encodings that upstreams undo.
fn spelling() -> impl Strategy<Value = String> {
    let segment = proptest::collection::vec(
        prop_oneof!["[abAB:,]", Just("%3A".to_owned()), Just("%3a".to_owned()), Just("%C5%BF".into()), Just("s".into())],
        1..3,
    );
    (proptest::collection::vec(segment, 1..3), any::<bool>()).prop_map(|(segments, slash)| {
        segments.iter().fold(String::new(), |path, segment| format!("{path}/{}", segment.concat())) + if slash { "/" } else { "" }
    })
}

proptest! {
    #[test]
    fn what_covers_a_path_covers_every_spelling_of_it(pattern in spelling(), below in spelling(), is_exact in any::<bool>(), ignore_case in any::<bool>()) {
        let (pattern, request) = if is_exact { (PathPattern::exact(&pattern), pattern) } else { (PathPattern::prefix(&pattern), pattern.trim_end_matches('/').to_owned() + &below) };
        let path = Path::parse(request.as_bytes()).unwrap();
        prop_assert!(pattern.covers(&path, ignore_case) && pattern.covers_folded(path.folded()));
    }

    #[test]
    fn a_spelling_that_an_upstream_may_undo_is_never_outside(pattern in spelling(), is_exact in any::<bool>()) {
        let undone = pattern.trim_end_matches('/').replace("%3A", ":").replace("%3a", ":").replace("%C5%BF", "s").to_ascii_uppercase();
        let one = [if is_exact { PathPattern::exact(&pattern) } else { PathPattern::prefix(&pattern) }];
        let path = Path::parse(undone.as_bytes()).unwrap();
        prop_assert_ne!(coverage(&one, &path, false), Coverage::Outside);
    }
}

/// Whether the labels of `pattern` are the last ones of `host`, with others before them or, if it is exact, none.
fn matches_naively(pattern: &HostPattern, host: &str) -> bool {
    let labels = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    match pattern {
        HostPattern::Exact(exact) => labels(exact.as_str()) == labels(host),
        HostPattern::Suffix(suffix) => labels(host).len() > labels(suffix).len() && labels(host).ends_with(&labels(suffix)),
        HostPattern::Any => true,
    }
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![host_name().prop_map(|name| exact(&name)), host_name().prop_map(|name| suffix(&name)), Just(HostPattern::Any)]
}

proptest! {
    #[test]
    fn hosts_match_by_whole_labels(pattern in host_pattern(), host in host_name()) {
        prop_assert_eq!(pattern.matches(&host), matches_naively(&pattern, &host));
    }

    /// The most specific grant that covers a host has the only say.
    #[test]
    fn grants_agree_with_the_rule_written_without_an_index(
        granted in proptest::collection::vec((host_pattern(), "[xyz]"), 0..8),
        host in host_name(),
        namespace in "[xyz]",
    ) {
        let mut grants = Grants::default();
        granted.iter().for_each(|(pattern, namespace)| grants.add(pattern, namespace));
        let rank = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(_) => usize::MAX,
            HostPattern::Suffix(suffix) => suffix.len(),
            HostPattern::Any => 0,
        };
        let covering = |pattern: &HostPattern| *pattern != HostPattern::Any && matches_naively(pattern, &host);
        let best = granted.iter().map(|(pattern, _)| pattern).filter(|pattern| covering(pattern)).map(rank).max();
        let expected = granted.iter().any(|(pattern, named)| covering(pattern) && Some(rank(pattern)) == best && *named == namespace);
        prop_assert_eq!(grants.permits(&host, &namespace), expected);
        prop_assert_eq!(grants.permits_pattern(&exact(&host), &namespace), expected);
        // Whatever is granted for all of a wildcard is granted for a host below it that no narrower grant covers.
        let below = format!("zz.{host}");
        if grants.permits_pattern(&suffix(&host), &namespace) {
            prop_assert!(grants.permits(&below, &namespace));
        }
    }

    /// Many paths of one host, of which the exact and the folded search find what walking through all of them finds.
    #[test]
    fn many_paths_agree_with_walking_through_them(
        slots in proptest::collection::btree_set((path(), any::<bool>()), 9..40),
        asked in path(),
        in_capitals in any::<bool>(),
    ) {
        let holders: Vec<_> = slots.iter().enumerate().map(|(number, (path, is_exact))| {
            let path = if *is_exact { PathPattern::exact(path) } else { PathPattern::prefix(path) };
            policy(&number.to_string(), "n", vec![exact("a")], vec![path], false)
        }).collect();
        let expected = select_naively(&holders, "a", &asked).unwrap_or_else(|| "nothing".into());
        let set = PolicySet::new(PolicySetParts { holders, ..PolicySetParts::default() });
        if in_capitals && asked.len() > 1 {
            let expected = if expected == "nothing" { "nothing" } else { "case" };
            // What covers `/` covers every spelling alike.
            let found = select(&set, "a", &asked.to_ascii_uppercase());
            prop_assert!(found == expected || slots.contains(&("/".to_owned(), false)), "{} {}", found, expected);
        } else {
            prop_assert_eq!(select(&set, "a", &asked), expected);
        }
    }

    /// How a sender's own paths cover a request's: as one of them does, or would but for the spelling.
    #[test]
    fn coverage_is_that_of_the_best_pattern(patterns in proptest::collection::vec((spelling(), any::<bool>()), 0..4), asked in spelling(), ignore_case in any::<bool>()) {
        let patterns: Vec<_> = patterns.iter().map(|(path, is_exact)| if *is_exact { PathPattern::exact(path) } else { PathPattern::prefix(path) }).collect();
        let asked = Path::parse(asked.as_bytes()).unwrap();
        let same = |one: &str, other: &str| if ignore_case { one.eq_ignore_ascii_case(other) } else { one == other };
        let covers = |pattern: &PathPattern| match pattern {
            PathPattern::Exact { path, .. } => same(path, asked.as_str()),
            PathPattern::Prefix { path, .. } => {
                let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
                let (ours, given) = (segments(path), segments(asked.as_str()));
                ours.len() <= given.len() && ours.iter().zip(&given).all(|(one, other)| same(one, other))
            }
        };
        let is_covered = patterns.is_empty() || patterns.iter().any(covers);
        prop_assert_eq!(coverage(&patterns, &asked, ignore_case) == Coverage::Covered, is_covered);
    }
}

#[test]
fn a_policy_is_found_by_its_id() {
    let fallback =
        Policy { id: PolicyId::new(PolicyKind::ClusterCallbackPolicy, "", "n", "f").into(), ..policy("n", "", vec![exact("c")], vec![], false) };
    let (holder, loser) = (policy("holder", "n", vec![exact("a")], vec![], false), policy("loser", "n", vec![exact("b")], vec![], false));
    let parts = PolicySetParts {
        // A piece of the other is there as well: the whole one counts.
        holders: vec![holder.clone(), policy("loser", "n", vec![exact("d")], vec![], false)],
        pinnable: vec![loser.clone()],
        fallbacks: vec![policy("other", "", vec![], vec![], false), fallback.clone()],
        config_hash: 7,
        ..PolicySetParts::default()
    };
    let set = PolicySet::new(parts);
    for known in [&holder, &loser, &fallback] {
        assert!(set.policy(&known.id).is_some_and(|found| found.id == known.id && found.matches.hosts == known.matches.hosts), "{}", known.id);
    }
    assert!(set.policy(&PolicyId::new(PolicyKind::CallbackPolicy, "n", "nobody", "x")).is_none());
    assert!(set.pinned("n/loser").is_some() && set.pinned("n").is_none() && set.pinned("loser").is_none());
    assert_eq!(set.parts().config_hash, 7);
}

/// A name longer than what lies within the table is found as well; told apart by its last letter, and from one that was filled up.
#[test]
fn hosts_of_any_length_are_found() {
    for length in [1, 53, 54, 55, 56, 63] {
        let (name, other) = ("a".repeat(length), format!("{}b", "a".repeat(length - 1)));
        let set = PolicySet::new(PolicySetParts { holders: vec![policy("p", "n", vec![exact(&name)], vec![], false)], ..PolicySetParts::default() });
        let filled = format!("{name}\0");
        let found = [&name, &other, &filled].map(|host| select(&set, host, "/"));
        assert_eq!(found, ["p", "nothing", "nothing"], "{length}");
    }
}

proptest! {
    /// Policies with one place, several hosts, several paths, and with hosts in common: each host finds its own, and no other host anything.
    #[test]
    fn of_many_hosts_each_is_found(
        shapes in proptest::collection::vec((proptest::collection::btree_set(0..400_usize, 1..4), proptest::collection::btree_set("/[ab]{1,2}", 0..3)), 0..120),
        in_fallbacks in any::<bool>(),
    ) {
        let host = |number: usize| format!("h{number}{}.example", "x".repeat(number % 60));
        let policies: Vec<_> = shapes.iter().enumerate().map(|(number, (hosts, paths))| {
            let paths = paths.iter().map(|path| PathPattern::prefix(path)).collect();
            policy(&number.to_string(), "n", hosts.iter().map(|number| exact(&host(*number))).collect(), paths, false)
        }).collect();
        let parts = PolicySetParts::default();
        let parts = if in_fallbacks { PolicySetParts { fallbacks: policies, ..parts } } else { PolicySetParts { holders: policies, ..parts } };
        let set = PolicySet::new(parts);
        for asked in 0..400 {
            let claiming = |(number, (hosts, _)): (usize, &(std::collections::BTreeSet<usize>, _))| hosts.contains(&asked).then(|| number.to_string());
            let expected: std::collections::BTreeSet<_> = shapes.iter().enumerate().filter_map(claiming).collect();
            let found = set.claims(&host(asked)).policies().map(|policy| policy.id.name.to_string()).collect();
            prop_assert_eq!(&expected, &found, "{}", asked);
            for path in ["/a", "/ab", "/b/x", "/"] {
                let covers = |name: &&String| {
                    let paths = &shapes[name.parse::<usize>().unwrap()].1;
                    paths.is_empty() || paths.iter().any(|ours| path == ours || path.starts_with(&format!("{ours}/")))
                };
                let selected = select(&set, &host(asked), path);
                // The longest prefix; `None` where nothing covers the path.
                let reach = |name: &String| {
                    let paths = &shapes[name.parse::<usize>().unwrap()].1;
                    paths.iter().filter(|ours| path == **ours || path.starts_with(&format!("{ours}/"))).map(String::len).max()
                };
                let best = expected.iter().filter(covers).map(reach).max();
                prop_assert_eq!(selected == "nothing", best.is_none(), "{} {} {}", asked, path, selected);
                prop_assert!(selected == "nothing" || expected.contains(&selected) && Some(reach(&selected)) == best, "{} {}", asked, selected);
            }
        }
    }
}

/// Pieces of one policy, which lost a place of it, are one policy to a path that both cover in one spelling or another.
#[test]
fn pieces_of_a_policy_are_that_policy() {
    let piece = |name: &str, hosts, path: &str| policy(name, "n", hosts, vec![PathPattern::prefix(path)], false);
    for (other, expected) in [("p", "p"), ("q", "case")] {
        let holders = vec![piece("p", vec![exact("a.x")], "/API"), piece(other, vec![suffix("x")], "/api")];
        let set = PolicySet::new(PolicySetParts { holders, ..PolicySetParts::default() });
        assert_eq!(select(&set, "a.x", "/api"), expected);
    }
}

/// Whoever may be meant by what cannot be read.
#[test]
fn what_cannot_be_read_claims_what_it_may_be_for() {
    let unreadable = |namespace: &str| -> Vec<SharedId> { vec![PolicyId::new(PolicyKind::CallbackPolicy, namespace, "broken", "b").into()] };
    let mut grants = Grants::default();
    grants.add(&exact("a"), "x");
    for (unreadable, grants, host, expected) in [
        (vec![], None, "a", false),
        (unreadable("x"), None, "a", true),
        (unreadable("x"), Some(grants.clone()), "a", true),
        (unreadable("x"), Some(grants.clone()), "b", false),
        (unreadable("y"), Some(grants.clone()), "a", false),
        (unreadable(""), Some(grants.clone()), "b", true),
        (vec![], Some(grants), "a", false),
    ] {
        let label = format!("{unreadable:?} {host}");
        let is_broken = unreadable.iter().any(|id| &*id.label == "x/broken");
        let set = PolicySet::new(PolicySetParts { unreadable, grants, ..PolicySetParts::default() });
        assert_eq!(set.unreadable_claims(host), expected, "{label}");
        assert_eq!(set.is_unreadable("x/broken"), is_broken, "{label}");
        assert!(!set.claims(host).is_shadowed());
    }
}
