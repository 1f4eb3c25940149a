//! The reference pages name everything that there is, and nothing else.

use std::{collections::BTreeSet, fs, process::Command};

use clap::{Arg, Args};
use ringfence::{
    issuer::Broken,
    keys::FetchFailure,
    settings::Settings,
    status::{ConditionType, PlainReason},
};
use ringfence_core::{compile::FindingReason, decide::Reason};

use super::root;

/// A page of docs/.
fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The part of a page from this heading to the next one of its level.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let level = heading.split(' ').next().unwrap();
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no heading `{heading}`"));
    let rest = &page[start + heading.len() + 2..];
    &rest[..rest.find(&format!("\n{level} ")).unwrap_or(rest.len())]
}

/// The cells of all tables, headings left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = text.lines().collect();
    let is_heading = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    let bodies = lines.iter().enumerate().filter(|(at, line)| line.starts_with("| ") && !is_heading(*at));
    bodies.map(|(_, line)| cells(line)).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first cells of all rows, which must be one span of code each.
fn names(text: &str) -> Vec<&str> {
    rows(text).iter().map(|row| row[0].trim_matches('`')).collect()
}

#[test]
fn every_reason_has_its_entry() {
    let page = page("reasons.md");
    let entries: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| format!("`{}` ({})", reason.code(), reason.status())).collect();
    assert_eq!(entries, reasons);
}

#[test]
fn every_reason_that_decides_nothing_raises_the_alert() {
    let alerts = fs::read_to_string(root().join("deploy/helm/ringfence/files/alerts.yaml")).unwrap();
    let codes = alerts.split("reason=~\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let undecided: Vec<_> = Reason::ALL.iter().filter(|reason| reason.is_undecided()).map(|reason| reason.code()).collect();
    assert_eq!(codes.split('|').collect::<Vec<_>>(), undecided);
}

#[test]
fn every_setting_has_its_line_with_its_default() {
    let page = page("settings.md");
    let command = Settings::augment_args(clap::Command::new("settings"));
    let settings: Vec<_> = command.get_arguments().map(|argument| (usage(argument), default(argument))).collect();
    let lines: Vec<_> = rows(&page).into_iter().filter(|row| row[0].starts_with("`--")).map(|row| (row[0], row[1])).collect();
    assert_eq!(lines.iter().map(|(usage, _)| *usage).collect::<Vec<_>>(), settings.iter().map(|(usage, _)| usage).collect::<Vec<_>>());
    for ((usage, shown), (_, default)) in lines.iter().zip(&settings) {
        let shown = shown.trim_matches('`');
        let fits = match default {
            Some(default) => default == shown || default.starts_with(&format!("{shown},")),
            None => ["none", "required"].contains(&shown),
        };
        assert!(fits, "{usage}: the default is {default:?}, and the page says {shown}");
    }
}

/// `--name VALUE`, or `--name` for a truth value.
fn usage(argument: &Arg) -> String {
    let name = argument.get_long().unwrap();
    match argument.get_value_names() {
        Some([value]) if *value != "BOOL" => format!("`--{name} {value}`"),
        _ => format!("`--{name}`"),
    }
}

/// What counts if nothing is given, also where only the help says it.
fn default(argument: &Arg) -> Option<String> {
    let values: Vec<_> = argument.get_default_values().iter().map(|value| value.to_str().unwrap()).collect();
    let help = argument.get_help().unwrap().to_string();
    let told = || help.split("[default: ").nth(1).map(|rest| rest.trim_end_matches(']').to_owned());
    if values.is_empty() { told() } else { Some(values.join(",")) }
}

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_its_section_with_its_flags() {
    let page = page("commands.md");
    let help_of_all = help(&[]);
    let list = help_of_all.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let commands: Vec<_> =
        list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(commands.len() > 5, "{help_of_all}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let section = section(&page, &format!("## `ringfence {command}`"));
        if command == "serve" {
            continue;
        }
        let shown: BTreeSet<_> = rows(section).iter().flat_map(|row| spans(row[0])).filter_map(|span| long(span)).collect();
        let help = help(&[command]);
        let flags = help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(|line| long(line));
        assert_eq!(shown, flags.filter(|flag| *flag != "help").collect(), "ringfence {command}");
    }
}

/// `name` of the `--name` in `text`.
fn long(text: &str) -> Option<&str> {
    let (_, name) = text.split_once("--")?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len());
    name.get(..end).filter(|name| !name.is_empty())
}

#[test]
fn every_result_of_a_fetch_has_its_line() {
    let page = page("keys.md");
    let results: Vec<_> = ["ok"].iter().chain(FetchFailure::LABELS).copied().collect();
    assert_eq!(names(section(&page, "## Results")), results);
}

