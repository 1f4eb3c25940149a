//! deploy/kustomize says what the chart says: no more rights, and no other pods.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{deploy, installed, objects, render, run};

/// What kubectl makes of a folder.
pub(super) fn kustomize(folder: &Path) -> String {
    let mut command = Command::new(installed("KUBERNETES").join("bin/kubectl"));
    run(command.arg("kustomize").arg(folder), "").unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()))
}

/// The base with the webhook.
pub(super) fn with_admission() -> String {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let up = "../".repeat(folder.path().components().count() - 1);
    let path = |part: &str| format!("{up}{}", deploy().join("kustomize").join(part).strip_prefix("/").unwrap().display());
    let overlay = format!("resources: [{}]\ncomponents: [{}]\n", path("base"), path("admission"));
    fs::write(folder.path().join("kustomization.yaml"), overlay).unwrap();
    kustomize(folder.path())
}

/// Everything but the namespace, which Helm is told of on its command line, without what names the tool.
fn comparable(yaml: &str) -> Vec<Value> {
    let mut objects = objects(yaml);
    objects.retain(|object| object["kind"] != "Namespace");
    for object in &mut objects {
        let labels = object["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove("helm.sh/chart");
        labels.remove("app.kubernetes.io/managed-by");
    }
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

fn assert_same(kustomized: &str, rendered: &str) {
    let (kustomized, rendered) = (comparable(kustomized), comparable(rendered));
    let names = |objects: &[Value]| objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect::<Vec<_>>();
    assert_eq!(names(&kustomized), names(&rendered));
    for (ours, helms) in kustomized.iter().zip(&rendered) {
        assert_eq!(serde_json::to_string_pretty(ours).unwrap(), serde_json::to_string_pretty(helms).unwrap());
    }
}

#[test]
fn the_base_is_the_chart_with_its_defaults() {
    assert_same(&kustomize(&deploy().join("kustomize/base")), &render(""));
}

#[test]
fn the_component_is_the_charts_webhook() {
    assert_same(&with_admission(), &render("admission: {enabled: true}"));
}

#[test]
fn the_namespace_takes_only_what_needs_no_rights() {
    let objects = objects(&kustomize(&deploy().join("kustomize/base")));
    let namespace = super::object(&objects, "Namespace", "ringfence");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}
