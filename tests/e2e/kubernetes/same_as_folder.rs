//! One set of documents, from a folder and from an API server: the same verdicts, and the same things said about them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Cluster, Front, grant, secret};
use crate::support::ringfence::Ringfence;

const HOST: &str = "callbacks.contoso.com";
const KEY: &str = "current-callback-key-1";

/// Policies of every state: in force, unsound, conflicted, without their Secret, without a grant.
fn documents(cluster: &Cluster) -> String {
    let key = "      apiKey: {query: key, secretRefs: [{name: keys, key: current}]}\n";
    let missing = "      apiKey: {query: key, secretRefs: [{name: nowhere, key: current}]}\n";
    [
        grant("contoso", "*.contoso.com", "contoso"),
        secret("contoso", "keys", &[("current", KEY)]),
        cluster.policy("contoso", "center", HOST, key),
        cluster.policy("contoso", "missing", "missing.contoso.com", missing),
        cluster.policy("contoso", "unsound", "unsound.contoso.com", "      surprise: 1\n"),
        cluster.policy("contoso", "a-winner", "twice.contoso.com", ""),
        cluster.policy("fabrikam", "ungranted", "hooks.fabrikam.com", ""),
        "apiVersion: ringfence.dev/v1alpha1\nkind: SourceRangeSet\nmetadata: {name: office}\nspec: {cidrs: [127.0.0.0/8]}\n---\n".to_owned(),
        "apiVersion: ringfence.dev/v1alpha1\nkind: ClusterCallbackPolicy\nmetadata: {name: floor}\nspec: {applies: Always, match: {hosts: ['*']}, \
         sources: {sets: [office], onMismatch: Deny}}\n"
            .to_owned(),
    ]
    .concat()
}

/// What the log says about the objects, without where it stands in a file.
fn said(ringfence: &Ringfence) -> BTreeSet<String> {
    let output = ringfence.output();
    let events = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|event| event["object"].is_string());
    events.map(|event| format!("{} {} {} {}", event["object"], event["reason"], event["field"], event["message"])).collect()
}

#[tokio::test]
async fn a_folder_and_an_api_server_come_to_the_same() {
    let cluster = Cluster::start().await;
    cluster.consent("contoso").await;
    let documents = documents(&cluster);
    let applied = cluster.kubernetes.kubectl(&["apply", "--server-side", "--validate=ignore", "-f", "-"], &documents).await;
    applied.unwrap();
    let origins = format!("--issuer-origins={}", cluster.issuer.url());
    let from_folder = Ringfence::start(&documents, &["--host-ownership=granted", &origins]).await;
    let from_cluster = cluster.ringfence(&[]).await;
    from_cluster.wait_until_ready().await;
    let (one, other) = (Front::before(&from_folder).await, Front::before(&from_cluster).await);
    let token = cluster.token();
    let mut statuses = BTreeSet::new();
    for host in [HOST, "missing.contoso.com", "unsound.contoso.com", "twice.contoso.com", "hooks.fabrikam.com", "elsewhere.contoso.com"] {
        for target in ["/", &format!("/?key={KEY}"), "/?key=another-key-0123456"] {
            for token in [None, Some(token.as_str())] {
                let status = one.status(host, target, token).await;
                assert_eq!(status, other.status(host, target, token).await, "{host}{target}");
                statuses.insert(status);
            }
        }
    }
    assert_eq!(statuses, BTreeSet::from([200, 401, 403, 503]));
    let said_of_folder = said(&from_folder);
    assert!(said_of_folder.len() >= 3, "{said_of_folder:?}");
    assert_eq!(said_of_folder, said(&from_cluster));
}
