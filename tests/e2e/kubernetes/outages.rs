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
