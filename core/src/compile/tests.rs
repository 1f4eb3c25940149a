#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{findings::MOST as MOST_FINDINGS, *};
use crate::{
    api::API_VERSION,
    decide::{Match, Path, PathPattern, Rules},
};

/// The document of a policy with everything in it that is supported.
fn policy() -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "CallbackPolicy",
        "metadata": {"name": "contact-center", "namespace": "contoso"},
        "spec": {
            "mode": "Shadow",
            "match": {"hosts": ["a.example", "*.b.example"], "paths": [{"prefix": "/api"}, {"exact": "/media"}], "ignorePathCase": true},
            "senders": [
                {
                    "name": "callbacks",
                    "type": "CallAutomation",
                    "callAutomation": {
                        "audiences": ["7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11"],
                        "transport": "Webhook",
                        "clockSkew": "30s",
                        "maxLifetime": "5m",
                        "requireIssuedAt": false,
                        "tokenReuse": "Deny",
                        "issuer": "https://idp.example",
                        "openIdConfiguration": "https://idp.example/.well-known/openid-configuration"
                    },
                    "paths": [{"prefix": "/api/calls"}],
                    "sources": {"sets": ["acs-callbacks"], "cidrs": ["203.0.113.0/24"], "onMismatch": "Observe"},
                    "apiKey": {"query": "key", "sha256": ["aa".repeat(32)], "upstream": "Forward"}
                },
                {
                    "name": "tool",
                    "type": "NoToken",
                    "noToken": {"methods": ["POST"], "acknowledgeWeak": true},
                    "sources": {"cidrs": ["198.51.100.0/24"], "onMismatch": "Deny"}
                }
            ],
            "forward": {"headers": [{"name": "x-acs-audience", "claim": "aud"}], "authorization": "Remove"}
        }
    })
}

fn object(raw: Value) -> Object {
    let key = ObjectKey { kind: "CallbackPolicy".into(), namespace: "contoso".into(), name: "contact-center".into() };
    Object {
        uid: key.to_string().into(),
        key,
        api_version: API_VERSION.into(),
        generation: 1,
        resource_version: "1".into(),
        created: None,
        raw: Arc::new(raw),
        origin: None,
    }
}

/// The document as `kubectl apply` sends it: nulls taken out, and what was written kept beside it.
fn applied(mut written: Value, place: &str) -> Value {
    *written.pointer_mut(place).unwrap() = Value::Null;
    let annotation = json!({"kubectl.kubernetes.io/last-applied-configuration": written.to_string()});
    let (parent, name) = place.rsplit_once('/').unwrap();
    written.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    written["metadata"]["annotations"] = annotation;
    written
}

#[test]
fn a_null_that_kubectl_dropped_is_refused_all_the_same() {
    let said = |document: Value| {
        let report = compile(&[object(document)], &Options::default()).reports.remove(0);
        report.findings.into_iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect::<Vec<_>>()
    };
    let dropped = "null is no value, and `kubectl apply` drops it; leave the field out, or give it one";
    for (place, field) in [
        ("/spec/senders/0/sources", "spec.senders[0].sources"),
        ("/spec/senders/0/sources/cidrs", "spec.senders[0].sources.cidrs"),
        ("/spec/forward", "spec.forward"),
        ("/spec/match/paths", "spec.match.paths"),
    ] {
        assert_eq!(said(applied(policy(), place)), [format!("{field}: {dropped}")]);
    }
    // What was put right since is right, whatever was written once.
    let mut corrected = policy();
    corrected["metadata"]["annotations"] = applied(policy(), "/spec/senders/0/sources")["metadata"]["annotations"].clone();
    assert_eq!(said(corrected), Vec::<String>::new());
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found)),
        Value::Object(members) => members.iter().for_each(|(key, member)| places(member, &format!("{at}/{key}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Replace(Value),
    Remove,
    Rename,
}

fn damage() -> impl Strategy<Value = Damage> {
    let junk = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!("")),
        Just(json!([null])),
        Just(json!(-1)),
        any::<bool>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "(/|\\*\\.|https://)?[a-zA-Z0-9./*:%_-]{0,12}".prop_map(Value::from),
    ];
    prop_oneof![8 => junk.prop_map(Damage::Replace), 2 => Just(Damage::Remove), 1 => Just(Damage::Rename)]
}

