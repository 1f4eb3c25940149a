//! Several replicas of the program itself: one of them writes statuses, another follows it, and nothing is written that stands there already.

use std::time::Duration;

use serde_json::Value;

use super::{Cluster, grant, secret};
use crate::support::{ringfence::Ringfence, wait_for, wait_within};

const SOURCES: &str = "      sources: {sets: [acs-callbacks], onMismatch: Observe}";
const KEY: &str = "      apiKey: {query: key, secretRefs: [{name: callback-key, key: current}]}";

impl Cluster {
    /// Waits until a condition of a policy of `contoso`, of its present generation, starts with `expected`: `Status/Reason: message`.
    async fn wait_for_condition(&self, name: &str, r#type: &str, expected: &str) -> String {
        wait_within(Duration::from_secs(60), &format!("{type} of {name} to be {expected}"), async || {
            let text = self.kubernetes.kubectl(&["get", "cbp", name, "--namespace", "contoso", "--output", "json"], "").await.unwrap();
            let policy: Value = serde_json::from_str(&text).unwrap();
            let found = policy["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == r#type)?.clone();
            let text = |field: &str| found[field].as_str().unwrap().to_owned();
            let said = format!("{}/{}: {}", text("status"), text("reason"), text("message"));
            (found["observedGeneration"] == policy["metadata"]["generation"] && said.starts_with(expected)).then_some(said)
        })
        .await
    }

    /// How often the program has written a status so far, as the API server notes it.
    fn writes(&self) -> usize {
        let is_ours = |event: &&Value| {
            event["objectRef"]["subresource"] == "status" && event["user"]["username"] == "system:serviceaccount:ringfence:ringfence"
        };
        self.kubernetes.audit().iter().filter(is_ours).count()
    }

    async fn wait_for_writes(&self, count: usize) {
        wait_for(&format!("{count} writes"), async || (self.writes() >= count).then_some(())).await;
        assert_eq!(self.writes(), count);
    }
}

/// Everything that the program has written so far: verb, kind and name.
fn written(cluster: &Cluster) -> Vec<String> {
    let by_us = |event: &&Value| event["user"]["username"] == "system:serviceaccount:ringfence:ringfence";
    let line = |event: &Value| {
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}/{} {}", text(&event["verb"]), text(&object["resource"]), text(&object["name"]), text(&object["subresource"]))
    };
    cluster.kubernetes.audit().iter().filter(by_us).map(line).collect()
}

#[tokio::test]
async fn while_nothing_changes_nothing_but_the_lease_is_written() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&grant("contoso", "*.contoso.com", "contoso")).await;
    for name in ["a", "b", "c"] {
        cluster.apply(&cluster.policy("contoso", name, &format!("{name}.contoso.com"), SOURCES)).await;
    }
    let (one, other) = (cluster.ringfence(&[]).await, cluster.ringfence(&[]).await);
    for name in ["a", "b", "c"] {
        cluster.wait_for_condition(name, "Accepted", "True/Accepted").await;
    }
    cluster.wait_for_writes(4).await;
    let before = written(&cluster).len();
    // What happens in an hour: watches end and begin anew (after 50 seconds), the API server restarts, labels change, and what is there is applied again.
    cluster.kubernetes.kill_api_server();
    cluster.kubernetes.start_api_server_again().await;
    cluster.kubernetes.kubectl(&["label", "cbp", "a", "--namespace", "contoso", "team=voice"], "").await.unwrap();
    cluster.apply(&cluster.policy("contoso", "b", "b.contoso.com", SOURCES)).await;
    wait_within(Duration::from_secs(180), "the Lease to be renewed for a minute", async || (written(&cluster).len() >= before + 20).then_some(()))
        .await;
    let since: Vec<_> = written(&cluster).split_off(before);
    assert!(since.iter().all(|write| write == "update leases/ringfence-status "), "{since:?}");
    // Both are still there, and one of them writes what changes.
    assert_eq!(leads(&one).await, !leads(&other).await);
    cluster.apply(&cluster.policy("contoso", "c", "c.contoso.com", "      sources: {sets: [office], onMismatch: Observe}")).await;
    cluster.wait_for_condition("c", "ResolvedRefs", "False/SourceRangeSetNotFound").await;
    cluster.wait_for_writes(5).await;
}

async fn leads(ringfence: &Ringfence) -> bool {
    ringfence.metric("ringfence_status_leader", &[]).await > 0.5
}

#[tokio::test]
async fn a_replica_that_is_killed_is_followed_and_one_that_starts_writes_nothing_anew() {
    let cluster = Cluster::start().await;
    cluster.apply(&grant("contoso", "*.contoso.com", "contoso")).await;
    cluster.apply(&cluster.policy("contoso", "a", "a.contoso.com", SOURCES)).await;
    let one = cluster.ringfence(&[]).await;
    wait_for("the first to lead", async || leads(&one).await.then_some(())).await;
    cluster.wait_for_condition("a", "Accepted", "True/Accepted").await;
    // The grant's, and the policy's.
    cluster.wait_for_writes(2).await;
    let other = cluster.ringfence(&[]).await;
    assert!(!leads(&other).await);

    // SIGKILL: nobody says good-bye.
    drop(one);
    wait_within(Duration::from_secs(60), "the other to follow", async || leads(&other).await.then_some(())).await;
    cluster.apply(&cluster.policy("contoso", "b", "b.contoso.com", SOURCES)).await;
    cluster.wait_for_condition("b", "Accepted", "True/Accepted").await;
    cluster.wait_for_writes(3).await;

    // SIGTERM: the next one follows at once, and finds nothing to write.
    let third = cluster.ringfence(&[]).await;
    let mut other = other;
    other.process().terminate();
    let began = std::time::Instant::now();
    wait_for("the third to follow", async || leads(&third).await.then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for the Lease to run out: {:?}", began.elapsed());
    cluster.apply(&cluster.policy("contoso", "b", "b.contoso.com", "      sources: {sets: [office], onMismatch: Observe}")).await;
    cluster.wait_for_condition("b", "ResolvedRefs", "False/SourceRangeSetNotFound: spec.senders[0].sources.sets[0]: ").await;
    cluster.wait_for_writes(4).await;
}

#[tokio::test]
async fn what_becomes_of_a_secret_shows_in_the_status() {
    let cluster = Cluster::start().await;
    cluster.apply(&grant("contoso", "*.contoso.com", "contoso")).await;
    cluster.apply(&cluster.policy("contoso", "a", "a.contoso.com", KEY)).await;
    let _ringfence = cluster.ringfence(&[]).await;
    let said = cluster.wait_for_condition("a", "ResolvedRefs", "False/SecretNotPermitted: spec.senders[0].apiKey.secretRefs[0]: ").await;
    assert!(said.contains("ringfence-secret-reader"), "{said}");
    cluster.wait_for_condition("a", "Accepted", "True/Accepted").await;
    cluster.consent("contoso").await;
    cluster.wait_for_condition("a", "ResolvedRefs", "False/SecretNotFound: ").await;
    cluster.apply(&secret("contoso", "callback-key", &[("current", "short")])).await;
    cluster.wait_for_condition("a", "ResolvedRefs", "False/InvalidSecret: ").await;
    cluster.apply(&secret("contoso", "callback-key", &[("current", "new-key-0123456789")])).await;
    cluster.wait_for_condition("a", "ResolvedRefs", "True/ResolvedRefs").await;
}
