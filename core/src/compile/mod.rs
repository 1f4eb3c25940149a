//! From the whole set of resources to a [`PolicySet`] and one report per object: deterministic, without I/O.
//!
//! Live behaviour is a function of the current objects, never of the order in which they came.

mod api_key;
mod call_automation;
mod conflicts;
mod context;
mod event_grid;
mod finding_reason;
mod findings;
mod forward;
mod host_grants;
mod jwt;
mod matches;
mod names;
mod network;
mod policies;
mod quotas;
mod ranges;
mod references;
mod section;
mod senders;
mod sources;
mod spec;
mod strict;
mod token;
mod url;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{Kind, Location, Object, ObjectKey},
    decide::{Floor, Grants, KeySetId, Policy, PolicySet, PolicySetParts, SharedId, Unmatched},
};

use conflicts::Settled;
use context::Context;
use findings::{Field, Findings, reasons};
use policies::{ClusterDraft, Draft};
use quotas::KeySets;
use ranges::NamedRanges;
use references::References;

pub use call_automation::{ACS_ISSUER, ACS_OPENID_CONFIGURATION};
pub use conflicts::shared_place;
pub use finding_reason::FindingReason;
pub use ranges::BUILT_IN_RANGES;

/// What the operator set that changes how resources are compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--unmatched`.
    pub unmatched: Unmatched,
    /// `--host-ownership granted`.
    pub hosts_are_granted: bool,
    /// `--resource-namespace`: where Secrets and ConfigMaps of cluster-scoped resources live.
    pub resource_namespace: Box<str>,
    /// `--issuer-origins`: `scheme://host[:port]` that key sets may be fetched from; `None` = any https origin.
    pub issuer_origins: Option<Vec<Box<str>>>,
    /// `--insecure-http-issuers`: `http` URLs are taken, too.
    pub insecure_http_issuers: bool,
    /// The reuse store is this process's own while several replicas may run (warning `ReusePerReplica`).
    pub reuse_per_replica: bool,
}

/// As for a folder, with nothing set.
impl Default for Options {
    fn default() -> Self {
        Self {
            unmatched: Unmatched::default(),
            hosts_are_granted: false,
            resource_namespace: "ringfence".into(),
            issuer_origins: None,
            insecure_http_issuers: false,
            reuse_per_replica: false,
        }
    }
}

/// What objects name and is not read, since nobody permitted it or it is too much. Empty for a folder.
#[derive(Clone, Debug, Default)]
pub struct Withheld {
    /// Secrets, by namespace and name.
    pub secrets: BTreeSet<(Box<str>, Box<str>)>,
    /// ConfigMaps, by namespace and name.
    pub config_maps: BTreeSet<(Box<str>, Box<str>)>,
    /// Secrets that are not asked for, since their namespace names too many.
    pub left_out_secrets: BTreeSet<(Box<str>, Box<str>)>,
    /// ConfigMaps likewise.
    pub left_out_config_maps: BTreeSet<(Box<str>, Box<str>)>,
    /// Who may not read them, as the flag of `kubectl create rolebinding` that names it.
    pub reader: Box<str>,
}

/// What came of compiling a set of objects.
#[derive(Debug)]
pub struct Compiled {
    /// What the live path looks up.
    pub policies: PolicySet,
    /// One report for each of our kinds' objects, in the order of their keys.
    pub reports: Vec<Report>,
    /// The key sets to keep fetched, within the quotas; ACS's own is always one of them.
    pub key_sets: BTreeSet<Arc<KeySetId>>,
    /// How many ranges each set of source ranges has, the built-in ones included; 0 for one that cannot be used.
    pub source_ranges: BTreeMap<Box<str>, usize>,
}

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which one.
    pub object: ObjectKey,
    /// `metadata.uid` of the one that was compiled: another object may have the same name later.
    pub uid: Box<str>,
    /// The generation that was compiled.
    pub generation: i64,
    /// What is to be said about it. No error = it is in force as written.
    pub findings: Vec<Finding>,
    /// Of a policy with senders: whether they ask for a token. `None` for everything else.
    pub authentication: Option<Authentication>,
    /// Of a set of source ranges that can be used: how many it has, overlapping ones counted once.
    pub ranges: Option<usize>,
}

/// Whether whoever satisfies a policy has shown a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Every sender asks for one.
    Token,
    /// These senders ask for none; an address or a shared key is all that they go by.
    NoToken(Vec<Box<str>>),
    /// Some sender cannot be read, so nobody can tell; it lets nobody by.
    Unknown,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object, or a part of it, is not in force.
    Error,
    /// It is in force, and probably not what was meant.
    Warning,
}

/// One thing to say about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious.
    pub severity: Severity,
    /// Why it is said.
    pub reason: FindingReason,
    /// The field, as `spec.senders[0].callAutomation.audiences[1]`; empty = the object as a whole.
    pub field: String,
    /// What is wrong and what to do, lower case, no full stop.
    pub message: String,
    /// Where the field stands, if the object came from a file.
    pub location: Option<Location>,
}

/// Compiles `objects`. Their order does not matter.
#[must_use]
pub fn compile(objects: &[Object], options: &Options) -> Compiled {
    compile_with(objects, &Withheld::default(), options)
}

