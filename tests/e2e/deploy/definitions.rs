//! The chart of the definitions, and what becomes of them.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;

use super::{chart, deploy, helm, objects};
use crate::support::kubernetes::Kubernetes;

/// The YAML files of a folder.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).map(Result::unwrap);
    let yaml = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"));
    yaml.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

#[test]
fn the_chart_holds_the_definitions_and_keeps_them() {
    let (made, copied) = (files(&deploy().join("crds")), files(&chart("ringfence-crds").join("files")));
    assert_eq!(copied.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (name, text) in &made {
        assert!(copied[name] == *text, "{name} differs: cp deploy/crds/*.yaml deploy/helm/ringfence-crds/files/");
    }
    let mut expected = made.values().flat_map(|text| objects(text)).collect::<Vec<_>>();
    for definition in &mut expected {
        definition["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    }
    expected.sort_by_key(|definition| definition["metadata"]["name"].to_string());
    let mut rendered = objects(&helm(&["template", "ringfence-crds", chart("ringfence-crds").to_str().unwrap()], "").unwrap());
    rendered.sort_by_key(|definition| definition["metadata"]["name"].to_string());
    assert_eq!(rendered, expected);
    let linted = helm(&["lint", "--strict", chart("ringfence-crds").to_str().unwrap()], "").unwrap();
    assert!(linted.contains("0 chart(s) failed"), "{linted}");
    let refused = helm(&["template", chart("ringfence-crds").to_str().unwrap()], "keep: false").unwrap_err();
    assert!(refused.contains("additional properties 'keep' not allowed"), "{refused}");
}

#[tokio::test]
async fn removing_the_charts_removes_no_policy() {
    let kubernetes = Kubernetes::start().await;
    let kubeconfig = kubernetes.kubeconfig();
    let on_cluster = async |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let run = move || {
            let mut command = super::helm_command();
            super::run(command.args(arguments).arg(kubeconfig), "")
        };
        tokio::task::spawn_blocking(run).await.unwrap().unwrap_or_else(|problem| panic!("{problem}"))
    };
    let (definitions, program) = (chart("ringfence-crds"), chart("ringfence"));
    // Twice, as somebody would who follows the README again.
    for _ in 0..2 {
        on_cluster(&["upgrade", "--install", "ringfence-crds", definitions.to_str().unwrap()]).await;
    }
    let installed =
        ["install", "ringfence", program.to_str().unwrap(), "--namespace", "ringfence", "--create-namespace", "--set=admission.enabled=true"];
    on_cluster(&installed).await;
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all"];
    kubernetes.kubectl(&established, "").await.unwrap();
    kubernetes.apply("apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: contoso}\nspec: {hosts: [callbacks.contoso.com], namespaces: [contoso]}\n").await;
    let exists = async |what: &[&str]| kubernetes.kubectl(&[&["get", "--namespace=ringfence"], what].concat(), "").await.is_ok();
    assert!(exists(&["deployment", "ringfence"]).await && exists(&["validatingwebhookconfiguration", "ringfence"]).await);
    // Trust that the program has written is not taken away by an upgrade.
    let bundle = r#"[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"TU9DSw=="}]"#;
    kubernetes.kubectl(&["patch", "validatingwebhookconfiguration", "ringfence", "--type=json", "--patch", bundle], "").await.unwrap();
    on_cluster(&["upgrade", "ringfence", program.to_str().unwrap(), "--namespace", "ringfence", "--set=admission.enabled=true,replicas=4"]).await;
    let trusted = ["get", "validatingwebhookconfiguration", "ringfence", "--output=jsonpath={.webhooks[0].clientConfig.caBundle}"];
    assert_eq!(kubernetes.kubectl(&trusted, "").await.unwrap(), "TU9DSw==");

    on_cluster(&["uninstall", "ringfence", "--namespace", "ringfence"]).await;
    on_cluster(&["uninstall", "ringfence-crds"]).await;
    assert!(!exists(&["deployment", "ringfence"]).await && !exists(&["validatingwebhookconfiguration", "ringfence"]).await);
    assert!(!exists(&["clusterrole", "ringfence"]).await && !exists(&["clusterrole", "ringfence-secret-reader"]).await);
    assert!(exists(&["hostgrants", "contoso"]).await && exists(&["customresourcedefinition", "callbackpolicies.ringfence.dev"]).await);

    // What the README says removes them for good.
    let readme = fs::read_to_string(definitions.join("README.md")).unwrap();
    let last = readme.lines().rfind(|line| line.starts_with("kubectl delete ")).unwrap();
    kubernetes.kubectl(&last.split(' ').skip(1).collect::<Vec<_>>(), "").await.unwrap();
    assert_eq!(kubernetes.kubectl(&["get", "customresourcedefinitions", "--output=name"], "").await.unwrap(), "");
}
