//! deploy/examples/native-sidecar: Ringfence beside one Envoy, over a Unix socket.

use std::{fs, net::SocketAddr};

use serde_json::Value;

use super::{
    cluster::{Cluster, HOST, callback, process_of},
    images::example,
};
use crate::support::wait_for;

/// What the tests change: the namespace, who signs tokens, and that keys may be fetched from there.
const EDITS: &[(&str, &str, &str)] = &[
    ("kustomization.yaml", "namespace: contoso", "namespace: fabrikam"),
    ("deployment.yaml", "args: [serve,", "args: [serve, --insecure-http-issuers, --allow-private-issuers,"),
    (
        "policies.yaml",
        "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}",
        "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], issuer: 'http://acs.acs.svc.cluster.local:9005', \
         openIdConfiguration: 'http://acs.acs.svc.cluster.local:9005/calling/.well-known/acsopenidconfiguration'}",
    ),
];

pub async fn a_native_sidecar_enforces_over_a_socket(cluster: &Cluster) {
    let folder = cluster.node.folder().join("native-sidecar");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(example("native-sidecar")).unwrap() {
        let entry = entry.unwrap();
        let mut text = fs::read_to_string(entry.path()).unwrap();
        for (_, old, new) in EDITS.iter().filter(|(file, ..)| entry.file_name() == *file) {
            assert!(text.contains(old), "{:?} does not say `{old}`", entry.file_name());
            text = text.replace(old, new);
        }
        fs::write(folder.join(entry.file_name()), text).unwrap();
    }
    cluster.kubectl(&["create", "namespace", "fabrikam"]).await;
    cluster.kubectl(&["label", "namespace", "fabrikam", "pod-security.kubernetes.io/enforce=restricted"]).await;
    cluster.kubectl(&["apply", "--kustomize", folder.to_str().unwrap()]).await;
    cluster.kubectl(&["rollout", "status", "deployment/contact-center", "--namespace", "fabrikam", "--timeout=120s"]).await;
    let pods = cluster.kubectl(&["get", "pods", "--namespace", "fabrikam", "--output", "json"]).await;
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let token = cluster.token().await;
    for pod in pods["items"].as_array().unwrap() {
        let address = SocketAddr::new(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080);
        let status = async |target: &str, token: Option<&str>| callback(HOST, target, token).send(address).await.status;
        wait_for("a good callback to be allowed", async || (status("/api/callbacks", Some(&token)).await == 200).then_some(())).await;
        assert_eq!((status("/api/callbacks", None).await, status("/other", Some(&token)).await), (401, 403));
        let process = process_of(pod["metadata"]["uid"].as_str().unwrap(), "ringfence").unwrap();
        assert!(listens_on_a_socket(process), "checks come over the socket");
    }
    cluster.kubectl(&["delete", "namespace", "fabrikam", "--wait=false"]).await;
}

fn listens_on_a_socket(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/net/unix")).unwrap().contains("/run/ringfence/checks.sock")
}
