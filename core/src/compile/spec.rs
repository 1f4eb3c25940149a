//! Reads the `spec` of a policy in two steps, `match` and `mode` first, so that a policy that cannot be read still says what it is about: it
//! keeps its place and denies there.

use serde_json::{Map, Value};

use crate::api::{Applies, CallbackPolicySpec, ClusterCallbackPolicySpec, Forward, Match, Mode, Object, PathMatch, Sender, Sources};

use super::{
    findings::{Field, Findings},
    section::{self, Section},
};

/// The members that every object may have beside its `spec`.
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
/// The members that `metadata` may have (Kubernetes' `ObjectMeta`).
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Where `kubectl apply` keeps what was written, from which it has taken out the nulls before it sends the rest.
const LAST_APPLIED: &str = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";

/// A policy's `spec` as far as it could be read. What could not is in the findings.
#[derive(Debug)]
pub(super) struct Reading {
    /// `None` = it cannot be read.
    pub(super) applies: Option<Applies>,
    /// Enforce if it cannot be read.
    pub(super) mode: Mode,
    pub(super) matches: MatchReading,
    /// `None` = there are none.
    pub(super) senders: Option<Vec<SenderReading>>,
    pub(super) forward: Option<Forward>,
    pub(super) sources: Option<Sources>,
    /// Everything but the senders could be read. Says nothing about senders.
    pub(super) is_whole: bool,
}

/// A `match` as far as it could be read: entries with their places in their lists.
#[derive(Debug, Default)]
pub(super) struct MatchReading {
    pub(super) hosts: Vec<(usize, String)>,
    /// `None` = there are none written: every path.
    pub(super) paths: Option<Vec<(usize, PathMatch)>>,
    pub(super) ignore_path_case: bool,
    /// All of it could be read.
    pub(super) is_whole: bool,
}

/// One sender as far as it could be read.
#[derive(Debug)]
pub(super) enum SenderReading {
    /// It could, but for what is in the findings if it is not whole.
    Read(Section<Box<Sender>>),
    /// It could not; this is what was there.
    Unreadable(Value),
}

/// Reads the `spec` of a `CallbackPolicy`.
pub(super) fn read_policy(object: &Object, findings: &mut Findings<'_>) -> Reading {
    let envelope_is_whole = check_envelope(object, findings);
    let spec = object.raw.get("spec").unwrap_or(&Value::Null);
    let mut reading = match section::read_clean::<CallbackPolicySpec>(spec) {
        Some(CallbackPolicySpec { mode, r#match, senders, forward }) => Reading {
            applies: Some(Applies::Fallback),
            mode: mode.unwrap_or_default(),
            matches: r#match.into(),
            senders: Some(senders.into_iter().map(SenderReading::whole).collect()),
            forward,
            sources: None,
            is_whole: true,
        },
        None => read_pieces(spec, &["mode", "match", "senders", "forward"], findings),
    };
    reading.is_whole &= envelope_is_whole;
    reading
}

/// Reads the `spec` of a `ClusterCallbackPolicy`.
pub(super) fn read_cluster_policy(object: &Object, findings: &mut Findings<'_>) -> Reading {
    let envelope_is_whole = check_envelope(object, findings);
    let spec = object.raw.get("spec").unwrap_or(&Value::Null);
    let mut reading = match section::read_clean::<ClusterCallbackPolicySpec>(spec) {
        Some(ClusterCallbackPolicySpec { applies, mode, r#match, senders, forward, sources }) => Reading {
            applies: Some(applies.unwrap_or_default()),
            mode: mode.unwrap_or_default(),
            matches: r#match.into(),
            senders: senders.map(|senders| senders.into_iter().map(SenderReading::whole).collect()),
            forward,
            sources,
            is_whole: true,
        },
        None => read_pieces(spec, &["applies", "mode", "match", "senders", "forward", "sources"], findings),
    };
    reading.is_whole &= envelope_is_whole;
    reading
}

/// Whether there is nothing beside `spec` and in `metadata` that nobody knows: a misspelled field must not make a weaker policy.
pub(super) fn check_envelope(object: &Object, findings: &mut Findings<'_>) -> bool {
    let mark = findings.mark();
    if let Some(members) = object.raw.as_object() {
        report_unknown(members, ENVELOPE, &Field::OBJECT, findings);
    }
    if let Some(Value::Object(members)) = object.raw.get("metadata") {
        report_unknown(members, METADATA, &Field::OBJECT.key("metadata"), findings);
    }
    report_dropped_nulls(object, findings);
    !findings.has_errors_since(mark)
}

/// A null that was written is refused, though it never came here.
fn report_dropped_nulls(object: &Object, findings: &mut Findings<'_>) {
    let written = object.raw.pointer(LAST_APPLIED).and_then(Value::as_str).filter(|written| written.contains("null"));
    let Some(written) = written.and_then(|written| serde_json::from_str::<Value>(written).ok()) else { return };
    if let (Some(written), Some(spec)) = (written.get("spec"), object.raw.get("spec")) {
        compare_nulls(written, spec, &Field::SPEC, findings);
    }
}

fn compare_nulls(written: &Value, stored: &Value, at: &Field<'_>, findings: &mut Findings<'_>) {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => {
            for (name, value) in written {
                match stored.get(name) {
                    Some(stored) => compare_nulls(value, stored, &at.key(name), findings),
                    None if value.is_null() => {
                        findings.invalid(&at.key(name), "null is no value, and `kubectl apply` drops it; leave the field out, or give it one");
                    }
                    None => {}
                }
            }
        }
        (Value::Array(written), Value::Array(stored)) => {
            let both = written.iter().zip(stored).enumerate();
            both.for_each(|(index, (written, stored))| compare_nulls(written, stored, &at.index(index), findings));
        }
        _ => {}
    }
}

fn report_unknown(members: &Map<String, Value>, known: &[&str], at: &Field<'_>, findings: &mut Findings<'_>) {
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        let expected = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        findings.invalid(&at.key(name), format!("unknown field `{}`, expected one of {expected}", super::findings::shown(name)));
    }
}

