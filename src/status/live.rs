//! An object as it is on the API server, as far as its status goes, and whether a report has something to say that does not stand there yet.
//!
//! Pure. Must not know: how objects are read or written.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::core::DynamicObject;
use ringfence_core::compile::Report;
use serde_json::{Value, json};

use super::conditions::{ConditionType, conditions, say_the_same};

/// What is known of an object on the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub(super) uid: String,
    pub(super) generation: i64,
    resource_version: String,
    conditions: Vec<Condition>,
}

/// What to do about an object's status.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// It says what the report says.
    Unchanged,
    /// The object, or its status, is newer than the report: another report will come, or another replica knows more.
    Behind,
    /// This is to be applied.
    Write(Box<Value>),
}

impl From<&DynamicObject> for Live {
    fn from(object: &DynamicObject) -> Self {
        // Conditions that somebody else made unreadable count as none: ours are written anew.
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        let conditions = conditions.into_iter().flatten().filter_map(|condition| serde_json::from_value(condition.clone()).ok()).collect();
        let metadata = &object.metadata;
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            conditions,
        }
    }
}

impl Live {
    /// What to do so that the object's status says what `report` says. What is applied fails unless the object is still as it was here, so that
    /// nobody's newer word is overwritten.
    pub(super) fn plan(&self, report: &Report, now: Timestamp) -> Plan {
        if *self.uid != *report.uid || self.generation > report.generation || self.observed() > report.generation {
            return Plan::Behind;
        }
        let wanted = conditions(report, &self.conditions, now);
        if say_the_same(&wanted, &self.conditions) {
            return Plan::Unchanged;
        }
        Plan::Write(Box::new(json!({
            "apiVersion": ringfence_core::api::API_VERSION,
            "kind": &*report.object.kind,
            "metadata": {"name": &*report.object.name, "uid": self.uid, "resourceVersion": self.resource_version},
            "status": {"conditions": wanted},
        })))
    }

    /// The highest generation that one of our conditions speaks of.
    fn observed(&self) -> i64 {
        let is_ours = |condition: &&Condition| ConditionType::ALL.iter().any(|r#type| r#type.name() == condition.type_);
        self.conditions.iter().filter(is_ours).filter_map(|condition| condition.observed_generation).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

    use ringfence_core::{
        api::ObjectKey,
        compile::{Finding, FindingReason, Severity},
    };

    use super::*;

    fn report(generation: i64, message: Option<&str>) -> Report {
        let object = ObjectKey { kind: "CallbackPolicy".into(), namespace: "contoso".into(), name: "a".into() };
        let finding = |message: &str| Finding {
            severity: Severity::Error,
            reason: FindingReason::Invalid,
            field: "spec".to_owned(),
            message: message.to_owned(),
            location: None,
        };
        Report { object, uid: "u1".into(), generation, findings: message.map(finding).into_iter().collect(), authentication: None, ranges: None }
    }

    fn live(uid: &str, generation: i64, status: &Value) -> Live {
        let object = json!({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "status": status,
            "metadata": {"name": "a", "namespace": "contoso", "uid": uid, "generation": generation, "resourceVersion": "7"},
        });
        Live::from(&serde_json::from_value::<DynamicObject>(object).unwrap())
    }

    fn applied(live: &Live, report: &Report) -> Value {
        match live.plan(report, Timestamp::UNIX_EPOCH) {
            Plan::Write(body) => *body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_applied_holds_for_this_very_object_only() {
        let body = applied(&live("u1", 1, &Value::Null), &report(1, Some("wrong")));
        assert_eq!(body["metadata"], json!({"name": "a", "uid": "u1", "resourceVersion": "7"}));
        assert_eq!(body["status"]["conditions"][0]["message"], "spec: wrong");
        assert_eq!(body["status"]["conditions"][0]["observedGeneration"], 1);
        assert!(body.get("spec").is_none());
    }

    #[test]
    fn what_stands_there_is_not_written_again() {
        let report = report(1, Some("wrong"));
        let written = applied(&live("u1", 1, &Value::Null), &report);
        assert_eq!(live("u1", 1, &written["status"]).plan(&report, Timestamp::MAX), Plan::Unchanged);
    }

    #[test]
    fn newer_knowledge_is_never_overwritten() {
        let newer = applied(&live("u1", 4, &Value::Null), &report(4, None));
        assert_eq!(live("u1", 3, &newer["status"]).plan(&report(3, Some("wrong")), Timestamp::UNIX_EPOCH), Plan::Behind, "observedGeneration");
        assert_eq!(live("u1", 4, &Value::Null).plan(&report(3, None), Timestamp::UNIX_EPOCH), Plan::Behind, "generation");
        assert_eq!(live("u2", 1, &Value::Null).plan(&report(3, None), Timestamp::UNIX_EPOCH), Plan::Behind, "another object of that name");
        let strange = json!({"conditions": [{"type": "Audited", "status": "True", "reason": "A", "message": "", "observedGeneration": 9,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}, {"type": 7}]});
        assert!(matches!(live("u1", 3, &strange).plan(&report(3, None), Timestamp::UNIX_EPOCH), Plan::Write(_)), "others' conditions are theirs");
    }
}
