//! From the JSON schema of a Rust type to one that an API server takes (a "structural schema",
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>).
//!
//! Two things keep a mistake from becoming a weaker policy: every object keeps fields that nobody knows, and every optional field keeps a null.
//! An API server would drop both; so they are stored, and the compiler refuses them by name.

use serde_json::{Map, Value, json};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// Rewrites a schema and all below it. Nothing in it may be a reference.
pub(super) fn structural(schema: Value) -> Map<String, Value> {
    let Value::Object(node) = schema else { return Map::new() };
    let mut node = without_alternatives(node);
    for unknown in ["$schema", "title", "additionalProperties"] {
        node.remove(unknown);
    }
    if node.get("default").is_some_and(Value::is_null) {
        node.remove("default");
    }
    if let Some(Value::Array(types)) = node.get("type") {
        let first = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
        node.insert("type".to_owned(), first);
    }
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = unwrapped(text);
    }
    if let Some(items) = node.remove("items") {
        node.insert("items".to_owned(), Value::Object(structural(items)));
    }
    if node.get("type").is_some_and(|name| name == "object") {
        rewrite_members(&mut node);
    }
    node
}

/// What may be left out may also be null, as far as the API server is concerned.
fn rewrite_members(node: &mut Map<String, Value>) {
    node.insert(PRESERVE.to_owned(), Value::Bool(true));
    let required = node.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|required| required.iter().any(|other| other == name));
    let Some(Value::Object(members)) = node.get_mut("properties") else { return };
    for (name, member) in members {
        let mut rewritten = structural(member.take());
        if !is_required(name) {
            rewritten.insert("nullable".to_owned(), Value::Bool(true));
        }
        *member = Value::Object(rewritten);
    }
}

/// Takes the one alternative that is not null; a choice of constants becomes an enumeration whose description says what each is for.
fn without_alternatives(mut node: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(alternatives)) = node.remove("anyOf") {
        let chosen = alternatives.into_iter().find(|alternative| alternative.get("type").is_none_or(|name| name != "null"));
        let Some(Value::Object(mut chosen)) = chosen else { return node };
        let of_type = chosen.remove("description");
        node.entry("description").or_insert_with(|| of_type.unwrap_or_default());
        chosen.extend(node);
        return without_alternatives(chosen);
    }
    if let Some(Value::Array(constants)) = node.remove("oneOf") {
        let mut description = node.get("description").and_then(Value::as_str).map(unwrapped).unwrap_or_default();
        let name = |constant: &Value| constant.get("const").and_then(Value::as_str).unwrap_or_default().to_owned();
        for constant in &constants {
            let about = constant.get("description").and_then(Value::as_str).map(unwrapped).unwrap_or_default();
            description.push_str(&format!("\n\n{}: {about}", name(constant)));
        }
        node.insert("type".to_owned(), Value::from("string"));
        node.insert("enum".to_owned(), constants.iter().map(|constant| json!(name(constant))).collect());
        node.insert("description".to_owned(), Value::from(description));
    }
    node
}

/// A text without the line breaks of its source, paragraphs apart.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}
