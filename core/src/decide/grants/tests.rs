use super::*;

fn host(text: &str) -> HostPattern {
    text.strip_prefix("*.").map_or_else(|| HostPattern::Exact(text.into()), |suffix| HostPattern::Suffix(suffix.into()))
}

fn namespaces(names: &[&str]) -> HashSet<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

#[test]
fn equal_grants_unite() {
    let mut grants = Grants::default();
    for namespace in ["x", "y", "x"] {
        grants.add(&host("a.example"), namespace);
    }
    grants.add(&HostPattern::Any, "z");
    assert!(grants.permits("a.example", "x") && grants.permits("a.example", "y"));
    assert!(!grants.permits("a.example", "z") && !grants.permits("b.example", "x") && !grants.permits("b.example", "z"));
    assert_eq!(grants.exact.get("a.example").map(|speakers| speakers.namespaces.len()), Some(2));
}

/// A grant that cannot be read may be for anybody, where it covers the host; one of which not even the host can be read may cover any.
#[test]
fn what_cannot_be_read_may_be_for_anybody() {
    let mut grants = Grants::default();
    grants.add(&host("*.example"), "x");
    grants.doubt(&host("a.example"));
    for (asked, names, expected) in [
        ("a.example", &["y"][..], true),
        ("a.example", &[], true),
        ("b.example", &["x"], true),
        ("b.example", &["y"], false),
        ("b.example", &["y", "x"], true),
        ("other", &["x"], false),
    ] {
        assert_eq!(grants.may_permit(asked, &namespaces(names)), expected, "{asked} {names:?}");
    }
    assert!(!grants.permits("a.example", "x"), "it is taken out of the wider grant");
    grants.doubt(&HostPattern::Any);
    assert!(grants.may_permit("other", &namespaces(&["y"])));
}

#[test]
fn what_follows_each_label() {
    assert_eq!(suffixes("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
    assert_eq!(suffixes("a").count(), 0);
}
