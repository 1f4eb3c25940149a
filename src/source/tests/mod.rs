//! From YAML as people write it to what is in force and what is said about it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, reason = "tests")]

use std::fs;

use ringfence_core::{
    compile::Finding,
    decide::{Policy, Rules, Sender, SenderChecks},
};
use tempfile::TempDir;

use super::{
    files::{Folder, FolderSource},
    *,
};

mod bad_policies;
mod cluster;
mod event_grid;
mod going_live;
mod good_policies;
mod jwt;
mod order;
mod ownership;
mod references;
mod signed_urls;

/// A policy with everything in it that is supported, and what it refers to.
const POLICY: &str = r#"
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {name: contact-center, namespace: contoso, labels: {team: voice}}
spec:
  mode: Shadow
  match:
    hosts: [Callbacks.contoso.com, "*.apps.contoso.com"]
    paths:
      - prefix: /api/callbacks
      - exact: /media
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation:
        audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]
        clockSkew: 1m
        tokenReuse: Deny
      paths: [{prefix: /api/callbacks/calls}]
      sources: {sets: [acs-callbacks], cidrs: [203.0.113.0/24], onMismatch: Observe}
      apiKey:
        query: key
        secretRefs: [{name: callback-key, key: current}, {name: callback-key, key: previous}]
    - name: media
      type: CallAutomation
      callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], transport: WebSocket}
    - name: tool
      type: NoToken
      noToken: {methods: [POST, PUT]}
      apiKey: {header: X-Callback-Key, sha256: [SHA]}
  forward:
    headers: [{name: X-ACS-Audience, claim: aud}]
    authorization: Remove
"#;

const SECRET: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: callback-key, namespace: contoso}
type: ringfence.dev/callback-key
data: {previous: b2xkLWtleS0wMTIzNDU2Nzg5}
stringData: {current: "new-key-0123456789"}
"#;

/// What a digest looks like.
const SHA: &str = "df6ae8ccf6ae5b6e94a1a93f9b02a0f1a67b4e7c7b4e49b0a7b0c3cf8e1e1e11";

fn policy() -> String {
    POLICY.replace("SHA", SHA)
}

fn load(files: &[(&str, &str)]) -> Folder {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        // An empty file looks like one that was cut off.
        let text = if text.is_empty() { "# nothing\n" } else { *text };
        fs::write(dir.path().join(name), text).unwrap();
    }
    FolderSource::new(dir.path()).load().unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn compile(files: &[(&str, &str)], options: &Options) -> Compiled {
    compile::compile(&load(files).objects, options)
}

/// Every finding as `error Reason field: message (line)`.
fn said(compiled: &Compiled) -> Vec<String> {
    compiled.reports.iter().flat_map(|report| &report.findings).map(say).collect()
}

fn say(Finding { severity, reason, field, message, location }: &Finding) -> String {
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let line = location.as_ref().map(|location| location.line).unwrap_or_default();
    format!("{severity} {reason} {field}: {message} (line {line})")
}

/// The only policy that holds a place.
fn holder(compiled: &Compiled) -> &Policy {
    let holders = &compiled.policies.parts().holders;
    assert_eq!(holders.len(), 1, "{:?}", said(compiled));
    &holders[0]
}

fn senders(policy: &Policy) -> &[Sender] {
    match &policy.rules {
        Rules::Senders { senders, .. } => senders,
        Rules::Invalid { problem, .. } => panic!("invalid: {problem}"),
    }
}

fn checks<'p>(policy: &'p Policy, name: &str) -> &'p SenderChecks {
    let sender = senders(policy).iter().find(|sender| *sender.name == *name).unwrap();
    sender.checks.as_ref().unwrap_or_else(|problem| panic!("{name}: {problem}"))
}
