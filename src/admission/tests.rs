#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use ringfence_core::compile::compile;
use serde_json::{Value, json};

use super::*;

fn reviewer(live: &[Object], options: &Options) -> Reviewer {
    Reviewer::new(options.clone(), Arc::new(ArcSwap::from_pointee(compile(live, options).policies)))
}

fn policy(name: &str, sender: &Value) -> Value {
    let mut one = json!({"name": "callbacks", "type": "CallAutomation", "callAutomation": {"audiences": ["7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11"]}});
    one.as_object_mut().unwrap().extend(sender.as_object().unwrap().clone());
    json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": name, "namespace": "contoso", "uid": name},
        "spec": {"match": {"hosts": ["callbacks.contoso.com"], "paths": [{"prefix": "/api"}]}, "senders": [one]},
    })
}

fn good() -> Value {
    policy("a", &json!({"sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"}}))
}

fn live(raw: Value) -> Object {
    let text = |pointer: &str| raw.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned().into_boxed_str();
    Object {
        key: ObjectKey { kind: text("/kind"), namespace: text("/metadata/namespace"), name: text("/metadata/name") },
        api_version: text("/apiVersion"),
        uid: text("/metadata/uid"),
        generation: 1,
        resource_version: "1".into(),
        created: Some(1),
        raw: Arc::new(raw),
        origin: None,
    }
}

/// A request as the API server writes it.
fn review(operation: &str, object: &Value, old: Option<&Value>) -> Value {
    let kind = object["kind"].as_str().unwrap();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "ringfence.dev", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "ringfence.dev", "version": "v1alpha1", "resource": format!("{}s", kind.to_lowercase())},
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "operation": operation, "userInfo": {"username": "dev"}, "object": object, "oldObject": old, "dryRun": false,
        },
    })
}

fn ask(reviewer: &Reviewer, review: &Value) -> Value {
    let Reviewed { body, is_allowed } = reviewer.review(review.to_string().as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&review["apiVersion"], &review["kind"]));
    assert_eq!(answer["response"]["allowed"], is_allowed);
    answer["response"].clone()
}

fn create(object: &Value) -> Value {
    ask(&reviewer(&[], &Options::default()), &review("CREATE", object, None))
}

#[test]
fn a_good_policy_is_allowed_without_a_word() {
    let answer = create(&good());
    assert_eq!((&answer["allowed"], answer.get("warnings")), (&json!(true), None), "{answer}");
}

#[test]
fn what_is_wrong_with_the_object_itself_is_refused_with_its_field() {
    let mut null = good();
    null["spec"]["senders"][0]["sources"] = Value::Null;
    let mut mode = good();
    mode["spec"]["mode"] = json!("Enforced");
    let set =
        json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "SourceRangeSet", "metadata": {"name": "office"}, "spec": {"cidrs": ["10.0.0.1/8"]}});
    let grant = json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "HostGrant", "metadata": {"name": "g"}, "spec": {"hosts": ["https://a"], "namespaces": ["a"]}});
    let floor = json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "ClusterCallbackPolicy", "metadata": {"name": "f"},
        "spec": {"applies": "Always", "match": {"hosts": ["*"]}}});
    let table = [
        (policy("a", &json!({"source": {}})), "spec.senders[0].source: unknown field `source`"),
        (null, "spec.senders[0].sources: null is no value; leave the field out, or give it one"),
        (mode, "spec.mode: unknown variant `Enforced`"),
        (set, "spec.cidrs[0]: "),
        (grant, "spec.hosts[0]: "),
        (floor, "spec.sources: a floor needs `sources`"),
    ];
    for (object, expected) in table {
        let answer = create(&object);
        assert_eq!(answer["allowed"], false, "{answer}");
        let status = &answer["status"];
        assert!(status["message"].as_str().unwrap().contains(expected), "{expected}: {status}");
        assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
        assert!(status["details"]["causes"][0]["field"].as_str().unwrap().starts_with("spec."), "{status}");
    }
}

#[test]
fn what_others_may_yet_put_right_is_not_refused() {
    let missing = policy(
        "a",
        &json!({"sources": {"sets": ["office"], "onMismatch": "Deny"},
        "apiKey": {"query": "key", "secretRefs": [{"name": "callback-key", "key": "current"}]}}),
    );
    let mut forwarding = missing.clone();
    forwarding["spec"]["forward"] = json!({"headers": [{"name": "x-acs-audience", "claim": "aud"}]});
    let map = policy(
        "a",
        &json!({"callAutomation": {"audiencesFrom": [{"configMapRef": {"name": "resources"}}]}, "sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"}}),
    );
    for object in [missing, forwarding, map] {
        let answer = create(&object);
        assert_eq!((&answer["allowed"], answer.get("warnings")), (&json!(true), None), "{answer}");
    }
    let closed = Options { issuer_origins: Some(vec!["https://idp.example".into()]), ..Options::default() };
    let answer = ask(&reviewer(&[], &closed), &review("CREATE", &good(), None));
    assert!(answer["allowed"] == true && answer["warnings"][0].as_str().unwrap().contains("--issuer-origins"), "{answer}");
}

