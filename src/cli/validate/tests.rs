#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use clap::{CommandFactory, FromArgMatches, Parser};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::settings::Settings;

const GOOD: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {name: good}
spec:
  match: {hosts: [a.example]}
  senders:
    - {name: acs, type: CallAutomation, callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}}
";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    validate: Validate,
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the command finds, whatever the environment says.
fn read<'l>(line: impl IntoIterator<Item = &'l str>) -> anyhow::Result<Validation> {
    let matches = Line::command().get_matches_from(line);
    Line::from_arg_matches(&matches)?.validate.validate(&Settings::read(&matches, [])?.compile_options())
}

fn validate(files: &[(&str, &str)], flags: &[&str]) -> Validation {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let line = ["validate", dir.path().to_str().unwrap()].into_iter().chain(flags.iter().copied());
    read(line).unwrap()
}

fn printed(result: &Validation, format: Format, coloured: bool) -> String {
    let page = Page::default();
    result.print(format, &mut Output::to(Box::new(page.clone()), coloured)).unwrap();
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_sound_folder_has_nothing_but_a_summary() {
    let result = validate(&[("a.yaml", GOOD)], &[]);
    assert_eq!(printed(&result, Format::Text, false), "1 policy, 0 errors, 0 warnings\n");
    assert_eq!(result.errors, 0);
}

#[test]
fn errors_and_warnings_say_where_and_what_to_do() {
    let bad = GOOD.replace("good", "bad").replace("a.example", "b.example:443").replace("7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11", "me");
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    let result = validate(
        &[
            ("a.yaml", GOOD),
            ("b.yaml", &format!("{GOOD}---\n{bad}").replace("name: good", "name: other").replacen("a.ex", "c.ex", 1)),
            ("c.yaml", other),
        ],
        &[],
    );
    let text = printed(&result, Format::Text, false);
    let expected = "\
b.yaml:15 (document 2): error: CallbackPolicy/default/bad: spec.match.hosts[0]: `b.example:443` is no host name; write it without scheme, port, path and trailing dot
b.yaml:17 (document 2): warning: CallbackPolicy/default/bad: spec.senders[0].callAutomation.audiences[0]: `me` is no GUID; ACS's tokens carry the resource's immutableResourceId, which is one
c.yaml:2 (document 1): warning: `Deployment` of `apps/v1` is passed over: it is none of ours

3 policies, 1 error, 2 warnings
";
    assert_eq!(text, expected);
    assert!(printed(&result, Format::Text, true).contains("\u{1b}[31merror\u{1b}[0m: "));
    let json: Value = serde_json::from_str(&printed(&result, Format::Json, true)).unwrap();
    assert_eq!((&json["policies"], &json["errors"], &json["warnings"]), (&json!(3), &json!(1), &json!(2)));
    let first = json!({
        "severity": "error", "reason": "Invalid", "file": "b.yaml", "document": 2, "line": 15, "object": "CallbackPolicy/default/bad",
        "field": "spec.match.hosts[0]",
        "message": "`b.example:443` is no host name; write it without scheme, port, path and trailing dot"
    });
    assert_eq!(json["findings"][0], first);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let result = validate(&[("a.yaml", GOOD), ("b.yaml", "a: [1\n"), ("c.yaml", "a: 1\na: 2\n")], &[]);
    assert_eq!((result.policies, result.errors), (None, 2));
    let text = printed(&result, Format::Text, false);
    assert!(text.contains("b.yaml:2 (document 1): error: not YAML: "), "{text}");
    assert!(text.contains("c.yaml:2 (document 1): error: the key `a` is there twice; keep one of them\n"), "{text}");
    assert!(text.ends_with("\n\nnot all files can be read, so that their policies were not looked at, 2 errors, 0 warnings\n"), "{text}");
}

#[test]
fn settings_that_change_the_outcome_are_taken() {
    let result = validate(&[("a.yaml", GOOD)], &["--host-ownership", "granted"]);
    let expected = "namespace `default` may not speak for this host; who owns it grants it with `{apiVersion: ringfence.dev/v1alpha1, kind: HostGrant, \
                    metadata: {name: default-a.example}, spec: {hosts: [\"a.example\"], namespaces: [default]}}`";
    assert_eq!((result.findings[0].reason, result.findings[0].message.as_str()), ("HostNotGranted", expected));
    let own = GOOD.replace("{audiences", "{openIdConfiguration: 'http://localhost:1/x', audiences");
    assert_eq!(validate(&[("a.yaml", &own)], &[]).errors, 1);
    assert_eq!(validate(&[("a.yaml", &own)], &["--insecure-http-issuers"]).errors, 0);
    assert_eq!(validate(&[("a.yaml", GOOD)], &["--issuer-origins", "https://idp.example"]).findings[0].reason, "IssuerNotAllowed");
}

#[test]
fn no_folder_and_no_policy_are_told_apart() {
    assert_eq!(validate(&[], &[]).findings[0].reason, "NoPolicy");
    assert_eq!(read(["validate", "/nonexistent/ringfence"]).unwrap_err().to_string(), "cannot read the folder `/nonexistent/ringfence`");
}