/// The same where some of what they name is `withheld`.
#[must_use]
pub fn compile_with(objects: &[Object], withheld: &Withheld, options: &Options) -> Compiled {
    let (objects, mut reports) = take_once(objects);
    let references = References::new(&objects, withheld);
    let mut ranges = NamedRanges::built_in();
    for object in of_kind(&objects, Kind::SourceRangeSet) {
        let mut findings = Findings::new(object);
        ranges.add(object, &references, &options.resource_namespace, &mut findings);
        reports.push(Report { ranges: ranges.count(&object.key.name), ..findings.into_report() });
    }
    let source_ranges = ranges.sizes();
    let mut grants = Grants::default();
    for object in of_kind(&objects, Kind::HostGrant) {
        let mut findings = Findings::new(object);
        host_grants::compile_host_grant(object, &mut grants, &mut findings);
        reports.push(findings.into_report());
    }
    let mut context = Context::new(options, references, ranges, options.hosts_are_granted.then_some(grants));
    let (mut fallbacks, mut floors) = (Vec::new(), Vec::new());
    for object in of_kind(&objects, Kind::ClusterCallbackPolicy) {
        match policies::compile_cluster_policy(object, &mut context) {
            ClusterDraft::Fallback(draft) => fallbacks.push(*draft),
            ClusterDraft::Floor(floor, findings) => {
                floors.push(*floor);
                reports.push(findings.into_report());
            }
        }
    }
    let drafts = of_kind(&objects, Kind::CallbackPolicy).map(|object| policies::compile_policy(object, &mut context)).collect();
    let (parts, key_sets) = assemble(drafts, fallbacks, floors, &mut context, &mut reports);
    reports.sort_by(|a, b| a.object.cmp(&b.object));
    let parts = PolicySetParts { grants: context.grants, unmatched: options.unmatched, config_hash: hash(&objects), ..parts };
    Compiled { policies: PolicySet::new(parts), reports, key_sets, source_ranges }
}

/// The objects in the order of their keys, each key once: of several with one key the first by file and document counts, and the others are
/// reported.
fn take_once(objects: &[Object]) -> (Vec<&Object>, Vec<Report>) {
    let place = |object: &Object| object.origin.as_ref().map(|origin| origin.locate(""));
    let mut all: Vec<(&Object, Option<Location>)> = objects.iter().map(|object| (object, place(object))).collect();
    all.sort_by(|(a, a_place), (b, b_place)| (&a.key, a_place, &a.resource_version).cmp(&(&b.key, b_place, &b.resource_version)));
    let mut once: Vec<&Object> = Vec::with_capacity(all.len());
    let mut reports = Vec::new();
    let mut first_place = None;
    for (object, place) in all {
        if once.last().is_none_or(|last| last.key != object.key) {
            once.push(object);
            first_place = place;
            continue;
        }
        let mut findings = Findings::new(object);
        let first = first_place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let here = place.map(|place| format!(" at {place}")).unwrap_or_default();
        let message = format!("`{}` is there twice, first{first} and again{here}; the first one counts: rename or remove the other", object.key);
        findings.error(&Field::OBJECT.key("metadata").key("name"), reasons::DUPLICATE, message);
        reports.push(findings.into_report());
    }
    (once, reports)
}

fn of_kind<'s, 'o>(objects: &'s [&'o Object], kind: Kind) -> impl Iterator<Item = &'o Object> + use<'s, 'o> {
    objects.iter().copied().filter(move |object| Kind::of(&object.api_version, &object.key.kind) == Some(kind))
}

/// Settles who holds which place and which key sets are kept, and sorts the drafts accordingly.
fn assemble(
    drafts: Vec<Draft<'_>>,
    fallbacks: Vec<Draft<'_>>,
    floors: Vec<Floor>,
    context: &mut Context<'_>,
    reports: &mut Vec<Report>,
) -> (PolicySetParts, BTreeSet<Arc<KeySetId>>) {
    let mut parts = PolicySetParts { floors, ..PolicySetParts::default() };
    let mut key_sets = KeySets::new(context);
    let (policies, fallbacks) = (conflicts::settle(drafts), conflicts::settle(fallbacks));
    // The operator's own come first.
    for (Settled { holders, losers }, is_fallback) in [(fallbacks, true), (policies, false)] {
        let list = if is_fallback { &mut parts.fallbacks } else { &mut parts.holders };
        list.reserve_exact(holders.len());
        for mut draft in holders {
            if !draft.policy.matches.hosts.is_empty() {
                key_sets.reserve(&mut draft);
            }
            let policy = conclude(draft, &mut parts.unreadable, reports);
            // Without a host that it may speak for it belongs nowhere.
            list.extend((!policy.matches.hosts.is_empty()).then_some(policy));
        }
        for (mut draft, held) in losers {
            if !held.is_empty() {
                key_sets.reserve(&mut draft);
            }
            let policy = conclude(draft, &mut parts.unreadable, reports);
            list.extend(held.into_iter().map(|matches| Policy { matches, ..policy.clone() }));
            parts.pinnable.extend((!is_fallback).then_some(policy));
        }
    }
    (parts, key_sets.into_kept())
}

/// Takes note of what is said about a draft and whether it can be read.
fn conclude(draft: Draft<'_>, unreadable: &mut Vec<SharedId>, reports: &mut Vec<Report>) -> Policy {
    let Draft { policy, is_unreadable, findings, .. } = draft;
    reports.push(findings.into_report());
    if is_unreadable {
        unreadable.push(policy.id.clone());
    }
    policy
}

/// The same for the same objects on every replica: made of uid and generation, for Secrets and `ConfigMap`s of the resourceVersion.
fn hash(objects: &[&Object]) -> u64 {
    let mut text = String::new();
    for object in objects {
        let Object { key, uid, generation, resource_version, .. } = object;
        let is_ours = Kind::of(&object.api_version, &key.kind).is_some_and(Kind::is_ours);
        // Files have no generation; there the content speaks for itself.
        let version = if is_ours && *generation > 0 { generation.to_string() } else { resource_version.to_string() };
        text.push_str(&format!("{key} {uid} {version}\n"));
    }
    let digest = references::sha256(text.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
