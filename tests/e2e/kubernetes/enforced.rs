//! From an object that is applied to an answer that a client gets.

use super::{Cluster, Front, grant, secret};
use crate::support::{traffic::Traffic, wait_for};

const HOST: &str = "callbacks.contoso.com";
const OLD_KEY: &str = "old-callback-key-0001";
const NEW_KEY: &str = "new-callback-key-0002";

#[tokio::test]
async fn what_is_applied_is_enforced() {
    let cluster = Cluster::start().await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    assert_eq!(front.status(HOST, "/", Some(&token)).await, 403);

    cluster.apply(&(grant("contoso", HOST, "contoso") + &cluster.policy("contoso", "center", HOST, ""))).await;
    front.wait_for_status(200, HOST, "/", Some(&token)).await;
    assert_eq!(front.status(HOST, "/", None).await, 401);

    // Edited: from another address than it may come from.
    cluster.apply(&cluster.policy("contoso", "center", HOST, "      sources: {cidrs: [192.0.2.0/24], onMismatch: Deny}\n")).await;
    front.wait_for_status(403, HOST, "/", Some(&token)).await;
    let denied = ringfence.metric("ringfence_checks_total", &["reason=\"source_denied\"", "policy=\"contoso/center\""]).await;
    assert!(denied >= 1.0, "{denied}");

    cluster.apply(&cluster.policy("contoso", "center", HOST, "")).await;
    front.wait_for_status(200, HOST, "/", Some(&token)).await;
    cluster.delete(&["callbackpolicy", "center", "--namespace", "contoso"]).await;
    front.wait_for_status(403, HOST, "/", Some(&token)).await;
    let gone = ringfence.metric("ringfence_checks_total", &["reason=\"no_policy\""]).await;
    assert!(gone >= 2.0, "{gone}");
    assert!(ringfence.metric("ringfence_config_reloads_total", &["source=\"kubernetes\"", "result=\"applied\""]).await >= 4.0);
}

#[tokio::test]
async fn a_key_is_rotated_without_a_request_lost() {
    let cluster = Cluster::start().await;
    cluster.consent("contoso").await;
    let keys = "      apiKey: {query: key, secretRefs: [{name: keys, key: current}, {name: keys, key: previous}]}\n";
    let policy = cluster.policy("contoso", "center", HOST, keys);
    cluster.apply(&(grant("contoso", HOST, "contoso") + &secret("contoso", "keys", &[("current", OLD_KEY)]) + &policy)).await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    let with = |key: &str| format!("/?key={key}");
    assert_eq!(front.status(HOST, &with(OLD_KEY), Some(&token)).await, 200);
    assert_eq!(front.status(HOST, &with(NEW_KEY), Some(&token)).await, 401);

    let (in_use, good) = (with(OLD_KEY), token.clone());
    let old = Traffic::start(front.proxy.address, move |_| (super::callback(HOST, &in_use, Some(&good)), 200));
    old.flow(20).await;
    cluster.apply(&secret("contoso", "keys", &[("current", NEW_KEY), ("previous", OLD_KEY)])).await;
    front.wait_for_status(200, HOST, &with(NEW_KEY), Some(&token)).await;
    old.flow(20).await;
    old.stop().await;
    let (in_use, good) = (with(NEW_KEY), token.clone());
    let new = Traffic::start(front.proxy.address, move |_| (super::callback(HOST, &in_use, Some(&good)), 200));
    // Replaced, since what `stringData` once wrote stays in `data`.
    cluster.kubernetes.kubectl(&["replace", "-f", "-"], &secret("contoso", "keys", &[("current", NEW_KEY)])).await.unwrap();
    front.wait_for_status(401, HOST, &with(OLD_KEY), Some(&token)).await;
    new.flow(20).await;
    new.stop().await;
    // Nobody sees a key in a log.
    assert!(!ringfence.output().contains(OLD_KEY) && !ringfence.output().contains(NEW_KEY));
}

#[tokio::test]
async fn a_bad_edit_is_one_bad_policy() {
    let cluster = Cluster::start().await;
    let other = "hooks.fabrikam.com";
    let own = |sender: &str| cluster.policy("contoso", "center", HOST, sender);
    let grants = grant("contoso", HOST, "contoso") + &grant("fabrikam", other, "fabrikam");
    cluster.apply(&(grants + &own("") + &cluster.policy("fabrikam", "center", other, ""))).await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    let good = token.clone();
    let traffic = Traffic::start(front.proxy.address, move |_| (super::callback(other, "/", Some(&good)), 200));
    front.wait_for_status(200, HOST, "/", Some(&token)).await;
    for bad in
        ["      surprise: true\n", "      apiKey: null\n", "      sources: {sets: [nowhere], onMismatch: Deny}\n", "      paths: [{prefix: /a//b}]\n"]
    {
        // Past the client's own checks, as any other client's objects would come.
        let applied = cluster.kubernetes.kubectl(&["apply", "--server-side", "--force-conflicts", "--validate=ignore", "-f", "-"], &own(bad)).await;
        applied.unwrap();
        front.wait_for_status(503, HOST, "/", Some(&token)).await;
        let reason = ringfence.metric("ringfence_checks_total", &["reason=\"policy_invalid\"", "policy=\"contoso/center\""]).await;
        assert!(reason >= 1.0, "{bad}: {reason}");
        cluster.kubernetes.kubectl(&["replace", "--validate=ignore", "-f", "-"], &own("")).await.unwrap();
        front.wait_for_status(200, HOST, "/", Some(&token)).await;
    }
    traffic.flow(20).await;
    traffic.stop().await;
    wait_for("the log to name the field", async || ringfence.output().contains("spec.senders[0].surprise").then_some(())).await;
}
