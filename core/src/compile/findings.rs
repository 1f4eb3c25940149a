//! What there is to say about one object, and where in it.

use std::fmt;

use crate::api::Object;

use super::{Authentication, Finding, FindingReason, Report, Severity};

/// The reasons of findings, under short names.
pub(super) mod reasons {
    use super::FindingReason;

    pub(in crate::compile) const INVALID: FindingReason = FindingReason::Invalid;
    pub(in crate::compile) const NOT_SUPPORTED: FindingReason = FindingReason::NotSupported;
    pub(in crate::compile) const DUPLICATE: FindingReason = FindingReason::Duplicate;
    pub(in crate::compile) const CONFLICTED: FindingReason = FindingReason::Conflicted;
    pub(in crate::compile) const HOST_NOT_GRANTED: FindingReason = FindingReason::HostNotGranted;
    pub(in crate::compile) const ISSUER_NOT_ALLOWED: FindingReason = FindingReason::IssuerNotAllowed;
    pub(in crate::compile) const KEY_SET_QUOTA: FindingReason = FindingReason::KeySetQuota;
    pub(in crate::compile) const SECRET_NOT_FOUND: FindingReason = FindingReason::SecretNotFound;
    pub(in crate::compile) const SECRET_NOT_PERMITTED: FindingReason = FindingReason::SecretNotPermitted;
    pub(in crate::compile) const INVALID_SECRET: FindingReason = FindingReason::InvalidSecret;
    pub(in crate::compile) const PARTIALLY_RESOLVED: FindingReason = FindingReason::PartiallyResolved;
    pub(in crate::compile) const CONFIG_MAP_NOT_FOUND: FindingReason = FindingReason::ConfigMapNotFound;
    pub(in crate::compile) const INVALID_CONFIG_MAP: FindingReason = FindingReason::InvalidConfigMap;
    pub(in crate::compile) const RANGE_SET_NOT_FOUND: FindingReason = FindingReason::SourceRangeSetNotFound;
    pub(in crate::compile) const INVALID_RANGE_SET: FindingReason = FindingReason::InvalidSourceRangeSet;
    pub(in crate::compile) const REUSE_PER_REPLICA: FindingReason = FindingReason::ReusePerReplica;
    pub(in crate::compile) const LIKELY_MISTAKE: FindingReason = FindingReason::LikelyMistake;
}

/// A field of an object: what is written as `spec.senders[0].name`. Kept as a chain on the stack, so that it costs nothing until it is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'f> {
    parent: Option<&'f Field<'f>>,
    step: Step<'f>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'f> {
    /// The object itself.
    Object,
    Key(&'f str),
    Index(usize),
}

impl<'f> Field<'f> {
    /// The object as a whole.
    pub(super) const OBJECT: Field<'static> = Field { parent: None, step: Step::Object };
    /// Its `spec`.
    pub(super) const SPEC: Field<'static> = Field { parent: Some(&Self::OBJECT), step: Step::Key("spec") };

    /// A member of this one.
    pub(super) const fn key(&'f self, key: &'f str) -> Field<'f> {
        Field { parent: Some(self), step: Step::Key(key) }
    }

    /// An item of this one.
    pub(super) const fn index(&'f self, index: usize) -> Field<'f> {
        Field { parent: Some(self), step: Step::Index(index) }
    }

    /// The JSON pointer (RFC 6901).
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Field::pointer).unwrap_or_default();
        match self.step {
            Step::Object => {}
            Step::Key(key) => pointer.extend(["/", &key.replace('~', "~0").replace('/', "~1")]),
            Step::Index(index) => pointer.push_str(&format!("/{index}")),
        }
        pointer
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Object => Ok(()),
            Step::Key(key) if self.parent.is_some_and(|parent| matches!(parent.step, Step::Object)) => write!(f, "{}", key.escape_debug()),
            Step::Key(key) => write!(f, ".{}", key.escape_debug()),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Most findings of one object that are said; the rest is counted.
pub(super) const MOST: usize = 100;

/// How much was found so far, to ask what was found since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    errors: usize,
    /// Those of them that are of a Secret's key.
    of_secrets: usize,
}

