//! JSON schemas for kubeconform, from what an API server says of itself. It would otherwise fetch somebody's collection over the network.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::Path,
};

use serde_json::{Map, Value, json};

/// Where a reference leads.
const DEFINITIONS: &str = "#/definitions/";

/// Writes a schema for every kind of `openapi` (`/openapi/v2`) that one of `objects` has.
pub(super) fn write(openapi: &Value, objects: &[Value], folder: &Path) {
    let definitions = openapi["definitions"].as_object().unwrap();
    let wanted: BTreeSet<_> = objects.iter().map(|object| (text(&object["apiVersion"]), text(&object["kind"]))).collect();
    let mut written = BTreeSet::new();
    for (name, definition) in definitions {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let (group, version, kind) = (text(&kind["group"]), text(&kind["version"]), text(&kind["kind"]));
            let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
            if wanted.contains(&(api_version.clone(), kind.clone())) {
                // As kubeconform has it, a kind without a group is of the group `v1`.
                let group = api_version.split('/').next().unwrap();
                let file = folder.join(format!("{group}_{version}_{}.json", kind.to_lowercase()));
                fs::write(file, schema(name, definitions).to_string()).unwrap();
                written.insert((api_version, kind));
            }
        }
    }
    assert_eq!(written, wanted, "the API server describes every kind");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The definition of this name with all that it refers to, unknown fields refused.
fn schema(name: &str, definitions: &Map<String, Value>) -> Value {
    let mut reached = BTreeMap::new();
    let mut next = vec![name.to_owned()];
    while let Some(name) = next.pop() {
        let Entry::Vacant(entry) = reached.entry(name) else { continue };
        let definition = strict(&definitions[entry.key()]);
        references(&definition, &mut next);
        entry.insert(definition);
    }
    json!({"$schema": "http://json-schema.org/draft-04/schema#", "definitions": reached, "allOf": [{"$ref": format!("{DEFINITIONS}{name}")}]})
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(DEFINITIONS)).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// OpenAPI leaves unknown fields be and says in `format` what may also be a number.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut strict: Map<_, _> = fields.iter().map(|(name, value)| (name.clone(), strict(value))).collect();
            let is_object = strict.get("properties").is_some_and(Value::is_object) && !strict.contains_key("additionalProperties");
            if is_object && !strict.contains_key("x-kubernetes-preserve-unknown-fields") {
                strict.insert("additionalProperties".to_owned(), json!(false));
            }
            if strict.get("format").is_some_and(|format| format == "int-or-string") {
                strict.insert("type".to_owned(), json!(["string", "integer"]));
            }
            if strict.get("format").is_some_and(Value::is_string) {
                strict.remove("format");
            }
            Value::Object(strict)
        }
        Value::Array(items) => items.iter().map(strict).collect(),
        other => other.clone(),
    }
}
