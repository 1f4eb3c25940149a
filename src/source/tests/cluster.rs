use ringfence_core::decide::{Floor, HostPattern, Mode, OnMismatch};

use super::*;

const FLOOR: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: ClusterCallbackPolicy
metadata: {name: floor}
spec:
  applies: Always
  mode: Shadow
  match: {hosts: ['*'], paths: [{prefix: /api}]}
  sources: {sets: [office], onMismatch: Deny}
";

const OFFICE: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: SourceRangeSet
metadata: {name: office}
spec: {cidrs: [198.51.100.0/24], configMapRef: {name: ranges, key: office}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ranges, namespace: ringfence}
data:
  office: |
    # the branch
    203.0.113.0/24   # old

    2001:db8::/32
";

fn with(floor: &str, office: &str) -> Compiled {
    compile(&[("a.yaml", floor), ("b.yaml", office)], &Options::default())
}

fn floor(compiled: &Compiled) -> &Floor {
    let floors = &compiled.policies.parts().floors;
    assert_eq!(floors.len(), 1, "{:?}", said(compiled));
    &floors[0]
}

#[test]
fn a_floor_knows_its_hosts_and_sources() {
    let compiled = with(FLOOR, OFFICE);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let floor = floor(&compiled);
    assert_eq!((&*floor.id.label, floor.mode, &*floor.matches.hosts), ("floor", Mode::Shadow, &[HostPattern::Any][..]));
    let rule = floor.sources.as_ref().unwrap();
    assert_eq!((rule.on_mismatch, rule.ranges.len(), floor.matches.paths.len()), (OnMismatch::Deny, 1, 1));
    for (address, inside) in [("198.51.100.1", true), ("203.0.113.1", true), ("2001:db8::1", true), ("192.0.2.1", false)] {
        assert_eq!(rule.ranges[0].contains(address.parse().unwrap()), inside, "{address}");
    }
}

#[test]
fn a_floor_with_an_error_refuses_where_it_applies() {
    let cases = [
        ("  sources: {sets: [office], onMismatch: Deny}\n", "", "spec.sources: a floor needs `sources`"),
        ("onMismatch: Deny", "onMismatch: Never", "spec.sources.onMismatch: unknown variant `Never`"),
        ("sets: [office]", "sets: [home]", "spec.sources.sets[0]: there is no SourceRangeSet `home`"),
        ("  sources:", "  senders: [{name: a, type: NoToken}]\n  sources:", "spec.senders: `senders` has no place where `applies: Always` is"),
        ("applies: Always", "applies: Alway", "spec.applies: unknown variant `Alway`, expected `Fallback` or `Always`"),
        ("applies: Always", "aplies: Always", "spec.aplies: unknown field `aplies`"),
        ("  applies: Always\n", "", "spec.sources: `sources` is for `applies: Always`"),
        ("mode: Shadow", "mod: Shadow", "spec.mod: unknown field `mod`"),
    ];
    for (from, to, message) in cases {
        let compiled = with(&FLOOR.replace(from, to), OFFICE);
        assert!(said(&compiled).iter().any(|said| said.contains(message)), "{to}: {:?}", said(&compiled));
        let floor = floor(&compiled);
        assert!(floor.sources.is_err(), "{to}");
        assert_eq!(floor.matches.paths.len(), 1, "{to}");
    }
}

#[test]
fn a_floor_of_which_nobody_knows_where_it_applies_applies_everywhere() {
    for (from, to) in [("['*']", "['*.*']"), ("{prefix: /api}", "{prefix: api}"), ("hosts: ['*']", "host: ['*']")] {
        let compiled = with(&FLOOR.replace(from, to), OFFICE);
        let floor = floor(&compiled);
        assert!(floor.sources.is_err() && floor.matches.paths.is_empty(), "{to}");
        assert_eq!(*floor.matches.hosts, [HostPattern::Any], "{to}");
    }
}

