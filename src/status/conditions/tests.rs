#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use ringfence_core::{
    api::ObjectKey,
    compile::{Options, Severity, compile},
};

use super::*;
use crate::source::files::FolderSource;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn report(findings: Vec<Finding>) -> Report {
    let object = ObjectKey { kind: "CallbackPolicy".into(), namespace: "contoso".into(), name: "contact-center".into() };
    Report { object, uid: "u".into(), generation: 3, findings, authentication: Some(Authentication::Token), ranges: None }
}

fn finding(reason: FindingReason, field: &str, message: &str) -> Finding {
    let severity = match ConditionType::of(reason) {
        ConditionType::Accepted | ConditionType::ResolvedRefs | ConditionType::Authenticated => Severity::Error,
        ConditionType::Warning => Severity::Warning,
    };
    Finding { severity, reason, field: field.to_owned(), message: message.to_owned(), location: None }
}

/// `Type=Status/Reason message`.
fn say(conditions: &[Condition]) -> Vec<String> {
    conditions.iter().map(|Condition { type_, status, reason, message, .. }| format!("{type_}={status}/{reason} {message}")).collect()
}

fn compiled(yaml: &str, options: &Options) -> Vec<(String, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), yaml).unwrap();
    let objects = FolderSource::new(folder.path()).load().unwrap().objects;
    let reports = compile(&objects, options).reports;
    reports.iter().map(|report| (report.object.to_string(), say(&conditions(report, &[], at(0))))).collect()
}

fn of(yaml: &str, options: &Options) -> Vec<String> {
    compiled(yaml, options).remove(0).1
}

const POLICY: &str = "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {name: contact-center, namespace: contoso}\nspec:\n  \
    match: {hosts: [callbacks.contoso.com], paths: [{prefix: /api/callbacks}]}\n  senders:\n    - name: callbacks\n      type: CallAutomation\n      \
    callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}\n      sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
const KEY: &str = "      apiKey: {query: key, secretRefs: [{name: callback-key, key: current}, {name: callback-key, key: previous}]}\n";
const NO_TOKEN: &str = "    - name: open\n      type: NoToken\n      noToken: {acknowledgeWeak: true}\n      \
    sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
const SECRET: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: callback-key, namespace: contoso}\n\
    type: ringfence.dev/callback-key\nstringData: {current: new-key-0123456789}\n";

#[test]
fn a_good_policy_has_three_good_conditions() {
    assert_eq!(
        of(POLICY, &Options::default()),
        [
            "Accepted=True/Accepted nothing in it was refused",
            "ResolvedRefs=True/ResolvedRefs everything that it names is there and can be used",
            "Authenticated=True/TokenRequired every sender asks for a token",
        ]
    );
}

#[test]
fn what_the_compiler_finds_shows_with_its_field_and_what_to_do() {
    let granted = Options { hosts_are_granted: true, ..Options::default() };
    let closed = Options { issuer_origins: Some(vec!["https://idp.example".into()]), ..Options::default() };
    let replicas = Options { reuse_per_replica: true, ..Options::default() };
    let off = Options::default();
    let table: [(String, &Options, &[&str]); 9] = [
        (
            POLICY.replace("audiences: [", "audience: [7f0c], audiences: ["),
            &off,
            &[
                "Accepted=False/Invalid spec.senders[0].callAutomation.audience: unknown field `audience`",
                "ResolvedRefs=Unknown/NotRead",
                "Authenticated=Unknown/NotRead",
            ],
        ),
        (POLICY.to_owned(), &granted, &["Accepted=False/HostNotGranted spec.match.hosts[0]: ", "kind: HostGrant"]),
        (POLICY.to_owned(), &closed, &["Accepted=False/IssuerNotAllowed spec.senders[0].callAutomation", "--issuer-origins"]),
        (
            format!("{POLICY}{KEY}"),
            &off,
            &[
                "Accepted=True",
                "ResolvedRefs=False/SecretNotFound spec.senders[0].apiKey.secretRefs[0]: there is no Secret `contoso/callback-key` of type ringfence.dev/callback-key; spec.senders[0].apiKey.secretRefs[1]: ",
            ],
        ),
        (
            format!("{POLICY}{KEY}{SECRET}"),
            &off,
            &[
                "Accepted=True",
                "ResolvedRefs=False/PartiallyResolved spec.senders[0].apiKey.secretRefs[1]: Secret `contoso/callback-key` has no key `previous`",
                "Authenticated=True",
            ],
        ),
        (
            format!("{POLICY}{KEY}{}", SECRET.replace("ringfence.dev/callback-key", "Opaque")),
            &off,
            &["ResolvedRefs=False/InvalidSecret spec.senders[0].apiKey.secretRefs[0]: ", "must be of `type: ringfence.dev/callback-key`"],
        ),
        (
            POLICY.replace("sets: [acs-callbacks]", "sets: [office]"),
            &off,
            &["ResolvedRefs=False/SourceRangeSetNotFound spec.senders[0].sources.sets[0]: there is no SourceRangeSet `office`"],
        ),
        (format!("{POLICY}{NO_TOKEN}"), &off, &["Accepted=True", "Authenticated=False/NoToken spec.senders: `open`: no token is asked for"]),
        (
            POLICY.replace("audiences: [", "tokenReuse: Deny, audiences: ["),
            &replicas,
            &["Accepted=True", "Warning=True/ReusePerReplica spec.senders[0].callAutomation.tokenReuse: "],
        ),
    ];
    for (yaml, options, expected) in table {
        let said = of(&yaml, options).join("\n");
        for part in expected {
            assert!(said.contains(part), "`{part}` is not in\n{said}");
        }
    }
}

