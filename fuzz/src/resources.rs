//! A file of YAML with the compiler behind it: what it comes to is a function of its text, and nobody without a credential is let through.

use ringfence::source::fuzzing::{documents, objects};
use ringfence_core::{
    api::Kind,
    compile::{self, Compiled, Options},
    decide::{Decision, HostPattern, KeyRing, Mode, Now, PathPattern, Policy},
};
use serde_json::Value;

use crate::world::{Ask, NOW_MS};

/// Panics where that is not so.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_json_reads_as_json(text);
    let (objects, _) = objects(text);
    let options = Options::default();
    let compiled = compile::compile(&objects, &options);
    let again = compile::compile(&objects.iter().rev().cloned().collect::<Vec<_>>(), &options);
    let ours = objects.iter().filter(|object| Kind::of(&object.api_version, &object.key.kind).is_some_and(Kind::is_ours)).count();
    let is_set = objects.iter().map(|object| &object.key).collect::<std::collections::BTreeSet<_>>().len() == objects.len();
    if is_set {
        assert_eq!(compiled.reports.len(), ours, "each object has its report");
        assert_eq!(format!("{:?}", compiled.reports), format!("{:?}", again.reports), "the order of objects does not matter");
        assert_eq!(compiled.policies.parts().config_hash, again.policies.parts().config_hash);
    }
    for policy in compiled.policies.parts().holders.iter().chain(&compiled.policies.parts().fallbacks) {
        assert_guarded(&compiled, policy);
    }
}

/// YAML 1.2 takes in JSON: whatever of that is read here reads as any JSON reader has it, but for a zero below zero, which is a whole number here.
fn assert_json_reads_as_json(text: &str) {
    let Ok(json) = serde_json::from_str::<Value>(text) else { return };
    if let Ok(documents) = documents(text) {
        match documents.as_slice() {
            [] => assert!(json.is_null()),
            [document] => assert_eq!(with_one_zero(document.clone()), with_one_zero(json)),
            several => panic!("{} documents in one", several.len()),
        }
    }
}

/// The value with every zero in it written the same way.
fn with_one_zero(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => 0.into(),
        Value::Array(items) => items.into_iter().map(with_one_zero).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, with_one_zero(value))).collect(),
        value => value,
    }
}

/// A request that the policy speaks for, without token, key, address or body, is not allowed.
fn assert_guarded(compiled: &Compiled, policy: &Policy) {
    if policy.mode == Mode::Shadow {
        return;
    }
    for host in &policy.matches.hosts {
        let host = match host {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Suffix(suffix) => format!("x.{suffix}"),
            HostPattern::Any => "x.example".to_owned(),
        };
        let paths = policy.matches.paths.iter().map(|path| match path {
            PathPattern::Exact { path, .. } | PathPattern::Prefix { path, .. } => path.to_string(),
        });
        for path in paths.chain(["/".to_owned(), "/x".to_owned()]) {
            for method in ["POST", "GET", "OPTIONS"] {
                let verdict =
                    Ask { method, host: &host, target: path.as_bytes(), ..Ask::default() }.of(compiled, &KeyRing::default(), Now::settled(NOW_MS));
                // Another policy, in Shadow, may be the more specific one.
                let is_shadowed = verdict.label() == "shadow_denied";
                assert!(is_shadowed || matches!(verdict.decision, Decision::Deny(_)), "{method} {host}{path}: {verdict:?}");
            }
        }
    }
}