impl SenderReading {
    fn whole(sender: Sender) -> Self {
        Self::Read(Section { value: Box::new(sender), is_whole: true })
    }
}

impl From<Match> for MatchReading {
    fn from(matches: Match) -> Self {
        Self {
            hosts: matches.hosts.into_iter().enumerate().collect(),
            paths: matches.paths.map(|paths| paths.into_iter().enumerate().collect()),
            ignore_path_case: matches.ignore_path_case.unwrap_or_default(),
            is_whole: true,
        }
    }
}

/// Reads a `spec` with something wrong in it, piece by piece.
fn read_pieces(spec: &Value, known: &[&str], findings: &mut Findings<'_>) -> Reading {
    let nothing = Map::new();
    let members = match spec {
        Value::Object(members) => members,
        Value::Null => {
            findings.invalid(&Field::SPEC, "`spec` is missing");
            &nothing
        }
        _ => {
            findings.invalid(&Field::SPEC, "`spec` must be a mapping");
            &nothing
        }
    };
    let mark = findings.mark();
    report_unknown(members, known, &Field::SPEC, findings);
    let applies = member(members, "applies", findings);
    let mode = member(members, "mode", findings);
    let forward = member(members, "forward", findings).ok().flatten();
    let sources = member(members, "sources", findings).ok().flatten();
    let mut is_whole = !findings.has_errors_since(mark) && !members.is_empty();
    let matches = read_match(members.get("match"), findings);
    let senders = match members.get("senders") {
        None => None,
        Some(Value::Array(senders)) => Some(read_senders(senders, findings)),
        Some(_) => {
            findings.invalid(&Field::SPEC.key("senders"), "`senders` must be a list");
            is_whole = false;
            None
        }
    };
    Reading {
        applies: applies.ok().map(Option::unwrap_or_default),
        mode: mode.ok().flatten().unwrap_or_default(),
        matches,
        senders,
        forward,
        sources,
        is_whole,
    }
}

/// Reads one member; an error is in the findings.
fn member<T: serde::de::DeserializeOwned>(members: &Map<String, Value>, name: &'static str, findings: &mut Findings<'_>) -> Result<Option<T>, ()> {
    let Some(value) = members.get(name) else { return Ok(None) };
    match section::read(value, &Field::SPEC.key(name), findings) {
        Some(Section { value, .. }) => Ok(Some(value)),
        None => Err(()),
    }
}

fn read_senders(senders: &[Value], findings: &mut Findings<'_>) -> Vec<SenderReading> {
    let at = Field::SPEC.key("senders");
    let read = |(index, value): (usize, &Value)| match section::read(value, &at.index(index), findings) {
        Some(section) => SenderReading::Read(section),
        None => SenderReading::Unreadable(value.clone()),
    };
    senders.iter().enumerate().map(read).collect()
}

/// Reads a `match` entry by entry.
fn read_match(value: Option<&Value>, findings: &mut Findings<'_>) -> MatchReading {
    let (at, mark) = (Field::SPEC.key("match"), findings.mark());
    let Some(Value::Object(members)) = value else {
        findings.invalid(&at, if value.is_some() { "`match` must be a mapping with `hosts`" } else { "`match` with `hosts` is missing" });
        return MatchReading::default();
    };
    report_unknown(members, &["hosts", "paths", "ignorePathCase"], &at, findings);
    if !members.contains_key("hosts") {
        findings.invalid(&at, "`hosts` is missing; name at least one");
    }
    let hosts = read_entries(members.get("hosts"), &at.key("hosts"), findings);
    let paths = members.get("paths").map(|paths| read_entries(Some(paths), &at.key("paths"), findings));
    let ignore_path_case = members.get("ignorePathCase").and_then(|value| section::read::<bool>(value, &at.key("ignorePathCase"), findings));
    MatchReading { hosts, paths, ignore_path_case: ignore_path_case.is_some_and(|section| section.value), is_whole: !findings.has_errors_since(mark) }
}

fn read_entries<T: serde::de::DeserializeOwned>(value: Option<&Value>, at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<(usize, T)> {
    match value {
        None => Vec::new(),
        Some(Value::Array(items)) if !items.is_empty() => {
            let read = |(index, item)| {
                section::read(item, &at.index(index), findings).filter(|section| section.is_whole).map(|section| (index, section.value))
            };
            items.iter().enumerate().filter_map(read).collect()
        }
        Some(Value::Array(_)) => {
            findings.invalid(at, "an empty list means nothing; give it an item, or leave the field out");
            Vec::new()
        }
        Some(Value::Null) => {
            findings.invalid(at, "null is no value; leave the field out, or give it one");
            Vec::new()
        }
        Some(_) => {
            findings.invalid(at, "must be a list");
            Vec::new()
        }
    }
}