/// The findings of one object. However many there are, each error counts.
#[derive(Debug)]
pub(super) struct Findings<'o> {
    object: &'o Object,
    list: Vec<Finding>,
    count: Mark,
    left_out: usize,
    authentication: Option<Authentication>,
}

impl<'o> Findings<'o> {
    pub(super) fn new(object: &'o Object) -> Self {
        Self { object, list: Vec::new(), count: Mark::default(), left_out: 0, authentication: None }
    }

    pub(super) fn error(&mut self, at: &Field<'_>, reason: FindingReason, message: impl Into<String>) {
        self.count.errors += 1;
        self.count.of_secrets += usize::from(reason == reasons::INVALID_SECRET);
        self.push(Severity::Error, at, reason, message);
    }

    pub(super) fn invalid(&mut self, at: &Field<'_>, message: impl Into<String>) {
        self.error(at, reasons::INVALID, message);
    }

    pub(super) fn warning(&mut self, at: &Field<'_>, reason: FindingReason, message: impl Into<String>) {
        self.push(Severity::Warning, at, reason, message);
    }

    fn push(&mut self, severity: Severity, at: &Field<'_>, reason: FindingReason, message: impl Into<String>) {
        if self.list.len() >= MOST {
            self.left_out += 1;
            return;
        }
        let location = self.object.origin.as_ref().map(|origin| origin.locate(&at.pointer()));
        self.list.push(Finding { severity, reason, field: at.to_string(), message: message.into(), location });
    }

    /// Says whether the policy's senders ask for a token.
    pub(super) fn authentication(&mut self, authentication: Authentication) {
        self.authentication = Some(authentication);
    }

    pub(super) fn mark(&self) -> Mark {
        self.count
    }

    /// Whether an error was found since `mark`.
    pub(super) fn has_errors_since(&self, mark: Mark) -> bool {
        self.count != mark
    }

    /// Whether an error was found since `mark` that is not of a Secret's key.
    pub(super) fn has_errors_but_of_secrets_since(&self, mark: Mark) -> bool {
        self.count.errors - mark.errors > self.count.of_secrets - mark.of_secrets
    }

    /// The first error at `at` or below it, as one line for whoever asks why it is not in force.
    pub(super) fn problem_under(&self, at: &Field<'_>) -> Box<str> {
        let prefix = at.to_string();
        self.first_problem(|field| field.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
    }

    /// The first error anywhere but below `but`, as one line for whoever asks why the object is not in force.
    pub(super) fn problem_outside(&self, but: &Field<'_>) -> Box<str> {
        let prefix = format!("{but}[");
        self.first_problem(|field| !field.starts_with(&prefix))
    }

    fn first_problem(&self, is_wanted: impl Fn(&str) -> bool) -> Box<str> {
        let is_problem =
            |finding: &&Finding| finding.severity == Severity::Error && finding.reason != reasons::HOST_NOT_GRANTED && is_wanted(&finding.field);
        match self.list.iter().find(is_problem) {
            Some(Finding { field, message, .. }) => format!("{field}: {message}").into(),
            None => "it cannot be read".into(),
        }
    }

    /// The report, its findings in the order of their places.
    pub(super) fn into_report(mut self) -> Report {
        self.list.sort_by(|a, b| (&a.location, a.severity).cmp(&(&b.location, b.severity)));
        if self.left_out > 0 {
            let message = format!("{} more findings are left out; put these right first", self.left_out);
            let said = self.list.iter().filter(|finding| finding.severity == Severity::Error).count();
            let severity = if self.count.errors > said { Severity::Error } else { Severity::Warning };
            let field = String::new();
            let reason = if severity == Severity::Error { reasons::INVALID } else { reasons::LIKELY_MISTAKE };
            self.list.push(Finding { severity, reason, field, message, location: None });
        }
        let Self { object, list: findings, authentication, .. } = self;
        Report { object: object.key.clone(), uid: object.uid.clone(), generation: object.generation, findings, authentication, ranges: None }
    }
}

/// User input as it stands in a message: without control characters, and cut where it is long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