/// Does the damage at one place of the `spec`. Says whether anything was done.
fn inflict(document: &mut Value, place: &Index, damage: &Damage) -> bool {
    let mut found = Vec::new();
    places(document, "", &mut found);
    found.retain(|place| place.starts_with("/spec"));
    if found.is_empty() {
        return false;
    }
    let place = place.get(&found).clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    match (damage, document.pointer_mut(parent).unwrap()) {
        (Damage::Replace(junk), _) => *document.pointer_mut(&place).unwrap() = junk.clone(),
        (Damage::Remove, Value::Object(members)) => drop(members.remove(name)),
        (Damage::Rename, Value::Object(members)) => {
            let member = members.remove(name).unwrap();
            members.insert(format!("{name}X"), member);
        }
        (Damage::Remove | Damage::Rename, Value::Array(items)) => drop(items.remove(name.parse().unwrap())),
        (Damage::Remove | Damage::Rename, _) => return false,
    }
    true
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

/// Whether all of the policy is in force.
fn is_in_force(compiled: &Compiled) -> bool {
    let parts = compiled.policies.parts();
    let is_sound = |policy: &Policy| match &policy.rules {
        Rules::Senders { senders, .. } => senders.iter().all(|sender| sender.checks.is_ok()),
        Rules::Invalid { .. } => false,
    };
    parts.unreadable.is_empty() && parts.holders.len() == 1 && parts.holders.iter().all(is_sound)
}

#[test]
fn the_undamaged_policy_is_in_force() {
    let compiled = compile(&[object(policy())], &Options::default());
    assert_eq!(compiled.reports[0].findings, []);
    assert!(is_in_force(&compiled));
}

/// A list in a mapping's place would be read as the mapping's members, in the order in which the program declares them.
#[test]
fn a_list_is_no_mapping() {
    assert!(serde_json::from_value::<crate::api::NoToken>(json!([["POST"], true])).is_ok(), "what serde alone would take");
    for (place, list) in [
        ("/spec", json!(["Enforce", [["a.example"]], [{"name": "x", "type": "NoToken"}]])),
        ("/spec/match", json!([["a.example"]])),
        ("/spec/match/paths/0", json!(["/api"])),
        ("/spec/senders/0/callAutomation", json!([["7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11"]])),
        ("/spec/senders/0/sources", json!([["acs-callbacks"], ["203.0.113.0/24"], "Observe"])),
        ("/spec/senders/1/noToken", json!([["POST"], true])),
        ("/spec/forward", json!([[{"name": "x-acs-audience", "claim": "aud"}]])),
        ("/spec/forward/headers/0", json!(["x-acs-audience", "aud"])),
    ] {
        let mut document = policy();
        *document.pointer_mut(place).unwrap() = list;
        let compiled = compile(&[object(document)], &Options::default());
        let findings = &compiled.reports[0].findings;
        let is_told = |finding: &Finding| finding.message.contains("invalid type: sequence") || finding.message.contains("must be a mapping");
        assert!(!is_in_force(&compiled) && findings.iter().any(is_told), "{place}: {findings:?}");
    }
}

proptest! {
    /// Whatever is wrong is said, what is said to be wrong is not in force, and there is always someone to answer for the policy.
    #[test]
    fn nothing_is_dropped_in_silence(damages in prop::collection::vec((any::<Index>(), damage()), 1..4)) {
        let mut document = policy();
        for (place, damage) in &damages {
            inflict(&mut document, place, damage);
        }
        let compiled = compile(&[object(document.clone())], &Options::default());
        let has_errors = compiled.reports[0].findings.iter().any(is_error);
        prop_assert_eq!(is_in_force(&compiled), !has_errors, "{:?} of {}", compiled.reports[0].findings, document);
        let parts = compiled.policies.parts();
        prop_assert!(!parts.holders.is_empty() || !parts.unreadable.is_empty(), "{}", document);
    }

    /// A floor never becomes weaker by an error: it stays one that refuses, unless it says itself that it is none.
    #[test]
    fn a_damaged_floor_is_still_a_floor(place in any::<Index>(), damage in damage()) {
        let mut document = json!({
            "kind": "ClusterCallbackPolicy",
            "metadata": {"name": "floor"},
            "spec": {
                "applies": "Always",
                "match": {"hosts": ["*.a.example"], "paths": [{"prefix": "/api"}]},
                "sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"}
            }
        });
        inflict(&mut document, &place, &damage);
        prop_assume!(document.get("spec").is_some_and(Value::is_object) && document.pointer("/spec/sources").is_some_and(Value::is_object));
        let mut object = object(document.clone());
        object.key = ObjectKey { kind: "ClusterCallbackPolicy".into(), namespace: "".into(), name: "floor".into() };
        let compiled = compile(&[object], &Options::default());
        let floors = &compiled.policies.parts().floors;
        prop_assert_eq!(floors.len(), 1, "{}", document);
        prop_assert_eq!(floors[0].sources.is_ok(), !compiled.reports[0].findings.iter().any(is_error), "{:?} of {}", compiled.reports, document);
    }

    /// A field that nobody knows is never left out.
    #[test]
    fn an_unknown_field_anywhere_is_an_error(place in any::<Index>()) {
        let mut document = policy();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        found.retain(|place| document.pointer(place).is_some_and(Value::is_object));
        let place = place.get(&found);
        document.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("surprise".to_owned(), json!(1));
        let compiled = compile(&[object(document)], &Options::default());
        let named = compiled.reports[0].findings.iter().any(|finding| is_error(finding) && finding.field.ends_with("surprise"));
        prop_assert!(named, "{}: {:?}", place, compiled.reports[0].findings);
        prop_assert!(!is_in_force(&compiled));
    }

    /// What lies within matches nothing that lies without.
    #[test]
    fn within_means_that_every_path_is_covered(
        inner in "(/[ab]{1,2}){1,3}/?", inner_exact in any::<bool>(),
        outer in "(/[aA]{1,2}){0,2}/?", outer_exact in any::<bool>(),
        ignore_path_case in any::<bool>(), rest in "(/[aB]){0,2}",
    ) {
        let pattern = |text: &str, exact| if exact { PathPattern::exact(text) } else { PathPattern::prefix(text) };
        let (inner_pattern, outer_pattern) = (pattern(&inner, inner_exact), pattern(&outer, outer_exact));
        let outer = Match { paths: [outer_pattern.clone()].into(), ignore_path_case, ..Match::default() };
        let path = format!("{}{rest}", inner.trim_end_matches('/'));
        let path = Path::parse(path.as_bytes()).unwrap();
        let covers = |pattern: &PathPattern| pattern.covers(&path, ignore_path_case);
        if matches::is_within(&inner_pattern, &outer) && covers(&inner_pattern) {
            prop_assert!(covers(&outer_pattern), "{:?} {:?} {:?}", inner_pattern, outer_pattern, path);
        }
    }
}

#[test]
fn a_flood_of_mistakes_is_bounded_and_every_one_counts() {
    let mut raw = policy();
    raw["spec"]["senders"][0]["odd"] = vec![Value::Null; 5_000].into();
    let flooded = object(raw.clone());
    let compiled = compile(&[flooded], &Options::default());
    let findings = &compiled.reports[0].findings;
    assert_eq!(findings.len(), MOST_FINDINGS + 1);
    assert!(findings.last().unwrap().message.contains("more findings are left out"), "{findings:?}");
    // What stands after the flood is judged all the same.
    raw["spec"]["senders"][1]["sources"]["cidrs"] = json!(["everywhere"]);
    raw["spec"]["forward"]["headers"][0]["name"] = json!("Authorization");
    let compiled = compile(&[object(raw)], &Options::default());
    let Rules::Invalid { .. } = &compiled.policies.parts().holders[0].rules else { panic!("the forward is wrong") };
}
