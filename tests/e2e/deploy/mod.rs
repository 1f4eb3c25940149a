//! What deploy/ ships for clusters: the charts, the kustomization, the image and the alerts, through Helm, kubectl, kubeconform, promtool and a
//! real API server.

mod alerts;
mod charts;
mod definitions;
mod examples;
mod image;
mod kustomize;
mod schemas;
mod server;
mod values;

use std::{
    fs,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::kubernetes::installed;

/// Values of the chart, each by what it tries: together they make every branch of every template.
const COMBINATIONS: &[(&str, &str)] = &[
    ("the defaults", ""),
    ("everything that is optional", include_str!("fixtures/everything.yaml")),
    ("another name, a digest, a mesh without headless Services", include_str!("fixtures/another-name.yaml")),
    ("a webhook with cert-manager's own issuer", "admission: {enabled: true, certificate: CertManager}"),
    (
        "a webhook with somebody's issuer",
        "admission: {enabled: true, certificate: CertManager, certManager: {issuerRef: {name: internal, kind: ClusterIssuer}}}",
    ),
    ("a webhook with a certificate of one's own", "admission: {enabled: true, certificate: Secret, secret: {name: webhook, caBundle: TU9DSw==}}"),
    ("TLS without client certificates", "tls: {secretName: checks}"),
    ("Azure's managed Prometheus", "monitoring: {apiVersion: azmonitoring.coreos.com/v1, serviceMonitor: {enabled: true}}"),
    ("one replica and no budget", "{replicas: 1, podDisruptionBudget: {enabled: false}}"),
];

/// The repository's deploy/.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// One of the charts.
fn chart(name: &str) -> PathBuf {
    deploy().join("helm").join(name)
}

/// Runs `command` with `input`: what it says, or what it complains about.
fn run(command: &mut Command, input: &str) -> Result<String, String> {
    // A file: through a pipe, both sides could wait for each other.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let output = command.stdin(Stdio::from(file)).env("HOME", "/nonexistent").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr) + &text(output.stdout)) }
}

/// Helm.
fn helm_command() -> Command {
    Command::new(installed("HELM").join("bin/helm"))
}

/// Runs it with the YAML of a values file.
fn helm(arguments: &[&str], values: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    run(helm_command().args(arguments).arg("--values").arg(file), "")
}

/// The chart `ringfence` with these values, as a release of its name in a namespace of its name.
fn render(values: &str) -> String {
    let chart = chart("ringfence");
    let rendered = helm(&["template", "ringfence", chart.to_str().unwrap(), "--namespace", "ringfence"], values);
    rendered.unwrap_or_else(|problem| panic!("{problem}\n{values}"))
}

/// What kubectl reads of these documents, each as it would send it.
fn objects(yaml: &str) -> Vec<Value> {
    let mut command = Command::new(installed("KUBERNETES").join("bin/kubectl"));
    command.args(["--kubeconfig=/dev/null", "patch", "--local", "--filename=-", "--type=merge", "--patch={}", "--output=json"]);
    let json = run(&mut command, yaml).unwrap_or_else(|problem| panic!("{problem}\n{yaml}"));
    serde_json::Deserializer::from_str(&json).into_iter().map(Result::unwrap).collect()
}

/// The object of this kind and name.
fn object<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind} `{name}`"));
    assert_eq!(found.next(), None, "there are two of {kind} `{name}`");
    first
}
