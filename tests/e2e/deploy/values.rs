//! The charts' README pages say what values.yaml says.

use std::fs;

use serde_json::Value;

use super::{chart, objects};

/// What of a values file a person sets: objects that are empty by default, and everything that is no object.
fn leaves(place: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        // Whatever is in it is taken as a whole.
        Some(fields) if !place.ends_with("requests") && !place.ends_with("limits") => {
            for (name, value) in fields {
                leaves(&if place.is_empty() { name.clone() } else { format!("{place}.{name}") }, value, found);
            }
        }
        Some(_) | None => found.push((place.to_owned(), value.to_string())),
    }
}

/// Reads a values file as Helm and kubectl do.
fn values(yaml: &str) -> Value {
    let inside: String = yaml.lines().map(|line| format!("  {line}\n")).collect();
    let mut objects = objects(&format!("apiVersion: example.com/v1\nkind: Values\nmetadata: {{name: values}}\nvalues:\n{inside}"));
    objects.remove(0)["values"].take()
}

/// The default of a row, as JSON: written as YAML there.
fn default(cell: &str) -> String {
    values(&format!("of: {}", cell.trim_matches('`')))["of"].to_string()
}

#[test]
fn the_readme_has_every_value_with_its_default() {
    let mut expected = Vec::new();
    leaves("", &values(&fs::read_to_string(chart("ringfence").join("values.yaml")).unwrap()), &mut expected);
    let readme = fs::read_to_string(chart("ringfence").join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let mut rows: Vec<_> = rows
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() == 3 && !cells[2].is_empty(), "{line}");
            (cells[0].trim_matches('`').to_owned(), default(cells[1]))
        })
        .collect();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
}
