//! From the whole set of resources to a [`PolicySet`] and one report per object: deterministic, without I/O.
//!
//! Live behaviour is a function of the current objects, never of the order in which they came.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    api::{Location, Object, ObjectKey},
    decide::{KeySetId, PolicySet, Unmatched},
};

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

/// What came of compiling a set of objects.
#[derive(Debug)]
pub struct Compiled {
    /// What the live path looks up.
    pub policies: PolicySet,
    /// One report for each of our kinds' objects, in the order of their keys.
    pub reports: Vec<Report>,
    /// The key sets to keep fetched, within the quotas; ACS's own is always one of them.
    pub key_sets: BTreeSet<Arc<KeySetId>>,
}

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which one.
    pub object: ObjectKey,
    /// The generation that was compiled.
    pub generation: i64,
    /// What is to be said about it. No error = it is in force as written.
    pub findings: Vec<Finding>,
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
    /// The condition's reason: `Invalid`, `Conflicted`, `HostNotGranted`, `SecretNotFound`, `ReusePerReplica`, ...
    pub reason: &'static str,
    /// The field, as `spec.senders[0].callAutomation.audiences[1]`; empty = the object as a whole.
    pub field: String,
    /// What is wrong and what to do, lower case, no full stop.
    pub message: String,
    /// Where the field stands, if the object came from a file.
    pub location: Option<Location>,
}

/// Compiles `objects`.
#[must_use]
pub fn compile(_objects: &[Object], _options: &Options) -> Compiled {
    Compiled { policies: PolicySet::default(), reports: Vec::new(), key_sets: BTreeSet::new() }
}
