//! A tenant lets its key be read, and takes that back.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::support::wait_within;

const KEY: &str = "current-callback-key-1";
const KEYED: &str = "apiVersion: v1
kind: Secret
type: ringfence.dev/callback-key
metadata: {name: callback-key, namespace: contoso}
stringData: {current: current-callback-key-1}
---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {name: keyed, namespace: contoso}
spec:
  match: {hosts: [callbacks.contoso.com], paths: [{prefix: /keyed}]}
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation:
        audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]
        issuer: http://acs.acs.svc.cluster.local:9005
        openIdConfiguration: http://acs.acs.svc.cluster.local:9005/calling/.well-known/acsopenidconfiguration
      sources: {sets: [acs-callbacks], onMismatch: Observe}
      apiKey: {query: key, secretRefs: [{name: callback-key, key: current}]}
";

/// Once more than this many answers in a row are alike, every replica has been asked.
const ROUND: usize = 30;

pub async fn a_key_is_read_while_its_namespace_permits_it(cluster: &Cluster) {
    cluster.node.kubernetes.apply(KEYED).await;
    let reason = ["get", "cbp", "keyed", "--namespace", "contoso", "--output", "jsonpath={.status.conditions[?(@.type==\"ResolvedRefs\")].reason}"];
    wait_within(Duration::from_secs(30), "the status", async || (cluster.kubectl(&reason).await == "SecretNotPermitted").then_some(())).await;
    let (right, wrong) = (format!("/keyed?key={KEY}"), "/keyed?key=another-callback-key-1");
    let token = cluster.token().await;
    let all_are = async |expected: u16| {
        for _ in 0..ROUND {
            if cluster.ask(&right, Some(&token)).await.status != expected {
                return None;
            }
        }
        Some(())
    };
    assert_eq!(all_are(503).await, Some(()));
    cluster.manual.run_those_of("tests/e2e/node/tenants.rs");
    wait_within(Duration::from_secs(90), "the key to be read", async || all_are(200).await).await;
    assert_eq!(cluster.ask(wrong, Some(&token)).await.status, 401);
    cluster.kubectl(&["delete", "rolebinding", "ringfence-secret-reader", "--namespace", "contoso"]).await;
    let taken = Instant::now();
    // A minute, and what a busy machine takes to ask all of them.
    wait_within(Duration::from_secs(65), "the key to be dropped", async || all_are(503).await).await;
    eprintln!("a key whose right was taken away was dropped by all replicas within {:.1} s", taken.elapsed().as_secs_f32());
    cluster.kubectl(&["delete", "cbp", "keyed", "--namespace", "contoso"]).await;
}
