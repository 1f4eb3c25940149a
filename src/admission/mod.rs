//! What is said about an object before it is stored: the same compiler as on the live path, without network, Secrets or `ConfigMap`s.
//!
//! Refused is what is wrong with the object itself and no other object could put right. What depends on others (a grant, another policy, the
//! operator's settings) is warned of: objects may be applied in any order. What only a reader of Secrets and `ConfigMap`s can tell is for the
//! status. The webhook's own certificates are kept here, too (`certificates`, `keeper`). Must not know: how it is asked.

mod certificates;
mod keeper;

pub use keeper::{KeeperParts, LOOK_EVERY, keep, secret_name};

use std::sync::Arc;

use arc_swap::ArcSwap;
use kube::core::{
    DynamicObject, Status,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, META_API_VERSION_V1, Operation},
    response::{StatusCause, StatusDetails, StatusSummary},
};
use ringfence_core::{
    api::{Kind, Object, ObjectKey},
    compile::{self, Finding, FindingReason, Options, Severity},
    decide::{Policy, PolicySet},
};

use crate::listen::Review;

/// Most things that one refusal names, and most warnings.
const MOST_SAID: usize = 10;
/// Longest warning, in characters; the API server may cut longer ones.
const LONGEST_WARNING: usize = 256;

/// Reviews objects.
#[derive(Debug)]
pub struct Reviewer {
    options: Options,
    live: Arc<ArcSwap<PolicySet>>,
}

/// An answer, and what it comes to.
#[derive(Debug)]
pub struct Reviewed {
    /// An `AdmissionReview` as JSON.
    pub body: Vec<u8>,
    /// Whether the object may be stored.
    pub is_allowed: bool,
}

/// What was asked is no review.
#[derive(Debug, thiserror::Error)]
#[error("this is no AdmissionReview of `admission.k8s.io/v1` with a request: {0}")]
pub struct ReviewError(String);

/// What there is to say about an object.
#[derive(Debug, Default)]
struct Judgement {
    refusals: Vec<Finding>,
    warnings: Vec<String>,
}

/// What a finding means before its object is stored.
enum Weight {
    /// It is wrong by itself.
    Refused,
    /// It depends on others, or is meant seldom.
    Warned,
    /// It cannot be told here.
    Unknown,
}

impl Reviewer {
    /// A reviewer that judges as `options` say, and compares with what `live` has in force.
    #[must_use]
    pub fn new(options: Options, live: Arc<ArcSwap<PolicySet>>) -> Self {
        // Grants are not among the objects of a review; they are looked up in what is in force.
        Self { options: Options { hosts_are_granted: false, ..options }, live }
    }

