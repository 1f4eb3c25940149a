//! Reads pieces of a `spec` as the types of [`crate::api`], strictly, and says everything that is wrong with a piece instead of the first thing.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::api::Object;

use super::{
    findings::{Field, Findings},
    strict::Strict,
};

/// Most unknown fields that are named for one piece.
const MAX_UNKNOWN: usize = 32;

/// A piece that could be read.
#[derive(Debug)]
pub(super) struct Section<T> {
    /// As read; what could not be read was left out.
    pub(super) value: T,
    /// Nothing was left out.
    pub(super) is_whole: bool,
}

/// Reads `value` if there is nothing at all to complain about.
pub(super) fn read_clean<T: DeserializeOwned>(value: &Value) -> Option<T> {
    if is_clean(value) { T::deserialize(Strict(value)).ok() } else { None }
}

/// Reads `value`, which stands at `at`. Nulls, empty lists and unknown fields are reported each, and left out; of anything else that is wrong
/// the first is reported, and nothing is returned.
pub(super) fn read<T: DeserializeOwned>(value: &Value, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<Section<T>> {
    let mark = findings.mark();
    report_unclean(value, at, findings);
    if value.is_null() {
        return None;
    }
    let mut known = value.clone();
    drop_nulls(&mut known);
    for _ in 0..=MAX_UNKNOWN {
        let error = match serde_path_to_error::deserialize::<_, T>(Strict(&known)) {
            Ok(value) => return Some(Section { value, is_whole: !findings.has_errors_since(mark) }),
            Err(error) => error,
        };
        let path: Vec<&Segment> = error.path().iter().collect();
        let message = error.inner().to_string();
        // Nulls in lists are still there; they have been reported.
        if !message.starts_with("invalid type: null") {
            report(at, &path, &explain(&message), findings);
        }
        if !message.starts_with("unknown field") || !remove(&mut known, &path) {
            return None;
        }
    }
    None
}

fn is_clean(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty() && items.iter().all(is_clean),
        Value::Object(members) => members.values().all(is_clean),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Null and empty never mean absent.
fn report_unclean(value: &Value, at: &Field<'_>, findings: &mut Findings<'_>) {
    match value {
        Value::Null => findings.invalid(at, "null is no value; leave the field out, or give it one"),
        Value::Array(items) if items.is_empty() => findings.invalid(at, "an empty list means nothing; give it an item, or leave the field out"),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| report_unclean(item, &at.index(index), findings)),
        Value::Object(members) => members.iter().for_each(|(key, member)| report_unclean(member, &at.key(key), findings)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Says `message` about the place `path` below `at`.
fn report(at: &Field<'_>, path: &[&Segment], message: &str, findings: &mut Findings<'_>) {
    match path.split_first() {
        Some((Segment::Seq { index }, rest)) => report(&at.index(*index), rest, message, findings),
        Some((Segment::Map { key }, rest)) => report(&at.key(key), rest, message, findings),
        Some((Segment::Enum { .. } | Segment::Unknown, rest)) => report(at, rest, message, findings),
        None => findings.invalid(at, message),
    }
}

/// What serde says, with what to do about it.
fn explain(message: &str) -> String {
    let is_unquoted = ["invalid type: integer", "invalid type: floating point", "invalid type: boolean"].iter().any(|kind| message.starts_with(kind));
    if is_unquoted && message.ends_with("expected a string") { format!("{message}; put it in quotes") } else { message.to_owned() }
}

/// Takes the member at `path` out. Says whether there was one.
fn remove(value: &mut Value, path: &[&Segment]) -> bool {
    match (path, value) {
        ([Segment::Map { key }], Value::Object(members)) => members.remove(key).is_some(),
        ([Segment::Map { key }, rest @ ..], Value::Object(members)) => members.get_mut(key).is_some_and(|member| remove(member, rest)),
        ([Segment::Seq { index }, rest @ ..], Value::Array(items)) => items.get_mut(*index).is_some_and(|item| remove(item, rest)),
        _ => false,
    }
}

/// Reads an object's whole `spec`, for kinds of which nothing counts unless all of it can be read; errors are in the findings.
pub(super) fn read_spec<T: DeserializeOwned>(object: &Object, findings: &mut Findings<'_>) -> Option<T> {
    match object.raw.get("spec") {
        Some(spec) => read_clean(spec).or_else(|| read(spec, &Field::SPEC, findings).filter(|section| section.is_whole).map(|section| section.value)),
        None => {
            findings.invalid(&Field::SPEC, "`spec` is missing");
            None
        }
    }
}
