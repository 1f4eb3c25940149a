#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use ringfence_core::{
    api::ObjectKey,
    compile::Finding,
    decide::{About, Floor, Forward, Match, MethodRule, Policy, PolicyId, PolicyKind, PolicySetParts, Reason, Sender, SenderChecks, SharedId},
};

use super::*;

fn policy(name: &str, senders: &[&str], mode: Mode) -> Policy {
    let sender = |name: &&str| Sender { name: (*name).into(), paths: Box::default(), methods: MethodRule::Any, checks: Err("unsound".into()) };
    Policy {
        id: PolicyId::new(PolicyKind::CallbackPolicy, "contoso", name, name).into(),
        mode,
        matches: Match::default(),
        rules: Rules::Senders { senders: senders.iter().map(sender).collect(), forward: Arc::new(Forward::default()) },
    }
}

fn set(holders: Vec<Policy>) -> PolicySet {
    PolicySet::new(PolicySetParts { holders, config_hash: 0xabcd_0000_0000_0001, ..PolicySetParts::default() })
}

/// A denial by the first sender of a policy.
fn denied(policy: &Policy, reason: Reason) -> Verdict {
    let Rules::Senders { senders, .. } = &policy.rules else { panic!("no senders") };
    let about = About { policy: Some(policy.id.clone()), sender: senders.first().map(|sender| Arc::clone(&sender.name)), ..About::default() };
    Verdict { decision: Decision::Deny(reason), about }
}

fn count(metrics: &Metrics, verdict: &Verdict) {
    metrics.count(verdict, Wire::Grpc, Duration::from_micros(40), 1_790_000_000_000);
}

