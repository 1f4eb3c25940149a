//! An API server that is not there at the start. What happens when it goes away later stands in the table of faults.

use super::{Cluster, Front, grant};
use crate::support::wait_for;

const HOST: &str = "callbacks.contoso.com";

#[tokio::test]
async fn it_waits_for_an_api_server_that_is_away_at_the_start() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&(grant("contoso", HOST, "contoso") + &cluster.policy("contoso", "center", HOST, ""))).await;
    let kubeconfig = cluster.kubernetes.kubeconfig_of("ringfence", "ringfence").await;
    cluster.kubernetes.kill_api_server();
    let origins = format!("--issuer-origins={}", cluster.issuer.url());
    let ringfence = crate::support::ringfence::Ringfence::start_on_cluster(&kubeconfig, &[&origins]).await;
    wait_for("it to say why", async || ringfence.get("/readyz?verbose").await.1.contains("could not be listed").then_some(())).await;
    let front = Front::before(&ringfence).await;
    assert_eq!((ringfence.get("/livez").await.0, ringfence.get("/readyz").await.0), (200, 503));
    assert_eq!(front.status(HOST, "/", Some(&cluster.token())).await, 503);
    cluster.kubernetes.start_api_server_again().await;
    wait_for("it to be ready", async || (ringfence.get("/readyz").await.0 == 200).then_some(())).await;
    assert_eq!(front.status(HOST, "/", Some(&cluster.token())).await, 200);
}

/// An API server that starts anew remembers no changes from before: a watch that wants to go on from there is told that they are gone (410), and
/// everything is listed again.
#[tokio::test]
async fn a_watch_whose_past_is_gone_lists_anew() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&(grant("contoso", HOST, "contoso") + &cluster.policy("contoso", "center", HOST, ""))).await;
    let ringfence = cluster.ringfence(&[]).await;
    let front = Front::before(&ringfence).await;
    front.wait_for_status(200, HOST, "/", Some(&cluster.token())).await;
    // Written since the program last heard of a change, so that what it knows is older than all that the next API server will remember.
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: later}}").await;
    cluster.kubernetes.kill_api_server();
    cluster.kubernetes.start_api_server_again().await;
    wait_for("a watch to be told that the past is gone", async || {
        assert_eq!(front.status(HOST, "/", Some(&cluster.token())).await, 200, "what was in force stays so");
        ringfence.output().contains("it answers 410").then_some(())
    })
    .await;
    cluster.delete(&["callbackpolicy", "center", "--namespace", "contoso"]).await;
    front.wait_for_status(403, HOST, "/", Some(&cluster.token())).await;
}
