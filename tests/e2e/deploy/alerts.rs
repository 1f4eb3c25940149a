//! The alerts: each is about metrics that exist, and each goes off when it should.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use super::{chart, deploy, object, objects, render, run};

/// When each alert goes off, and when it does not, for promtool.
const CASES: &str = include_str!("fixtures/alerts-test.yaml");

fn rules(values: &str) -> Vec<Value> {
    let objects = objects(&render(values));
    let groups = object(&objects, "PrometheusRule", "ringfence")["spec"]["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn all_rules() -> Vec<Value> {
    rules("monitoring: {prometheusRule: {enabled: true, without: []}}")
}

#[test]
fn the_chart_leaves_out_what_it_is_told_to() {
    let names = |rules: &[Value]| rules.iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let (all, by_default) = (names(&all_rules()), names(&rules("monitoring: {prometheusRule: {enabled: true}}")));
    assert_eq!(all.difference(&by_default).collect::<Vec<_>>(), ["RingfenceSenderSilent"]);
}

#[test]
fn alerts_are_about_metrics_that_exist() {
    let page = fs::read_to_string(deploy().parent().unwrap().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let known: BTreeSet<_> = rows.map(|(name, _)| name).collect();
    let mut found = BTreeSet::new();
    for rule in all_rules() {
        let expression = rule["expr"].as_str().unwrap();
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for metric in words.filter(|word| word.starts_with("ringfence_")) {
            assert!(known.contains(metric), "{}: docs/metrics.md does not know `{metric}`", rule["alert"]);
            found.insert(metric.to_owned());
        }
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()), "{} has no {text}", rule["alert"]);
        }
    }
    assert!(found.len() > 5, "{found:?}");
}

#[test]
fn every_alert_goes_off_when_it_should() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(chart("ringfence").join("files/alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    fs::write(folder.path().join("cases.yaml"), CASES).unwrap();
    let promtool = |arguments: &[&str]| run(Command::new("promtool").args(arguments).current_dir(folder.path()), "").unwrap();
    let checked = promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"]);
    assert!(checked.contains(&format!("SUCCESS: {} rules found", all_rules().len())), "{checked}");
    let tested = promtool(&["test", "rules", "cases.yaml"]);
    assert!(tested.contains("SUCCESS"), "{tested}");
    for rule in all_rules() {
        let name = rule["alert"].as_str().unwrap();
        let of_it: Vec<_> = CASES.split("- eval_time:").skip(1).filter(|case| case.contains(&format!("alertname: {name}\n"))).collect();
        assert!(of_it.iter().any(|case| case.contains("exp_labels:")), "no case has {name} go off");
        assert!(of_it.iter().any(|case| case.contains("exp_alerts: []")), "no case has {name} keep quiet");
    }
}
