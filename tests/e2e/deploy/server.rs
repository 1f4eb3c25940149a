//! Everything that is rendered, as a real API server and kubeconform take it.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::{COMBINATIONS, chart, deploy, helm, kustomize, objects, render, run, schemas};
use crate::support::{
    kubernetes::{Kubernetes, installed},
    wait_for,
};

/// Kinds of other projects that the chart can make objects of.
const OTHERS: &str = include_str!("fixtures/others-definitions.yaml");

/// Everything in deploy/ that is applied to a cluster and needs nobody else's kinds, by what it is.
fn documents() -> Vec<(String, String)> {
    let mut documents: Vec<_> = COMBINATIONS.iter().map(|(what, values)| (format!("the chart: {what}"), render(values))).collect();
    documents.push(("deploy/kustomize/base".to_owned(), kustomize::kustomize(&deploy().join("kustomize/base"))));
    documents.push(("deploy/kustomize/admission".to_owned(), kustomize::with_admission()));
    for example in ["native-sidecar", "envoy-kubernetes"] {
        documents.push((format!("deploy/examples/{example}"), kustomize::kustomize(&deploy().join("examples").join(example))));
    }
    documents
}

/// An API server with all kinds and namespaces.
async fn server() -> Kubernetes {
    let kubernetes = Kubernetes::start().await;
    for namespace in ["ringfence", "contoso", "fabrikam", "gateways"] {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        kubernetes.apply(&namespace.to_string()).await;
    }
    kubernetes.apply(OTHERS).await;
    let definitions = helm(&["template", "ringfence-crds", chart("ringfence-crds").to_str().unwrap()], "").unwrap();
    kubernetes.apply(&definitions).await;
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all"];
    kubernetes.kubectl(&established, "").await.unwrap();
    kubernetes
}

#[tokio::test]
async fn an_api_server_takes_everything_that_is_rendered() {
    let kubernetes = server().await;
    for (what, yaml) in documents() {
        let applied = kubernetes.kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"], &yaml).await;
        let said = applied.unwrap_or_else(|problem| panic!("{what}: {problem}\n{yaml}"));
        assert_eq!(said.lines().count(), objects(&yaml).len(), "{what}: {said}");
    }
    kubeconform_agrees(&kubernetes).await;
    the_pods_keep_the_strictest_standard(&kubernetes).await;
    the_notes_can_be_followed(&kubernetes).await;
}

/// With schemas made of what the API server says of itself.
async fn kubeconform_agrees(kubernetes: &Kubernetes) {
    let all: Vec<_> = documents().into_iter().map(|(what, yaml)| (what, objects(&yaml), yaml)).collect();
    // It takes a moment until the newest kinds are described, too.
    let openapi = wait_for("all kinds to be described", async || {
        let text = kubernetes.kubectl(&["get", "--raw", "/openapi/v2"], "").await.unwrap();
        (text.contains("PrometheusRule") && text.contains("SourceRangeSet")).then(|| serde_json::from_str::<Value>(&text).unwrap())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<_> = all.iter().flat_map(|(_, objects, _)| objects.clone()).collect();
    schemas::write(&openapi, &objects, folder.path());
    let location = format!("{}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.json", folder.path().display());
    let conforms = |yaml: &str| {
        let mut command = Command::new(installed("KUBECONFORM").join("bin/kubeconform"));
        run(command.args(["-strict", "-summary", "-schema-location", &location]), yaml)
    };
    for (what, objects, yaml) in &all {
        let said = conforms(yaml).unwrap_or_else(|problem| panic!("{what}: {problem}\n{yaml}"));
        assert!(said.contains(&format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", objects.len())), "{what}: {said}");
    }
    let typo = render("").replace("minReadySeconds:", "minReadySecond:");
    assert!(conforms(&typo).unwrap_err().contains("minReadySecond"), "a typo is found");
}

/// Pod Security's `restricted`, which the namespaces here enforce.
async fn the_pods_keep_the_strictest_standard(kubernetes: &Kubernetes) {
    let create = async |pod: &Value| kubernetes.kubectl(&["create", "--dry-run=server", "--filename=-"], &pod.to_string()).await;
    let pods: Vec<_> =
        documents().iter().flat_map(|(what, yaml)| objects(yaml).iter().filter_map(|object| pod(what, object)).collect::<Vec<_>>()).collect();
    assert!(pods.len() >= COMBINATIONS.len());
    for (what, pod) in &pods {
        create(pod).await.unwrap_or_else(|problem| panic!("{what}: {problem}"));
    }
    let mut careless = pods[0].1.clone();
    careless["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refused = create(&careless).await.unwrap_err();
    assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{refused}");
}

/// A pod as the Deployment would have it, if it is one.
fn pod(what: &str, deployment: &Value) -> Option<(String, Value)> {
    let template = (deployment["kind"] == "Deployment").then(|| &deployment["spec"]["template"])?;
    let metadata = json!({"name": "tried", "namespace": deployment["metadata"]["namespace"], "labels": template["metadata"]["labels"]});
    Some((what.to_owned(), json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})))
}

/// What they tell to apply is taken, by the API server and by the compiler.
async fn the_notes_can_be_followed(kubernetes: &Kubernetes) {
    let ringfence = chart("ringfence");
    let notes = helm(&["install", "ringfence", ringfence.to_str().unwrap(), "--namespace", "ringfence", "--dry-run=client"], "").unwrap();
    let documents: Vec<_> = notes.split("<<'EOF'\n").skip(1).map(|rest| rest.split("  EOF\n").next().unwrap()).collect();
    assert_eq!(documents.len(), 2, "{notes}");
    let folder = tempfile::tempdir().unwrap();
    for (number, document) in documents.iter().enumerate() {
        // They are indented in the notes.
        let yaml: String = document.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
        let applied = kubernetes.kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"], &yaml).await;
        applied.unwrap_or_else(|problem| panic!("{problem}\n{yaml}"));
        fs::write(folder.path().join(format!("{number}.yaml")), yaml).unwrap();
    }
    let (code, said, complaint) = crate::support::ringfence::run(&["validate", "--host-ownership=granted", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("1 policy, 0 errors, 0 warnings"), "{said}{complaint}");
}
