//! Where resources come from, and the one way a change of configuration goes live: objects → compile → swap → publish.
//!
//! - [`kubernetes`]: an API server, whose objects are listed and watched.
//! - [`files`]: a folder of YAML, read whole, with positions, and followed as it changes.
//! - [`Configuration`]: what is in force. `serve`, `demo`, `check` and the tests all go through it.
//!
//! Must not know what policies mean ([`ringfence_core::compile`]) or who looks at them ([`crate::check`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use ringfence_core::{
    api::Object,
    compile::{self, Compiled, Finding, Options, Report, Severity, Withheld},
    decide::{KeySetId, PolicySet, PolicySetParts},
};
use tokio::sync::watch;

pub(crate) use self::yaml::read as read_yaml;

mod document;
pub mod files;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod kubernetes;
mod yaml;

/// Most findings and errors that one reload writes to the log; the rest is counted.
const MOST_LOGGED: usize = 50;

/// Something in a source that cannot be read, or that is read and probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct SourceError {
    /// The file or folder, as shown to people.
    pub file: Arc<str>,
    /// Which document of the file, from 1; `None` = the file as a whole.
    pub document: Option<usize>,
    /// Which line of the file, from 1.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What came of the last changes: published whenever one was taken or refused.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The policies now in force.
    pub policies: Arc<PolicySet>,
    /// One report per object of the policies in force.
    pub reports: Arc<[Report]>,
    /// The key sets to keep fetched for them.
    pub key_sets: Arc<BTreeSet<Arc<KeySetId>>>,
    /// How many ranges each set of source ranges has.
    pub source_ranges: Arc<BTreeMap<Box<str>, usize>>,
    /// Why the newest change was refused, and the one before it stays in force; empty = the newest change is in force.
    pub refused: Arc<[SourceError]>,
    /// How many changes were taken since the start, the first one included.
    pub taken_count: u64,
    /// How many changes were refused since the start.
    pub refused_count: u64,
}

/// What is in force. Readers take a snapshot of the policies for each check; whoever needs to act on a change subscribes.
#[derive(Debug)]
pub struct Configuration {
    options: Options,
    policies: Arc<ArcSwap<PolicySet>>,
    published: watch::Sender<Published>,
    /// Changes go live one after the other.
    turn: Mutex<()>,
}

impl Configuration {
    /// What `objects` come to under `options`.
    #[must_use]
    pub fn new(objects: &[Object], options: Options) -> Self {
        let configuration = Self::pending(options);
        configuration.take(objects);
        configuration
    }

    /// A configuration that nothing was read for yet: until then nothing is decided.
    #[must_use]
    pub fn pending(options: Options) -> Self {
        let pending = PolicySet::new(PolicySetParts { is_pending: true, ..PolicySetParts::default() });
        Self {
            options,
            policies: Arc::new(ArcSwap::from_pointee(pending)),
            published: watch::Sender::new(Published::default()),
            turn: Mutex::new(()),
        }
    }

    /// The policies in force, swapped as a whole by every change.
    #[must_use]
    pub fn policies(&self) -> Arc<ArcSwap<PolicySet>> {
        Arc::clone(&self.policies)
    }

    /// What was published last.
    #[must_use]
    pub fn current(&self) -> Published {
        self.published.borrow().clone()
    }

    /// What is published from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Puts `objects` in force: all of them, in place of all that were. Work for the blocking pool when there are many.
    pub fn take(&self, objects: &[Object]) {
        self.take_prepared(objects, &Withheld::default(), |_| {});
    }

    /// Like [`Self::take`], where some of what they name is `withheld`, but calls `prepare` with the key sets that are wanted from then on, before anything is in force.
    pub fn take_prepared(&self, objects: &[Object], withheld: &Withheld, prepare: impl FnOnce(&BTreeSet<Arc<KeySetId>>)) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Compiled { policies, reports, key_sets, source_ranges } = compile::compile_with(objects, withheld, &self.options);
        log_reports(&reports);
        prepare(&key_sets);
        let policies = Arc::new(policies);
        self.policies.store(Arc::clone(&policies));
        self.published.send_modify(|published| {
            *published = Published {
                policies,
                reports: reports.into(),
                key_sets: Arc::new(key_sets),
                source_ranges: Arc::new(source_ranges),
                refused: Arc::default(),
                taken_count: published.taken_count + 1,
                refused_count: published.refused_count,
            };
        });
    }

    /// Says that a change cannot be read: what is in force stays.
    pub fn refuse(&self, errors: Vec<SourceError>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::error!(errors = errors.len(), "the changed configuration cannot be read; the last good one stays in force");
        for error in errors.iter().take(MOST_LOGGED) {
            tracing::error!("{error}");
        }
        self.published.send_modify(|published| {
            published.refused = errors.into();
            published.refused_count += 1;
        });
    }
}

/// Writes what is to be said about the objects to the log, up to a bound.
fn log_reports(reports: &[Report]) {
    let count = |severity| reports.iter().flat_map(|report| &report.findings).filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let findings = reports.iter().flat_map(|report| report.findings.iter().map(move |finding| (report, finding)));
    for (report, finding) in findings.take(MOST_LOGGED) {
        let Finding { severity, reason, field, message, location } = finding;
        let (reason, place) = (reason.name(), location.as_ref().map(ToString::to_string).unwrap_or_default());
        match severity {
            Severity::Error => tracing::error!(object = %report.object, reason, field, place, "{message}"),
            Severity::Warning => tracing::warn!(object = %report.object, reason, field, place, "{message}"),
        }
    }
    tracing::info!(objects = reports.len(), errors, warnings, "configuration in force");
}

#[cfg(test)]
mod tests;
