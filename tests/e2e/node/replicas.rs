//! Replicas come and go while callbacks flow, and not one of those is answered wrong.

use std::process::Command;

use serde_json::json;

use super::cluster::{Cluster, ROLLOUT, process_of};
use crate::support::{traffic::Traffic, wait_within};

pub async fn an_upgrade_and_a_rollback_lose_no_callback(cluster: &Cluster) {
    let traffic = begin(cluster).await;
    let upgrade = ["upgrade", "ringfence", "deploy/helm/ringfence", "--namespace", "ringfence", "--reuse-values", "--wait"];
    cluster.helm(&[&upgrade[..], &["--set", "podAnnotations.edition=second"]].concat()).await;
    cluster.wait_for_pods("new replicas alone", |pods| pods.iter().all(|pod| pod.edition.as_deref() == Some("second"))).await;
    end("an upgrade", traffic).await;
    let traffic = begin(cluster).await;
    cluster.helm(&["rollback", "ringfence", "--namespace", "ringfence", "--wait"]).await;
    cluster.wait_for_pods("the old replicas again", |pods| pods.iter().all(|pod| pod.edition.is_none())).await;
    end("a rollback", traffic).await;
}

/// The process is killed as the kernel does it that has no memory left; kubelet starts it again in the same place.
pub async fn a_killed_process_loses_no_callback(cluster: &Cluster) {
    let traffic = begin(cluster).await;
    for pod in cluster.pods().await {
        let process = process_of(&pod.uid, "ringfence").unwrap().to_string();
        assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
        let restarted = format!("{} to be started again", pod.name);
        cluster.wait_for_pods(&restarted, |pods| pods.iter().any(|now| now.uid == pod.uid && now.restarts > pod.restarts)).await;
        traffic.flow(200).await;
    }
    end("three killed processes, one after the other", traffic).await;
}

/// Nobody waits for it, and it is not asked to leave in order.
pub async fn a_pod_that_is_deleted_by_force_loses_no_callback(cluster: &Cluster) {
    let traffic = begin(cluster).await;
    let pod = cluster.pods().await.remove(0);
    cluster.kubectl(&["delete", "pod", &pod.name, "--namespace", "ringfence", "--grace-period=0", "--force"]).await;
    cluster.wait_for_pods("another one in its place", |pods| pods.iter().all(|now| now.uid != pod.uid)).await;
    end("a pod deleted by force", traffic).await;
}

/// As `kubectl drain` asks for each pod of a node: through the disruption budget.
pub async fn a_drained_replica_loses_no_callback(cluster: &Cluster) {
    let traffic = begin(cluster).await;
    let pods = cluster.pods().await;
    evict(cluster, &pods[0].name).await.unwrap();
    let refused = evict(cluster, &pods[1].name).await.unwrap_err();
    assert!(refused.contains("disruption budget"), "{refused}");
    cluster.wait_for_pods("another one in its place", |now| now.iter().all(|now| now.uid != pods[0].uid)).await;
    wait_within(ROLLOUT, "the next to be drained", async || evict(cluster, &pods[1].name).await.ok()).await;
    cluster.wait_for_pods("another one in its place", |now| now.iter().all(|now| now.uid != pods[1].uid)).await;
    end("two drained replicas", traffic).await;
}

async fn evict(cluster: &Cluster, pod: &str) -> Result<String, String> {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "ringfence"}});
    let path = format!("/api/v1/namespaces/ringfence/pods/{pod}/eviction");
    cluster.node.kubernetes.kubectl(&["create", "--raw", &path, "--filename", "-"], &eviction.to_string()).await
}

async fn begin(cluster: &Cluster) -> Traffic {
    let traffic = cluster.traffic().await;
    traffic.flow(100).await;
    traffic
}

async fn end(what: &str, traffic: Traffic) {
    traffic.flow(200).await;
    let answers = traffic.stop().await;
    eprintln!("{what}: {answers} callbacks, every one answered as it must be");
}