#[test]
fn what_is_in_force_already_is_warned_of() {
    let granted = Options { hosts_are_granted: true, ..Options::default() };
    let answer = ask(&reviewer(&[], &granted), &review("CREATE", &good(), None));
    assert!(
        answer["allowed"] == true && answer["warnings"][0].as_str().unwrap().contains("no HostGrant lets namespace `contoso` speak for"),
        "{answer}"
    );
    let grant = json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "HostGrant", "metadata": {"name": "g"},
        "spec": {"hosts": ["*.contoso.com"], "namespaces": ["contoso"]}});
    let rival = live(policy("winner", &json!({"sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"}})));
    let mut stranger = good();
    stranger["metadata"]["namespace"] = json!("fabrikam");
    let answer = ask(&reviewer(&[live(grant.clone()), rival], &granted), &review("CREATE", &stranger, None));
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("no HostGrant lets namespace `fabrikam`") && !warnings.contains("winner"), "a stranger learns no names: {answer}");
    let reviewer = reviewer(&[live(grant), live(policy("winner", &json!({"sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"}})))], &granted);
    let answer = ask(&reviewer, &review("CREATE", &good(), None));
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(answer["allowed"] == true && warnings.len() == 1, "{answer}");
    assert!(warnings[0].as_str().unwrap().starts_with("spec.match: another policy already has what is below `/api`"), "{answer}");
    let itself = policy("winner", &json!({"sources": {"sets": ["acs-callbacks"], "onMismatch": "Observe"}}));
    let answer = ask(&reviewer, &review("UPDATE", &itself, Some(&good())));
    assert!(answer.get("warnings").is_none(), "nobody is a rival of oneself: {answer}");
}

#[test]
fn what_stands_there_already_can_still_be_labelled_and_deleted() {
    let bad = policy("a", &json!({"source": {}}));
    let mut labelled = bad.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let reviewer = reviewer(&[], &Options::default());
    let answer = ask(&reviewer, &review("UPDATE", &labelled, Some(&bad)));
    assert!(answer["allowed"] == true && answer["warnings"][0].as_str().unwrap().contains("unknown field `source`"), "{answer}");
    let mut leaving = policy("a", &json!({"sauce": {}}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(ask(&reviewer, &review("UPDATE", &leaving, Some(&bad)))["allowed"], true);
    assert_eq!(ask(&reviewer, &review("UPDATE", &policy("a", &json!({"sauce": {}})), Some(&bad)))["allowed"], false);
}

#[test]
fn other_kinds_operations_and_subresources_are_let_by() {
    let reviewer = reviewer(&[], &Options::default());
    let bad = policy("a", &json!({"source": {}}));
    for (pointer, value) in [
        ("/request/operation", json!("DELETE")),
        ("/request/operation", json!("CONNECT")),
        ("/request/subResource", json!("status")),
        ("/request/kind/kind", json!("Gateway")),
        ("/request/kind/version", json!("v9")),
        ("/request/kind/group", json!("")),
        ("/request/object", Value::Null),
    ] {
        let mut asked = review("CREATE", &bad, None);
        match asked.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => asked["request"]["subResource"] = value,
        }
        assert_eq!(ask(&reviewer, &asked)["allowed"], true, "{pointer}");
    }
}

#[test]
fn what_is_no_review_is_an_error() {
    let reviewer = reviewer(&[], &Options::default());
    let mut old = review("CREATE", &good(), None);
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{}", "[]", "null", "\u{0}", r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, &old.to_string(), &deep] {
        assert!(reviewer.review(body.as_bytes()).is_err(), "{}", body.chars().take(80).collect::<String>());
    }
}

#[test]
fn what_is_said_is_bounded() {
    let senders: Vec<_> =
        (0..8).map(|index| json!({"name": format!("s{index}"), "type": "JWT", "wrong": "x".repeat(5_000), "x".repeat(3_000): 1})).collect();
    let mut object = good();
    object["spec"]["senders"] = json!(senders);
    let answer = create(&object);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(answer["allowed"] == false && message.len() < 40_000, "{}", message.len());
    assert!(message.contains("; and ") && message.ends_with(" more"), "{message}");
    let mut same = object.clone();
    same["metadata"]["labels"] = json!({"a": "b"});
    let answer = ask(&reviewer(&[], &Options::default()), &review("UPDATE", &same, Some(&object)));
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(warnings.len() == MOST_SAID && warnings.iter().all(|warning| warning.as_str().unwrap().chars().count() <= LONGEST_WARNING), "{answer}");
}