/// The lines of the metrics that begin with `prefix`.
fn lines(metrics: &Metrics, prefix: &str) -> Vec<String> {
    metrics.render().unwrap().lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn a_series_is_counted_by_policy_sender_decision_and_reason() {
    let metrics = Metrics::new().unwrap();
    let center = policy("center", &["callbacks"], Mode::Enforce);
    metrics.configured(&set(vec![center.clone()]), &[]);
    for _ in 0..3 {
        count(&metrics, &denied(&center, Reason::TokenExpired));
    }
    count(&metrics, &denied(&center, Reason::SourceDenied));
    let series = |reason, value| {
        format!(r#"ringfence_checks_total{{decision="denied",listener="grpc",policy="contoso/center",reason="{reason}",sender="callbacks"}} {value}"#)
    };
    assert_eq!(lines(&metrics, "ringfence_checks_total"), [series("source_denied", 1), series("token_expired", 3)]);
    assert!(
        lines(&metrics, "ringfence_check_duration_seconds_bucket")
            .contains(&r#"ringfence_check_duration_seconds_bucket{decision="denied",listener="grpc",le="0.00005"} 4"#.to_owned())
    );
    assert_eq!(lines(&metrics, "ringfence_config_hash "), [format!("ringfence_config_hash {}", 1)]);
}

/// Policies of one set share the memory of their ids, and no series.
#[test]
fn policies_of_one_set_are_told_apart() {
    let metrics = Metrics::new().unwrap();
    let set = set(["a", "b", "c"].map(|name| policy(name, &[], Mode::Enforce)).into());
    metrics.configured(&set, &[]);
    for (policy, times) in set.parts().holders.iter().zip(1..) {
        (0..times).for_each(|_| count(&metrics, &denied(policy, Reason::PolicyInvalid)));
    }
    let series = |policy, value| {
        format!(r#"ringfence_checks_total{{decision="denied",listener="grpc",policy="contoso/{policy}",reason="policy_invalid",sender=""}} {value}"#)
    };
    assert_eq!(lines(&metrics, "ringfence_checks_total"), [series("a", 1), series("b", 2), series("c", 3)]);
}

#[test]
fn what_is_gone_leaves_no_series() {
    let metrics = Metrics::new().unwrap();
    let (stays, goes) = (policy("stays", &["kept", "dropped"], Mode::Enforce), policy("goes", &["callbacks"], Mode::Enforce));
    metrics.configured(&set(vec![stays.clone(), goes.clone()]), &[]);
    let mut of_dropped = denied(&stays, Reason::TokenExpired);
    of_dropped.about.sender = Some("dropped".into());
    let observed = |policy: &Policy| {
        let mut verdict = denied(policy, Reason::NoPolicy);
        verdict.about.source_mismatch = true;
        verdict.about.token_reused = true;
        verdict
    };
    for verdict in [denied(&stays, Reason::TokenExpired), of_dropped, denied(&goes, Reason::TokenExpired), observed(&stays), observed(&goes)] {
        count(&metrics, &verdict);
    }
    let before = lines(&metrics, "ringfence_");
    assert_eq!(before.iter().filter(|line| line.contains("contoso/goes")).count(), 4, "{before:#?}");
    metrics.configured(&set(vec![policy("stays", &["kept"], Mode::Enforce)]), &[]);
    let after = lines(&metrics, "ringfence_");
    assert_eq!(after.iter().filter(|line| line.contains("contoso/goes") || line.contains("dropped")).count(), 0, "{after:#?}");
    assert_eq!(after.iter().filter(|line| line.contains("contoso/stays")).count(), 4, "{after:#?}");
}

#[test]
fn a_policy_that_is_compiled_anew_goes_on_counting() {
    let metrics = Metrics::new().unwrap();
    for _ in 0..2 {
        let center = policy("center", &["callbacks"], Mode::Enforce);
        metrics.configured(&set(vec![center.clone()]), &[]);
        count(&metrics, &denied(&center, Reason::TokenExpired));
    }
    let counted = lines(&metrics, "ringfence_checks_total");
    assert!(counted.len() == 1 && counted[0].ends_with(" 2"), "{counted:?}");
}

#[test]
fn labels_are_bounded_and_the_same_on_every_replica() {
    let metrics = Metrics::new().unwrap();
    let policies: Vec<_> = (0..1_200).rev().map(|number| policy(&format!("p{number:04}"), &["callbacks"], Mode::Enforce)).collect();
    metrics.configured(&set(policies.clone()), &[]);
    for policy in &policies {
        count(&metrics, &denied(policy, Reason::TokenExpired));
    }
    let counted = lines(&metrics, "ringfence_checks_total");
    assert_eq!(counted.len(), 1_001);
    assert!(counted.iter().any(|line| line.contains(r#"policy="contoso/p0999""#)));
    assert!(!counted.iter().any(|line| line.contains(r#"policy="contoso/p1000""#)));
    let other = r#"ringfence_checks_total{decision="denied",listener="grpc",policy="_other",reason="token_expired",sender="_other"} 200"#;
    assert!(counted.iter().any(|line| line == other), "{:?}", counted.first());
}

#[test]
fn one_namespace_leaves_the_others_their_labels() {
    let metrics = Metrics::new().unwrap();
    let mut policies: Vec<_> = (0..1_200).map(|number| policy(&format!("p{number:04}"), &["callbacks"], Mode::Enforce)).collect();
    for name in ["late", "later"] {
        let id = PolicyId::new(PolicyKind::CallbackPolicy, "fabrikam", name, name);
        policies.push(Policy { id: id.into(), ..policies[0].clone() });
    }
    metrics.configured(&set(policies.clone()), &[]);
    for policy in &policies {
        count(&metrics, &denied(policy, Reason::TokenExpired));
    }
    let counted = lines(&metrics, "ringfence_checks_total");
    let has = |policy: &str| counted.iter().any(|line| line.contains(&format!("policy=\"{policy}\"")));
    assert!(counted.len() == 1_001 && has("fabrikam/late") && has("fabrikam/later") && has("contoso/p0997") && !has("contoso/p0998"));
}

#[test]
fn policies_are_shown_by_state() {
    let metrics = Metrics::new().unwrap();
    let mut invalid = policy("invalid", &[], Mode::Enforce);
    invalid.rules = Rules::Invalid { problem: "no senders".into(), forward: Arc::default() };
    let floor = Floor {
        id: PolicyId::new(PolicyKind::ClusterCallbackPolicy, "", "floor", "floor").into(),
        mode: Mode::Shadow,
        matches: Match::default(),
        sources: Err("no sources".into()),
    };
    let sound = SenderChecks { sources: None, api_key: None, event_grid: None, token: None };
    let mut degraded = policy("degraded", &["one", "other"], Mode::Enforce);
    let Rules::Senders { senders, .. } = &mut degraded.rules else { panic!("no senders") };
    senders[0].checks = Ok(sound);
    let all_unsound = policy("unsound", &["one", "other"], Mode::Enforce);
    let parts = PolicySetParts {
        holders: vec![policy("a", &[], Mode::Enforce), policy("b", &[], Mode::Shadow), invalid, degraded, all_unsound],
        pinnable: vec![policy("loser", &[], Mode::Enforce)],
        fallbacks: vec![policy("fallback", &[], Mode::Enforce)],
        floors: vec![floor],
        ..PolicySetParts::default()
    };
    let finding =
        Finding { severity: Severity::Error, reason: FindingReason::HostNotGranted, field: String::new(), message: String::new(), location: None };
    let key = ObjectKey { kind: "CallbackPolicy".into(), namespace: "x".into(), name: "y".into() };
    let report = Report { object: key, uid: "".into(), generation: 0, findings: vec![finding], authentication: None, ranges: None };
    metrics.configured(&PolicySet::new(parts), &[report]);
    assert_eq!(
        lines(&metrics, "ringfence_policies"),
        [
            r#"ringfence_policies{state="conflicted"} 1"#,
            r#"ringfence_policies{state="degraded"} 1"#,
            r#"ringfence_policies{state="enforced"} 2"#,
            r#"ringfence_policies{state="invalid"} 3"#,
            r#"ringfence_policies{state="not_granted"} 1"#,
            r#"ringfence_policies{state="shadow"} 1"#,
        ]
    );
}

#[test]
fn shadow_floors_have_a_metric_of_their_own() {
    let metrics = Metrics::new().unwrap();
    let id: SharedId = PolicyId::new(PolicyKind::ClusterCallbackPolicy, "", "floor", "floor").into();
    let floor = Floor { id: id.clone(), mode: Mode::Shadow, matches: Match::default(), sources: Err("none".into()) };
    metrics.configured(&PolicySet::new(PolicySetParts { floors: vec![floor], ..PolicySetParts::default() }), &[]);
    let mut verdict = Verdict::deny(Reason::NoPolicy);
    verdict.about.shadow_floors.push((id, Reason::SourceDenied));
    count(&metrics, &verdict);
    assert_eq!(
        lines(&metrics, "ringfence_floor_shadow_denied_total"),
        [r#"ringfence_floor_shadow_denied_total{policy="floor",reason="source_denied"} 1"#]
    );
}

#[test]
fn every_metric_has_help_and_a_conventional_name() {
    let metrics = Metrics::new().unwrap();
    metrics.reloaded("files", ReloadResult::Applied);
    metrics.source_ranges([("acs-media", 3)]);
    metrics.log_suppressed(&Verdict::deny(Reason::NoPolicy));
    for family in metrics.registry().gather() {
        let name = family.name();
        assert!(family.help().ends_with('.'), "{name}: {}", family.help());
        assert!(name.starts_with("ringfence_") || name.starts_with("process_"), "{name}");
        let is_counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
    }
}
