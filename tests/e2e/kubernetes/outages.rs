//! An API server that is not there: at the start, later, and while requests come.

use super::{Cluster, Front, callback, grant};
use crate::support::{traffic::Traffic, wait_for};

const HOST: &str = "callbacks.contoso.com";

#[tokio::test]
async fn the_last_policies_serve_while_the_api_server_is_away() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&(grant("contoso", HOST, "contoso") + &cluster.policy("contoso", "center", HOST, ""))).await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    let good = token.clone();
    let traffic = Traffic::start(front.proxy.address, move |number| match number % 3 {
        0 => (callback(HOST, "/", None), 401),
        1 => (callback("elsewhere.contoso.com", "/", Some(&good)), 403),
        _ => (callback(HOST, "/", Some(&good)), 200),
    });
    for round in 0..2 {
        traffic.flow(30).await;
        cluster.kubernetes.kill_api_server();
        wait_for("the outage to be noticed", async || {
            let lines = ringfence.output();
            (lines.matches("what is known stays in force").count() > round * 4).then_some(())
        })
        .await;
        traffic.flow(100).await;
        assert_eq!(ringfence.get("/readyz").await.0, 200);
        cluster.kubernetes.start_api_server_again().await;
        // What changes afterwards counts again.
        let late = format!("late-{round}.contoso.com");
        cluster.apply(&(grant(&format!("late-{round}"), &late, "contoso") + &cluster.policy("contoso", &format!("late-{round}"), &late, ""))).await;
        front.wait_for_status(200, &late, "/", Some(&token)).await;
    }
    traffic.stop().await;
}

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
