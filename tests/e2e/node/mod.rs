//! Ringfence on a whole cluster, as people will run it: from the image and the charts, by the commands of docs/kubernetes.md.
//!
//! Such a cluster takes time to start, so there is one, and one test that leads it through its life.

mod cluster;
mod images;
mod lockdown;
mod remains;
mod replicas;
mod shadow;
mod sidecar;
mod tenants;

use std::time::Instant;

use self::cluster::Cluster;

#[tokio::test]
async fn a_whole_cluster() {
    let began = Instant::now();
    let past = |what: &str| eprintln!("{:5.1} s: {what}", began.elapsed().as_secs_f32());
    let cluster = Cluster::start().await;
    past("a node runs pods");
    assert_eq!(cluster.manual.follow().await, 10, "docs/kubernetes.md promises ten commands");
    past("the page's commands lead to an enforced callback");
    lockdown::replicas_can_do_next_to_nothing(&cluster).await;
    lockdown::probes_are_asked_and_answered(&cluster).await;
    shadow::shadow_lets_by_and_shows_what_it_would_have_refused(&cluster).await;
    past("replicas are locked down and probed, and shadow a policy");
    tokio::join!(tenants::a_key_is_read_while_its_namespace_permits_it(&cluster), sidecar::a_native_sidecar_enforces_over_a_socket(&cluster));
    past("a tenant's key comes and goes; a sidecar enforces");
    replicas::a_killed_process_loses_no_callback(&cluster).await;
    replicas::a_pod_that_is_deleted_by_force_loses_no_callback(&cluster).await;
    replicas::a_drained_replica_loses_no_callback(&cluster).await;
    past("replicas were killed, deleted and drained");
    replicas::an_upgrade_and_a_rollback_lose_no_callback(&cluster).await;
    past("there and back again");
    policies_outlive_the_charts(&cluster).await;
    let folder = cluster.node.folder().to_owned();
    drop(cluster);
    remains::assert_none_of(&folder);
    remains::assert_no_groups();
    past("nothing is left");
}

async fn policies_outlive_the_charts(cluster: &Cluster) {
    let policy = ["get", "cbp", "contact-center", "--namespace", "contoso", "--output", "jsonpath={.metadata.uid}"];
    let before = cluster.kubectl(&policy).await;
    cluster.helm(&["uninstall", "ringfence", "--namespace", "ringfence", "--wait"]).await;
    cluster.helm(&["uninstall", "ringfence-crds", "--wait"]).await;
    let kinds = cluster.kubectl(&["get", "customresourcedefinitions", "--output", "name"]).await;
    for kind in ["callbackpolicies", "clustercallbackpolicies", "hostgrants", "sourcerangesets"] {
        assert!(kinds.contains(&format!("/{kind}.ringfence.dev")), "{kind}: {kinds}");
    }
    assert_eq!(cluster.kubectl(&policy).await, before);
}