    /// Answers an `AdmissionReview`.
    ///
    /// # Errors
    /// [`ReviewError`]; whoever asks decides what that means (`failurePolicy`).
    pub fn review(&self, body: &[u8]) -> Result<Reviewed, ReviewError> {
        let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body).map_err(|error| ReviewError(error.to_string()))?;
        if review.types.api_version != META_API_VERSION_V1 {
            return Err(ReviewError(format!("it is of `{}`", review.types.api_version.chars().take(100).collect::<String>())));
        }
        let request: AdmissionRequest<DynamicObject> = review.try_into().map_err(|_| ReviewError("there is no request in it".to_owned()))?;
        let Judgement { refusals, warnings } = self.judge(&request);
        let mut response = AdmissionResponse::from(&request);
        response.warnings = (!warnings.is_empty()).then_some(warnings);
        response.allowed = refusals.is_empty();
        if !response.allowed {
            response.result = refusal(&request, &refusals);
        }
        let is_allowed = response.allowed;
        let body = serde_json::to_vec(&response.into_review()).map_err(|error| ReviewError(error.to_string()))?;
        Ok(Reviewed { body, is_allowed })
    }

    fn judge(&self, request: &AdmissionRequest<DynamicObject>) -> Judgement {
        let AdmissionRequest { kind, sub_resource, operation, object, old_object, namespace, name, .. } = request;
        let is_written = match operation {
            Operation::Create | Operation::Update => sub_resource.as_deref().is_none_or(str::is_empty),
            Operation::Delete | Operation::Connect => false,
        };
        let kind = Kind::of(&format!("{}/{}", kind.group, kind.version), &kind.kind).filter(|kind| kind.is_ours());
        // Whoever is being deleted only loses its finalizers.
        let object = object.as_ref().filter(|object| is_written && object.metadata.deletion_timestamp.is_none());
        let Some((kind, object)) = kind.zip(object) else { return Judgement::default() };
        let key = ObjectKey { kind: kind.name().into(), namespace: namespace.as_deref().unwrap_or_default().into(), name: name.as_str().into() };
        let mut judgement = self.judge_object(key, kind, object);
        if old_object.as_ref().is_some_and(|old| old.data.get("spec") == object.data.get("spec")) {
            // It stands there already: a label or a finalizer must still be able to change.
            judgement.warnings.extend(judgement.refusals.drain(..).map(|finding| warning(&finding)));
        }
        judgement.warnings.truncate(MOST_SAID);
        judgement
    }

    fn judge_object(&self, key: ObjectKey, kind: Kind, object: &DynamicObject) -> Judgement {
        let raw = match serde_json::to_value(object) {
            Ok(raw) => Arc::new(raw),
            Err(_) => return Judgement::default(),
        };
        let object = Object {
            key,
            api_version: kind.api_version().into(),
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            resource_version: "".into(),
            created: None,
            raw,
            origin: None,
        };
        let compiled = compile::compile(std::slice::from_ref(&object), &self.options);
        let mut judgement = Judgement::default();
        for finding in compiled.reports.into_iter().flat_map(|report| report.findings) {
            match weigh(finding.reason) {
                Weight::Refused if finding.severity == Severity::Error => judgement.refusals.push(finding),
                Weight::Refused | Weight::Warned => judgement.warnings.push(warning(&finding)),
                Weight::Unknown => {}
            }
        }
        if kind == Kind::CallbackPolicy {
            judgement.warnings.extend(compiled.policies.parts().holders.iter().flat_map(|policy| self.compare(policy)));
        }
        judgement
    }

    /// What is in force already that keeps this policy from what it asks for.
    fn compare(&self, policy: &Policy) -> Vec<String> {
        let live = self.live.load();
        let parts = live.parts();
        let namespace = &policy.id.namespace;
        let mut said = Vec::new();
        let mut matches = policy.matches.clone();
        if let Some(grants) = &parts.grants {
            let (granted, refused): (Vec<_>, Vec<_>) = matches.hosts.iter().cloned().partition(|host| grants.permits_pattern(host, namespace));
            // Whoever may not speak for a host learns nothing of those who may.
            matches.hosts = granted.into();
            said.extend(refused.iter().map(|host| {
                cut(format!("spec.match.hosts: no HostGrant lets namespace `{namespace}` speak for `{host}`; the policy counts there once one does"))
            }));
        }
        let is_other = |other: &&Policy| (&other.id.namespace, &other.id.name) != (namespace, &policy.id.name);
        let place = parts.holders.iter().filter(is_other).find_map(|other| compile::shared_place(&matches, &other.matches));
        // Which one it is, the status says: who asks here may be anybody, in whatever namespace's name.
        said.extend(place.map(|place| cut(format!("spec.match: another policy already has {place}; the older one keeps it"))));
        said
    }
}

impl Review for Reviewer {
    fn review(&self, body: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let Reviewed { body, is_allowed } = Self::review(self, body).map_err(|error| error.to_string())?;
        Ok((body, is_allowed))
    }
}

/// Every reason has its weight.
const fn weigh(reason: FindingReason) -> Weight {
    match reason {
        FindingReason::Invalid | FindingReason::NotSupported | FindingReason::Duplicate => Weight::Refused,
        FindingReason::HostNotGranted
        | FindingReason::Conflicted
        | FindingReason::IssuerNotAllowed
        | FindingReason::KeySetQuota
        | FindingReason::ReusePerReplica
        | FindingReason::LikelyMistake => Weight::Warned,
        FindingReason::SecretNotFound
        | FindingReason::SecretNotPermitted
        | FindingReason::InvalidSecret
        | FindingReason::ConfigMapNotFound
        | FindingReason::InvalidConfigMap
        | FindingReason::SourceRangeSetNotFound
        | FindingReason::InvalidSourceRangeSet
        | FindingReason::PartiallyResolved => Weight::Unknown,
    }
}

fn say(Finding { field, message, .. }: &Finding) -> String {
    if field.is_empty() { message.clone() } else { format!("{field}: {message}") }
}

fn warning(finding: &Finding) -> String {
    cut(say(finding))
}

fn cut(text: String) -> String {
    if text.chars().nth(LONGEST_WARNING).is_none() {
        return text;
    }
    text.chars().take(LONGEST_WARNING - 1).chain(['…']).collect()
}

/// As the API server says of its own that a field is not valid (422).
fn refusal(request: &AdmissionRequest<DynamicObject>, findings: &[Finding]) -> Status {
    let mut message = findings.iter().take(MOST_SAID).map(say).collect::<Vec<_>>().join("; ");
    if let Some(more) = findings.len().checked_sub(MOST_SAID).filter(|more| *more > 0) {
        message.push_str(&format!("; and {more} more"));
    }
    let cause =
        |finding: &Finding| StatusCause { reason: "FieldValueInvalid".to_owned(), message: finding.message.clone(), field: finding.field.clone() };
    let causes = findings.iter().take(MOST_SAID).map(cause).collect();
    Status {
        status: Some(StatusSummary::Failure),
        code: 422,
        message,
        reason: "Invalid".to_owned(),
        metadata: None,
        details: Some(StatusDetails {
            name: request.name.clone(),
            group: request.kind.group.clone(),
            kind: request.kind.kind.clone(),
            uid: String::new(),
            causes,
            retry_after_seconds: 0,
        }),
    }
}

#[cfg(test)]
mod tests;
