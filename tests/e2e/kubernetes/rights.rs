//! What may be read, and what becomes of policies where something may not.

use super::{Cluster, Front, grant, secret};
use crate::support::{kubernetes::Kubernetes, ringfence::Ringfence, wait_for, wait_within};
use std::time::Duration;

const HOST: &str = "callbacks.contoso.com";
const KEY: &str = "current-callback-key-1";

fn with_key(cluster: &Cluster) -> String {
    let key = "      apiKey: {query: key, secretRefs: [{name: keys, key: current}]}\n";
    grant("contoso", HOST, "contoso") + &secret("contoso", "keys", &[("current", KEY)]) + &cluster.policy("contoso", "center", HOST, key)
}

async fn lacking(ringfence: &Ringfence) -> String {
    ringfence.get("/readyz?verbose").await.1
}

#[tokio::test]
async fn a_secret_is_read_while_its_namespace_permits_it() {
    let cluster = Cluster::start().await;
    cluster.apply(&with_key(&cluster)).await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let (target, token) = (format!("/?key={KEY}"), cluster.token());
    assert_eq!(front.status(HOST, &target, Some(&token)).await, 503);
    let told = "kubectl create rolebinding ringfence-secret-reader --namespace contoso --clusterrole ringfence-secret-reader \
                --serviceaccount ringfence:ringfence";
    assert!(ringfence.output().contains(told), "{}", ringfence.output());
    cluster.consent("contoso").await;
    let within = Duration::from_secs(90);
    let is = async |expected: u16| (front.status(HOST, &target, Some(&token)).await == expected).then_some(());
    wait_within(within, "the key to be read", async || is(200).await).await;
    cluster.delete(&["rolebinding", "ringfence-secret-reader", "--namespace", "contoso"]).await;
    wait_within(within, "the key to be dropped", async || is(503).await).await;
}

#[tokio::test]
async fn a_right_for_one_secret_is_enough() {
    let cluster = Cluster::start().await;
    cluster.apply(&with_key(&cluster)).await;
    cluster
        .apply(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: keys, namespace: contoso}
rules: [{apiGroups: [''], resources: [secrets], resourceNames: [keys], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keys, namespace: contoso}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: keys}
subjects: [{kind: ServiceAccount, name: ringfence, namespace: ringfence}]
",
        )
        .await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    assert_eq!(front.status(HOST, &format!("/?key={KEY}"), Some(&cluster.token())).await, 200);
}

#[tokio::test]
async fn our_kinds_may_come_later() {
    let cluster = Cluster::start_bare().await;
    let ringfence = cluster.ringfence(&[]).await;
    wait_for("it to say what is missing", async || lacking(&ringfence).await.contains("install the definitions").then_some(())).await;
    let front = Front::before(&ringfence).await;
    // It lives, is not ready, and decides nothing: a refusal would be for good.
    assert_eq!((ringfence.get("/livez").await.0, ringfence.get("/readyz").await.0), (200, 503));
    assert_eq!(front.status(HOST, "/", Some(&cluster.token())).await, 503);
    cluster.define().await;
    wait_for("it to be ready", async || (ringfence.get("/readyz").await.0 == 200).then_some(())).await;
    assert_eq!(front.status(HOST, "/", Some(&cluster.token())).await, 403);
}

#[tokio::test]
async fn a_missing_right_for_one_kind_is_named() {
    let cluster = Cluster::start().await;
    let role = |kinds: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: ringfence}}\nrules:\n  \
             - {{apiGroups: [ringfence.dev], resources: [{kinds}], verbs: [get, list, watch]}}\n"
        )
    };
    let set = async |kubernetes: &Kubernetes, role: String| {
        kubernetes.kubectl(&["replace", "-f", "-"], &role).await.unwrap();
    };
    set(&cluster.kubernetes, role("callbackpolicies, clustercallbackpolicies, sourcerangesets")).await;
    let ringfence = cluster.ringfence(&[]).await;
    let told = "HostGrant may not be read: give ringfence:ringfence the rule {apiGroups: [\"ringfence.dev\"], resources: [hostgrants], \
                verbs: [get, list, watch]}";
    wait_for("it to name the rule", async || lacking(&ringfence).await.contains(told).then_some(())).await;
    assert_eq!(ringfence.get("/readyz").await.0, 503);
    set(&cluster.kubernetes, role("callbackpolicies, clustercallbackpolicies, hostgrants, sourcerangesets")).await;
    wait_for("it to be ready", async || (ringfence.get("/readyz").await.0 == 200).then_some(())).await;
}