#[test]
fn the_loser_of_a_conflict_names_the_winner() {
    let other = POLICY.replace("name: contact-center", "name: other");
    let said = compiled(&format!("{POLICY}---\n{other}"), &Options::default());
    assert!(said[0].1[0].starts_with("Accepted=True"), "{said:?}");
    assert!(said[1].1[0].starts_with("Accepted=False/Conflicted spec.match: `contoso/contact-center` already has "), "{said:?}");
}

#[test]
fn kinds_have_the_conditions_that_mean_something_for_them() {
    let grant = "apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: a}\nspec: {hosts: [a.example], namespaces: [a]}\n";
    let set = "---\napiVersion: ringfence.dev/v1alpha1\nkind: SourceRangeSet\nmetadata: {name: b}\nspec: {configMapRef: {name: ranges, key: all}}\n";
    let floor = "---\napiVersion: ringfence.dev/v1alpha1\nkind: ClusterCallbackPolicy\nmetadata: {name: c}\nspec:\n  applies: Always\n  \
        match: {hosts: ['*']}\n  sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
    let said = compiled(&format!("{grant}{set}{floor}"), &Options::default());
    let types: Vec<_> = said
        .iter()
        .map(|(object, said)| format!("{object} {}", said.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>().join(" ")))
        .collect();
    assert_eq!(
        types,
        [
            "ClusterCallbackPolicy/c Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs",
            "HostGrant/a Accepted=True/Accepted",
            "SourceRangeSet/b Accepted=True/Accepted ResolvedRefs=False/ConfigMapNotFound",
        ]
    );
}

#[test]
fn a_set_says_how_many_ranges_it_has() {
    let set = "apiVersion: ringfence.dev/v1alpha1\nkind: SourceRangeSet\nmetadata: {name: b}\nspec: {cidrs: [198.51.100.0/24, 203.0.113.0/24]}\n";
    assert_eq!(of(set, &Options::default())[0], "Accepted=True/Accepted nothing in it was refused; it has 2 ranges");
}

#[test]
fn the_gravest_reason_counts_and_all_are_said() {
    let findings = vec![
        finding(FindingReason::IssuerNotAllowed, "spec.senders[1].jwt", "not allowed"),
        finding(FindingReason::Invalid, "spec.mode", "wrong"),
        finding(FindingReason::Invalid, "", "all of it"),
    ];
    let said = say(&conditions(&report(findings), &[], at(0)));
    assert_eq!(said[0], "Accepted=False/Invalid spec.mode: wrong; all of it; spec.senders[1].jwt: not allowed");
}

#[test]
fn a_time_of_transition_stays_until_the_status_changes() {
    let bad = |message: &str| report(vec![finding(FindingReason::Invalid, "spec", message)]);
    let first = conditions(&bad("one"), &[], at(1));
    let second = conditions(&bad("other"), &first, at(2));
    let third = conditions(&report(Vec::new()), &second, at(3));
    let since = |conditions: &[Condition]| conditions[0].last_transition_time.0;
    assert_eq!((since(&first), since(&second), since(&third)), (at(1), at(1), at(3)));
    assert!(!say_the_same(&first, &second), "the message differs");
    assert!(say_the_same(&first, &conditions(&bad("one"), &[], at(9))), "only the time differs");
}

#[test]
fn a_condition_too_many_or_too_few_is_a_change_and_a_stranger_is_not() {
    let good = conditions(&report(Vec::new()), &[], at(0));
    let warned = conditions(&report(vec![finding(FindingReason::LikelyMistake, "spec", "hm")]), &[], at(0));
    assert!(!say_the_same(&good, &warned) && !say_the_same(&warned, &good));
    let strange = Condition { type_: "Audited".to_owned(), ..good[0].clone() };
    assert!(say_the_same(&good, &[good.clone(), vec![strange]].concat()));
}

#[test]
fn a_message_is_bounded_and_says_how_much_is_left_out() {
    let many: Vec<_> = (0..100).map(|index| finding(FindingReason::Invalid, &format!("spec.senders[{index}]"), &"é".repeat(200))).collect();
    let message = conditions(&report(many), &[], at(0)).remove(0).message;
    assert!(message.len() <= LONGEST_MESSAGE, "{}", message.len());
    let said = message.matches("spec.senders[").count();
    assert!(said > 10 && message.ends_with(&format!("; and {} more", 100 - said)), "{said} {}", message.len());
    let long = vec![finding(FindingReason::Invalid, "spec", &"é".repeat(20_000))];
    let message = conditions(&report(long), &[], at(0)).remove(0).message;
    assert!(message.len() <= LONGEST_MESSAGE && message.ends_with('…'));
}

#[test]
fn every_reason_fits_the_api() {
    let names = FindingReason::ALL.iter().map(|reason| reason.name()).chain(PlainReason::ALL.iter().map(|reason| reason.name()));
    for name in names.chain(ConditionType::ALL.iter().map(|r#type| r#type.name())) {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphabetic()) && name.len() < 64, "{name}");
    }
}
