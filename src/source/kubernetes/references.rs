//! Which Secrets and ConfigMaps a resource names, wherever in its `spec`: what the compiler will ask for.

use std::collections::BTreeSet;

use ringfence_core::api::{Kind, Object};
use serde_json::Value;

/// Most names of either that one resource may have looked up: more than the bounds of a spec let through.
const MOST: usize = 128;
/// Deepest nesting that is looked into: deeper than a spec goes.
const DEPTH: usize = 16;
/// Longest name (RFC 1123 subdomain), in bytes.
const LONGEST_NAME: usize = 253;

/// Names of Secrets and of ConfigMaps, with their namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) secrets: BTreeSet<(Box<str>, Box<str>)>,
    pub(super) config_maps: BTreeSet<(Box<str>, Box<str>)>,
}

impl Named {
    /// What `object` names: in its own namespace, if it has one, else in the operator's.
    pub(super) fn by(object: &Object, resource_namespace: &str) -> Self {
        let mut named = Self::default();
        let is_ours = Kind::of(&object.api_version, &object.key.kind).is_some_and(Kind::is_ours);
        if let Some(spec) = object.raw.get("spec").filter(|_| is_ours) {
            let namespace = if object.key.namespace.is_empty() { resource_namespace } else { &object.key.namespace };
            named.look_into(spec, namespace, DEPTH);
        }
        named
    }

    fn look_into(&mut self, value: &Value, namespace: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.look_into(item, namespace, depth)),
            Value::Object(members) => {
                for (member, value) in members {
                    match member.as_str() {
                        "secretRefs" => value.as_array().into_iter().flatten().for_each(|reference| note(&mut self.secrets, namespace, reference)),
                        "configMapRef" => note(&mut self.config_maps, namespace, value),
                        _ => self.look_into(value, namespace, depth),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.secrets.extend(other.secrets);
        self.config_maps.extend(other.config_maps);
    }
}

fn note(names: &mut BTreeSet<(Box<str>, Box<str>)>, namespace: &str, reference: &Value) {
    // What is no name cannot be there, and must not find its way into a selector.
    let name = reference.get("name").and_then(Value::as_str).filter(|name| is_name(name));
    if let Some(name) = name.filter(|_| names.len() < MOST) {
        names.insert((namespace.into(), name.into()));
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence_core::api::{API_VERSION, ObjectKey};
    use serde_json::json;

    use super::*;

    fn named(kind: Kind, namespace: &str, spec: &Value) -> Named {
        let object = Object {
            key: ObjectKey { kind: kind.name().into(), namespace: namespace.into(), name: "x".into() },
            api_version: API_VERSION.into(),
            uid: "u".into(),
            generation: 1,
            resource_version: "1".into(),
            created: None,
            raw: Arc::new(json!({ "spec": spec })),
            origin: None,
        };
        Named::by(&object, "ringfence")
    }

    fn pairs(names: &[(&str, &str)]) -> BTreeSet<(Box<str>, Box<str>)> {
        names.iter().map(|(namespace, name)| ((*namespace).into(), (*name).into())).collect()
    }

    #[test]
    fn everything_that_is_named_is_found() {
        let spec = json!({"senders": [
            {"apiKey": {"secretRefs": [{"name": "a", "key": "k"}, {"name": "b", "key": "k"}]},
             "callAutomation": {"audiencesFrom": [{"configMapRef": {"name": "ids"}}], "jwks": {"configMapRef": {"name": "keys", "key": "k"}}}},
            {"apiKey": {"signed": {"secretRefs": [{"name": "c", "key": "k"}]}}}]});
        let found = named(Kind::CallbackPolicy, "contoso", &spec);
        assert_eq!(found.secrets, pairs(&[("contoso", "a"), ("contoso", "b"), ("contoso", "c")]));
        assert_eq!(found.config_maps, pairs(&[("contoso", "ids"), ("contoso", "keys")]));
        let ranges = named(Kind::SourceRangeSet, "", &json!({"configMapRef": {"name": "ranges", "key": "k"}}));
        assert_eq!(ranges.config_maps, pairs(&[("ringfence", "ranges")]));
    }

    #[test]
    fn what_is_no_name_is_not_looked_for() {
        let strange = json!([{"name": "a,b"}, {"name": "A"}, {"name": ""}, {"name": 1}, {}, "x", {"name": "x".repeat(254)}]);
        assert_eq!(named(Kind::CallbackPolicy, "contoso", &json!({"apiKey": {"secretRefs": strange}})), Named::default());
        let many: Vec<_> = (0..1_000).map(|number| json!({"name": format!("n{number}")})).collect();
        assert_eq!(named(Kind::CallbackPolicy, "contoso", &json!({"apiKey": {"secretRefs": many}})).secrets.len(), MOST);
        let deep = (0..100).fold(json!({"secretRefs": [{"name": "a"}]}), |inner, _| json!({"x": inner}));
        assert_eq!(named(Kind::CallbackPolicy, "contoso", &deep), Named::default());
    }
}
