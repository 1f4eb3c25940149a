use std::collections::BTreeMap;

use super::*;

/// Everything that a verdict could depend on, in an order of its own.
fn fingerprint(compiled: &Compiled) -> BTreeMap<&'static str, Vec<String>> {
    let parts = compiled.policies.parts();
    let sorted = |mut items: Vec<String>| {
        items.sort();
        items
    };
    BTreeMap::from([
        ("holders", sorted(parts.holders.iter().map(|policy| format!("{policy:?}")).collect())),
        ("pinnable", sorted(parts.pinnable.iter().map(|policy| format!("{policy:?}")).collect())),
        ("fallbacks", sorted(parts.fallbacks.iter().map(|policy| format!("{policy:?}")).collect())),
        ("floors", sorted(parts.floors.iter().map(|floor| format!("{floor:?}")).collect())),
        ("unreadable", sorted(parts.unreadable.iter().map(ToString::to_string).collect())),
        ("hash", vec![parts.config_hash.to_string()]),
        ("key sets", compiled.key_sets.iter().map(ToString::to_string).collect()),
        ("reports", compiled.reports.iter().map(|report| format!("{} {:?}", report.object, report.findings)).collect()),
    ])
}

/// A folder with one of everything, conflicts, duplicates and errors included.
fn everything() -> Vec<Object> {
    let key = format!("senders: [{{name: k, type: NoToken, apiKey: {{query: k, sha256: [{SHA}]}}}}]");
    let head = "---\napiVersion: ringfence.dev/v1alpha1\nkind: ";
    let mut text = format!("{}---{SECRET}", policy());
    for (at, host) in ["a.example", "a.example", "'*.example'", "b.example", "b.example", "'b*'"].into_iter().enumerate() {
        text.push_str(&format!(
            "{head}CallbackPolicy\nmetadata: {{name: p{at}, namespace: n{}}}\nspec: {{match: {{hosts: [{host}]}}, {key}}}\n",
            at % 2
        ));
    }
    for name in ["f1", "f2"] {
        text.push_str(&format!("{head}ClusterCallbackPolicy\nmetadata: {{name: {name}}}\nspec: {{match: {{hosts: [c.example]}}, {key}}}\n"));
        text.push_str(&format!("{head}ClusterCallbackPolicy\nmetadata: {{name: floor-{name}}}\nspec: {{applies: Always, match: {{hosts: ['*']}}, sources: {{sets: [own], onMismatch: Deny}}}}\n"));
    }
    text.push_str(&format!("{head}SourceRangeSet\nmetadata: {{name: own}}\nspec: {{cidrs: [203.0.113.0/24]}}\n"));
    text.push_str(&format!("{head}SourceRangeSet\nmetadata: {{name: own}}\nspec: {{cidrs: [198.51.100.0/24]}}\n"));
    for (name, namespace) in [("g1", "n0"), ("g2", "n1")] {
        text.push_str(&format!(
            "{head}HostGrant\nmetadata: {{name: {name}}}\nspec: {{hosts: [a.example, '*.example'], namespaces: [{namespace}]}}\n"
        ));
    }
    load(&[("all.yaml", &text)]).objects
}

#[test]
fn the_order_of_objects_does_not_matter() {
    for hosts_are_granted in [false, true] {
        let options = Options { hosts_are_granted, ..Options::default() };
        let mut objects = everything();
        let first = compile::compile(&objects, &options);
        let expected = fingerprint(&first);
        assert!(expected["pinnable"].len() + expected["unreadable"].len() >= 2, "{expected:?}");
        // A full cycle of a shuffle: multiplying by a unit modulo a prime above the number of objects.
        for round in 2..20_u64 {
            objects.sort_by_key(|object| {
                (object.key.to_string().bytes().fold(7_u64, |hash, byte| hash * 31 % 1_000_003 + u64::from(byte)) * round) % 101
            });
            if round % 2 == 0 {
                objects.reverse();
            }
            assert_eq!(fingerprint(&compile::compile(&objects, &options)), expected, "round {round}");
        }
    }
}

#[test]
fn the_hash_changes_with_what_it_is_made_of() {
    let hash = |objects: &[Object]| compile::compile(objects, &Options::default()).policies.parts().config_hash;
    let objects = everything();
    let before = hash(&objects);
    for change in [
        (|object: &mut Object| object.uid = "other".into()) as fn(&mut Object),
        |object| object.generation = 2,
        |object| object.resource_version = "2".into(),
    ] {
        let mut objects = objects.clone();
        change(&mut objects[0]);
        assert_ne!(hash(&objects), before);
    }
    let mut kubernetes = objects.clone();
    kubernetes.iter_mut().for_each(|object| object.generation = 1);
    let before = hash(&kubernetes);
    kubernetes[0].resource_version = "a status was written".into();
    assert_eq!(hash(&kubernetes), before, "a status is no change of configuration");
}
