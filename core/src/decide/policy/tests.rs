#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_shown_as_they_are_written() {
    let namespaced = PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "trial", "1");
    let cluster = PolicyId::new(PolicyKind::ClusterCallbackPolicy, "", "ground", "2");
    assert_eq!((namespaced.to_string(), cluster.to_string()), ("contoso/trial".to_owned(), "ground".to_owned()));
    let hosts = [HostPattern::Exact("a.example".into()), HostPattern::Suffix("example".into()), HostPattern::Any];
    assert_eq!(hosts.map(|host| host.to_string()), ["a.example", "*.example", "*"]);
    assert_eq!(Issuers::one("a".into()).to_string(), "`a`");
    assert_eq!(Issuers::either("a".into(), "b".into()).to_string(), "`a` or `b`");
}

#[test]
fn either_issuer_is_one_and_no_other() {
    for (issuers, known) in [(Issuers::one("a".into()), &["a"][..]), (Issuers::either("a".into(), "b".into()), &["a", "b"])] {
        for issuer in ["a", "b", "A", "", "ab"] {
            assert_eq!(issuers.contains(issuer), known.contains(&issuer), "{issuer}");
        }
    }
}

#[test]
fn a_pattern_is_kept_as_clients_send_it_and_folded() {
    let PathPattern::Exact { path, folded } = PathPattern::exact("/Ü/A") else { panic!() };
    assert_eq!((&*path, &*folded), ("/%C3%9C/A", "/ü/a"));
    let PathPattern::Prefix { path, folded } = PathPattern::prefix("/api/") else { panic!() };
    assert_eq!((&*path, &*folded), ("/api", "/api"));
    assert!(Arc::ptr_eq(&path, &folded), "one text where nothing changes");
}

/// What a used token is remembered under differs in every part that it is made of, and wherever one part ends and the next begins.
#[test]
fn reuse_is_counted_apart_for_each_policy_and_key_set() {
    let discovery = |issuer: &str, url: &str| KeySetId::Discovery { issuer: issuer.into(), url: url.into() };
    let config_map = |issuer: &str, namespace: &str, name: &str, key: &str| KeySetId::ConfigMap {
        issuer: issuer.into(),
        namespace: namespace.into(),
        name: name.into(),
        key: key.into(),
    };
    let scopes = [
        reuse_scope("p", &discovery("i", "u")),
        reuse_scope("q", &discovery("i", "u")),
        reuse_scope("p", &discovery("j", "u")),
        reuse_scope("p", &discovery("i", "v")),
        reuse_scope("pi", &discovery("", "u")),
        reuse_scope("p", &config_map("i", "n", "m", "k")),
        reuse_scope("p", &config_map("i", "nm", "", "k")),
        reuse_scope("p", &config_map("i", "n", "mk", "")),
        reuse_scope("p", &config_map("i", "n", "m", "l")),
    ];
    assert_eq!(scopes.iter().collect::<BTreeSet<_>>().len(), scopes.len());
    assert_eq!(reuse_scope("p", &discovery("i", "u")), reuse_scope("p", &KeySetId::Jwks { issuer: "i".into(), url: "u".into() }));
}

fn audience(value: &str) -> Audience {
    Audience { value: value.into(), name: None }
}

#[test]
fn audiences_are_found_by_number_or_by_text() {
    let guid = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
    let audiences = Audiences::new(["b", guid, "a", &guid.to_uppercase(), "a"].map(audience));
    assert_eq!((audiences.len(), audiences.is_empty()), (3, false));
    assert_eq!((Audiences::default().len(), Audiences::default().is_empty()), (0, true));
    for (asked, found) in
        [("a", Some("a")), ("b", Some("b")), (guid, Some(guid)), ("A", None), ("", None), ("00000000-0000-4000-8000-000000000000", None)]
    {
        assert_eq!(audiences.find(asked).map(|audience| &*audience.value), found, "{asked}");
    }
    assert_eq!(&*audiences.find(&guid.to_uppercase()).unwrap().value, guid);
}

#[test]
fn what_policies_of_a_host_do_together_is_to_take_out() {
    let one = Arc::new(Forward { headers: [("x-a".into(), "sub".into())].into(), remove: ["x_a".into()].into(), strip_query: ["key".into()].into() });
    let other = Arc::new(Forward { headers: [].into(), remove: ["authorization".into()].into(), strip_query: ["key".into(), "sig".into()].into() });
    let all = Forward::without_all([&one, &other, &one]);
    let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (all.headers.len(), texts(&all.remove), texts(&all.strip_query)),
        (0, vec!["authorization".into(), "x-a".into(), "x_a".into()], vec!["key".into(), "sig".into()])
    );
    let invalid = Rules::Invalid { problem: "".into(), forward: Arc::clone(&one) };
    assert!(Arc::ptr_eq(invalid.forward(), &one));
}

proptest! {
    #[test]
    fn a_guid_is_its_digits(text in "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", at in 0_usize..36, put in "[-0-9a-gG ]") {
        let naively = |text: &str| {
            let groups: Vec<_> = text.split('-').collect();
            let has_form = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit());
            has_form.then(|| u128::from_str_radix(&groups.concat(), 16).unwrap())
        };
        prop_assert_eq!(parse_guid(&text), naively(&text));
        let mut changed = text;
        changed.replace_range(at..=at, &put);
        prop_assert_eq!(parse_guid(&changed), naively(&changed));
    }
}