#[test]
fn every_way_to_break_a_token_has_its_line() {
    let page = page("testing-policies.md");
    let lines: Vec<_> = rows(section(&page, "### `token`")).into_iter().map(|row| (row[0].trim_matches('`'), row[1].trim_matches('`'))).collect();
    for broken in Broken::ALL {
        assert!(lines.contains(&(broken.name(), broken.reason().code())), "{broken}");
    }
    assert_eq!(lines.iter().filter(|(_, reason)| Reason::from_code(reason).is_some()).count(), Broken::ALL.len());
}

/// The files that name metrics, and how.
const METRICS: &[&str] = &[
    "src/telemetry/metrics.rs",
    "src/telemetry/metrics/series.rs",
    "src/keys/metrics.rs",
    "src/status/metrics.rs",
    "src/listen/admission.rs",
    "src/reuse/shared/metrics.rs",
];

#[test]
fn every_metric_has_its_line_with_its_labels() {
    let page = page("metrics.md");
    let mut shown: Vec<_> = rows(&page).into_iter().filter(|row| row[0].starts_with("`ringfence_")).collect();
    shown.sort_unstable();
    let mut registered = Vec::new();
    for file in METRICS {
        let source = fs::read_to_string(root().join(file)).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (at, _) in source.match_indices("\"ringfence_") {
            let name = source[at + 1..].split('"').next().unwrap();
            // The labels stand before the registration's end.
            let registration = &source[at..];
            let end = [")?", "\n}"].iter().filter_map(|end| registration.find(end)).min().unwrap();
            let labels = registration[..end].split("&[").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
            registered.push((format!("`{name}`"), labels.replace('"', "`").replace(", ", " ")));
        }
    }
    registered.sort_unstable();
    let shown: Vec<_> = shown.iter().map(|row| (row[0].to_owned(), row[2].to_owned())).collect();
    assert_eq!(shown, registered);
}

/// Structs whose fields are not read yet.
const NOT_YET: &[&str] = &["Microsoft365", "ServiceTags"];

#[test]
fn every_field_of_a_resource_is_named() {
    let page = page("policies.md");
    let named: BTreeSet<_> = spans(&page).flat_map(|span| span.split(|c: char| !c.is_ascii_alphanumeric())).collect();
    let mut fields = 0;
    for file in ["callback_policy.rs", "cluster_callback_policy.rs", "host_grant.rs", "sender.rs", "source_range_set.rs"] {
        let source = fs::read_to_string(root().join("core/src/api").join(file)).unwrap();
        let mut of = "";
        for line in source.lines() {
            if let Some(name) = line.strip_prefix("pub struct ") {
                of = name.split(' ').next().unwrap();
            }
            let field =
                line.strip_prefix("    pub ").and_then(|line| line.split_once(": ")).map(|(field, _)| camel_case(field.trim_start_matches("r#")));
            if let Some(field) = field.filter(|_| !NOT_YET.contains(&of)) {
                fields += 1;
                assert!(named.contains(field.as_str()), "`{field}` of {of}");
            }
        }
    }
    assert!(fields > 40, "{fields}");
}

fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_finding_has_its_line() {
    let page = page("commands.md");
    let shown = names(section(&page, "## `ringfence validate`"));
    // A folder's Secrets are there to be read: whether they may be is a question on Kubernetes alone.
    let reasons = FindingReason::ALL.iter().filter(|reason| **reason != FindingReason::SecretNotPermitted).map(|reason| reason.name());
    for reason in reasons.chain(["Unreadable", "Ignored", "NoPolicy"]) {
        assert!(shown.contains(&reason), "{reason}");
    }
}

#[test]
fn every_reason_of_a_condition_has_its_line() {
    let page = page("kubernetes-troubleshooting.md");
    for r#type in ConditionType::ALL {
        let shown: BTreeSet<_> = names(section(&page, &format!("## `{}`", r#type.name()))).into_iter().collect();
        let found = FindingReason::ALL.iter().filter(|reason| ConditionType::of(**reason) == *r#type).map(|reason| reason.name());
        let plain = PlainReason::ALL.iter().filter(|reason| reason.types().contains(r#type)).map(|reason| reason.name());
        assert_eq!(shown, found.chain(plain).collect(), "{}", r#type.name());
    }
}

#[test]
fn every_field_of_the_decision_log_has_its_line() {
    let page = page("metrics.md");
    let section = section(&page, "## Decision log");
    let documented: BTreeSet<_> = rows(section).iter().flat_map(|row| spans(row[0])).collect();
    let source = fs::read_to_string(root().join("src/telemetry/decision_log/line.rs")).unwrap();
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let written: BTreeSet<_> = source.split("(\"").skip(1).filter_map(|rest| rest.split_once("\",")).map(|(name, _)| name).filter(is_name).collect();
    assert_eq!(documented, written.into_iter().filter(|name| *name != "suppressed").collect());
    for line in section.lines().filter(|line| line.starts_with('{')) {
        let example: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for field in example.keys().filter(|field| *field != "suppressed") {
            assert!(documented.contains(field.as_str()), "{field}");
        }
    }
}