#[test]
fn a_fallback_is_a_policy() {
    let fallback = policy().replace("CallbackPolicy", "ClusterCallbackPolicy").replace(", namespace: contoso", "");
    let secret = SECRET.replace("namespace: contoso", "namespace: ringfence");
    let compiled = compile(&[("a.yaml", &fallback), ("b.yaml", &secret)], &Options { hosts_are_granted: true, ..Options::default() });
    assert_eq!(said(&compiled), Vec::<String>::new(), "its references lie in the resource namespace, and it needs no grant");
    let parts = compiled.policies.parts();
    assert_eq!((parts.fallbacks.len(), parts.holders.len(), &*parts.fallbacks[0].id.label), (1, 0, "contact-center"));
    let compiled = compile(
        &[("a.yaml", &fallback.replace("mode:", "sources: {sets: [acs-media], onMismatch: Deny}\n  mode:")), ("b.yaml", &secret)],
        &Options::default(),
    );
    assert!(said(&compiled)[0].contains("spec.sources: `sources` is for `applies: Always`"), "{:?}", said(&compiled));
    assert!(matches!(compiled.policies.parts().fallbacks[0].rules, Rules::Invalid { .. }));
    let any = fallback.replace("\"*.apps.contoso.com\"", "\"*\"");
    let compiled = compile(&[("a.yaml", &any), ("b.yaml", &secret)], &Options::default());
    assert!(said(&compiled)[0].contains("spec.match.hosts[1]: `*` is for"), "{:?}", said(&compiled));
    assert_eq!(compiled.policies.parts().unreadable.len(), 1);
}

#[test]
fn senders_with_a_range_set_that_cannot_be_used_are_unsound() {
    let cases = [
        (
            "198.51.100.0/24",
            "198.51.100.1/24",
            "error Invalid spec.cidrs[0]: `198.51.100.1/24`: there are bits beyond the length; write `198.51.100.0/24`",
        ),
        ("cidrs: [198.51.100.0/24]", "cidrs: []", "error Invalid spec.cidrs: an empty list means nothing"),
        ("cidrs: [198.51.100.0/24]", "ranges: [198.51.100.0/24]", "error Invalid spec.ranges: unknown field `ranges`"),
        (
            "spec: {cidrs: [198.51.100.0/24], configMapRef: {name: ranges, key: office}}",
            "spec: {}",
            "error Invalid spec: the set is empty; give it `cidrs` or a `configMapRef`",
        ),
        ("cidrs: [198.51.100.0/24]", "microsoft365: {ids: [12]}", "error NotSupported spec.microsoft365: `microsoft365` is not supported yet"),
        (
            "cidrs: [198.51.100.0/24]",
            "serviceTags: {tags: [AzureEventGrid]}",
            "error NotSupported spec.serviceTags: `serviceTags` is not supported yet",
        ),
        ("key: office", "key: home", "error ConfigMapNotFound spec.configMapRef: ConfigMap `ringfence/ranges` has no key `home`"),
        (
            "    203.0.113.0/24",
            "    203.0.113.9/24",
            "error InvalidConfigMap spec.configMapRef: line 2: `203.0.113.9/24`: there are bits beyond the length",
        ),
        ("metadata: {name: office}", "metadata: {name: office, label: x}", "error Invalid metadata.label: unknown field `label`"),
    ];
    for (from, to, message) in cases {
        let compiled = with(FLOOR, &OFFICE.replace(from, to));
        let said = said(&compiled);
        assert!(said.iter().any(|said| said.starts_with(message)), "{to}: {said:?}");
        assert!(
            said.iter().any(|said| said.starts_with("error InvalidSourceRangeSet spec.sources.sets[0]: the SourceRangeSet `office` cannot be used")),
            "{to}: {said:?}"
        );
        assert!(floor(&compiled).sources.is_err(), "{to}");
    }
    let compiled = with(&FLOOR.replace("office", "acs-media"), &OFFICE.replace("name: office", "name: acs-media"));
    assert!(said(&compiled)[0].contains("metadata.name: `acs-media` is built in; choose another name"), "{:?}", said(&compiled));
    assert!(floor(&compiled).sources.as_ref().unwrap().ranges[0].contains("52.112.0.1".parse().unwrap()));
}
